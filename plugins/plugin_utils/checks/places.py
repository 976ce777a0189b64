# SPDX-License-Identifier: GPL-3.0-or-later
"""What the inventory asks of a host by name, which only the host can judge in full: paths, addresses, times."""

from __future__ import annotations

import typing as t

from ansible_collections.webops.wsgi.plugins.module_utils.host.paths import Asked, normal, why_foreign, within
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import App, Problem, show


def asked_paths(app: App) -> t.Iterator[Asked]:
    """Absolute paths that an app is given: those it may write to, and those that nginx shows.

    Left out is what nginx shows of a place where the app may write anyway: it follows no symlink there.
    """
    allowed = _texts(app, "release", "foreign_paths")
    closed = [str(app.data["certbot"].get("webroot") or "/var/www/acme")]
    writable = _texts(app, "release", "writable_paths")
    for path in writable:
        yield Asked(app.data["name"], app.setting("release", "writable_paths"), path, allowed, True, closed)
    static = app.data["nginx"].get("static") if app.usable("nginx.static") else {}
    for prefix, folder in static.items() if isinstance(static, dict) else ():
        if not isinstance(folder, str) or not folder.startswith("/"):
            continue
        if not any(within(normal(folder), normal(own)) for own in [f"/var/lib/{app.data['name']}", *writable]):
            yield Asked(app.data["name"], f"{app.setting('nginx', 'static')}[{show(prefix)}]", folder, allowed, False)


def _texts(app: App, key: str, name: str) -> list[str]:
    value = app.data[key].get(name) if app.usable(f"{key}.{name}") else []
    return [str(item) for item in value] if isinstance(value, list) else []


def check_places(apps: t.Sequence[App]) -> t.Iterator[Problem]:
    """No app is given what belongs to the host or to another app, unless a person says that it is meant."""
    names = [app.data["name"] for app in apps if app.data["name"]]
    for app in apps:
        if not app.present:
            continue
        yield from _check_allowed(app)
        yield from _check_nested(app)
        for asked in asked_paths(app):
            path = normal(asked.path)
            if not path.startswith("/") or ".." in path.split("/"):
                continue
            wrong = why_foreign(asked, path, names)
            if wrong:
                text = f"{asked.setting} has {show(asked.path)}, {wrong}"
                fix = f"name a directory of its own, or write release: {{foreign_paths: [{path}]}} if you mean it"
                yield app.problem(text, fix)


def _check_allowed(app: App) -> t.Iterator[Problem]:
    setting = app.setting("release", "foreign_paths")
    for path in _texts(app, "release", "foreign_paths"):
        if not path.startswith("/") or ".." in path.split("/"):
            text = f"{setting} has {show(path)}, which is not an absolute path without a part .."
            yield app.problem(text, "write such as /var/lib/shared")


def _check_nested(app: App) -> t.Iterator[Problem]:
    """In a writable path the app could put a symlink in the place of another one, and systemd would follow it."""
    setting = app.setting("release", "writable_paths")
    paths = _texts(app, "release", "writable_paths")
    for path in paths:
        for outer in paths:
            if outer != path and within(normal(path), normal(outer)):
                text = f"{setting} has {show(path)}, which is in {show(outer)} already"
                yield app.problem(text, f"remove {path}")


def on_host(apps: t.Iterable[App]) -> dict[str, t.Any]:
    """What M(webops.wsgi.host_state) judges on the host, by its options."""
    present = [app for app in apps if app.present]
    return {
        "paths": [asked._asdict() for app in present for asked in asked_paths(app)],
        "calendars": [
            {"app": app.data["name"], "setting": f"timers[{number}].on_calendar", "value": timer["on_calendar"]}
            for app in present
            for number, timer in enumerate(app.data["timers"] if app.usable("timers") else [])
        ],
        "unit_lines": [
            {"app": app.data["name"], "setting": app.setting("release", "unit_extra"), "value": line}
            for app in present
            for line in app.data["release"]["unit_extra"]
        ],
        "listens": {app.data["name"]: app.data["listen"] for app in present if app.data["listen"]},
    }
