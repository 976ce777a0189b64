# SPDX-License-Identifier: GPL-3.0-or-later
"""Apps that share a domain, each below a path of its own: who has the server block, and what is wrong with the rest."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import App, Problem, nearest, show
from ansible_collections.webops.wsgi.plugins.plugin_utils.nginx import site

_PART = r"[A-Za-z0-9_~-][A-Za-z0-9._~-]*"
_PATH = re.compile(rf"/|(/{_PART})+/?")

# Settings of a server block as a whole: an app below a path has those of the app whose server block it is in.
OF_THE_SERVER = (
    *("canonical_domain", "client_ca"),
    *("hsts", "hsts_include_subdomains", "hsts_max_age", "hsts_preload", "tls"),
)


def place(apps: t.Sequence[App]) -> t.Iterator[Problem]:
    """Find the server block of every app, and say what is wrong with apps below a path.

    Adds to each app's data C(site), the name of the app whose server block it is in, and C(scheme), which clients use.
    An app below a path has no certificate: its C(tls) becomes C(off).
    """
    present = [app for app in apps if app.present]
    for app in apps:
        if app.present:
            yield from _check_form(app)
        app.data["path"] = _normal(app.data["path"]) if app.usable("path") else "/"
        app.data["site"] = app.data["name"]
        app.data["scheme"] = "http" if app.data["tls"] == "off" else "https"
    for app in present:
        yield from _take_domains(app, present)
    whole = [app for app in present if app.usable("path", "domains") and app.data["path"] == "/"]
    below = [app for app in present if app.usable("path") and app.data["path"] != "/"]
    for app in below:
        yield from _check_own(app)
        yield from _enter(app, whole)
        app.data["tls"] = "off"
    yield from _check_overlaps([*whole, *below])
    yield from _check_default(apps, whole)


def _normal(path: str) -> str:
    return path.rstrip("/") or "/"


def _take_domains(app: App, present: t.Sequence[App]) -> t.Iterator[Problem]:
    """Give an app that names the app above it the domains of that one."""
    name = app.data["below"]
    if not name or not app.usable("below", "path", "domains"):
        return
    others = {other.data["name"]: other for other in present if other is not app and other.usable("path", "domains")}
    above = others.get(name)
    where = f"below is {show(name)}"
    wrong, fix = "", ""
    if app.data["path"] == "/":
        wrong, fix = f"{where}, but path is not given", "write the path that the app has there, such as path: /admin"
    elif above is None:
        guess = nearest(name, others)
        wrong = f"{where}, which is not another app of this host"
        fix = f"did you mean {guess}?" if guess else "write the name of the app that serves the rest of the domains"
    elif above.data["path"] != "/":
        wrong, fix = f"{where}, which is below a path itself", "write the name of the app that has the path /"
    elif not above.data["domains"]:
        wrong, fix = f"{where}, which has no domains", "give that app its domains"
    elif "domains" in app.given and set(app.data["domains"]) != set(above.data["domains"]):
        wrong, fix = f"domains is {show(app.data['domains'])}, but {where}, which has other ones", "remove domains"
    if wrong:
        app.broken.add("domains")
        yield app.problem(wrong, fix)
    elif above:
        app.data["domains"] = list(above.data["domains"])


def _check_form(app: App) -> t.Iterator[Problem]:
    path = app.data["path"]
    if not app.usable("path"):
        return
    wrong, guess = "", re.sub(r"/+", "/", f"/{path.strip('/')}")
    fix = f"write {guess}" if _PATH.fullmatch(guess) else "write letters, digits and hyphens, such as /admin"
    if not path.startswith("/"):
        wrong = "which does not begin with a slash"
    elif not _PATH.fullmatch(path):
        wrong = "which is not a plain path"
    elif f"{path.rstrip('/')}/".startswith(site.INTERNAL):
        wrong, fix = "which nginx needs itself", "write another path"
    if wrong:
        app.broken.add("path")
        yield app.problem(f"path is {show(path)}, {wrong}", fix)


def _check_own(app: App) -> t.Iterator[Problem]:
    """Nothing is set that belongs to the server block."""
    keys: list[str] = [key for key in ("tls", "certificate") if key in app.given]
    keys += [f"nginx.{name}" for name in OF_THE_SERVER if f"nginx.{name}" in app.given]
    for key in keys:
        app.broken.add(key)
        text = f"{key} is given, but path is {show(app.data['path'])}, and that is for the server block as a whole"
        yield app.problem(text, "set it for the app with path / of that domain, or remove it")


def _enter(app: App, whole: list[App]) -> t.Iterator[Problem]:
    """Put an app into the server block of the app that has its domains."""
    if not app.usable("domains"):
        return
    owners = [other for other in whole if set(other.data["domains"]) & set(app.data["domains"])]
    has = {domain for owner in owners for domain in owner.data["domains"]}
    where = f"path is {show(app.data['path'])}"
    for domain in app.data["domains"]:
        if domain not in has:
            text = f"{where}, but no app with path / has the domain {show(domain)}"
            yield app.problem(text, "add the domain to the app that serves the rest of it, or correct it")
    if len(owners) > 1:
        names = " and ".join(show(owner.label) for owner in owners)
        text = f"{where} of domains of the apps {names}, which have a server block each"
        yield app.problem(text, "keep the domains of one of them")
    elif owners:
        yield from _join(app, owners[0])


def _join(app: App, owner: App) -> t.Iterator[Problem]:
    mine, other = app.data["nginx"], owner.data["nginx"]
    served = [other["canonical_domain"]] if other.get("canonical_domain") else owner.data["domains"]
    for domain in served:
        if domain not in app.data["domains"]:
            text = f"path is {show(app.data['path'])}, but domains lacks {show(domain)}"
            fix = (
                f"write below: {owner.label} in the place of domains, its server block serves all of its domains alike"
            )
            yield app.problem(text, fix)
    if mine.get("errors") == "off" and other.get("errors") != "off" and owner.usable("nginx.errors"):
        text = (
            f'{app.setting("nginx", "errors")} is "off", but not that of app {show(owner.label)}, which has the domain'
        )
        yield app.problem(text, "write problem or html, or set it to off there too")
    app.data["site"], app.data["scheme"] = owner.data["name"], owner.data["scheme"]
    mine.update({name: other[name] for name in OF_THE_SERVER if name in other})
    mine["canonical_domain"] = ""


def _check_overlaps(apps: list[App]) -> t.Iterator[Problem]:
    for app in apps:
        for other in apps:
            if other is not app and other.data["site"] == app.data["site"]:
                yield from _check_overlap(app, other)


def _check_overlap(app: App, other: App) -> t.Iterator[Problem]:
    """No app has locations or static files where another one is served."""
    inner = f"{other.data['path']}/"
    if not inner.startswith(site.below(app.data["path"], "/")):
        return
    for name in ("locations", "static"):
        for written in map(str, app.data["nginx"].get(name, {}) if app.usable(f"nginx.{name}") else ()):
            modifier, path = site.split_location(written)
            full = site.below(app.data["path"], site.static_url(path))
            if full.startswith(inner) and not modifier.startswith("~"):
                text = f"{app.setting('nginx', name)} has {show(written)}, where app {show(other.label)} is served"
                yield app.problem(text, f"set it there, or give app {show(other.label)} another path")


def _check_default(apps: t.Sequence[App], whole: list[App]) -> t.Iterator[Problem]:
    """The app that answers under unknown names has a server block."""
    name = next((app.data["nginx"].get("default_app") for app in apps), "")
    names = [app.data["name"] for app in whole if app.data["domains"]]
    if name and name not in names:
        text = f"nginx_proxy_default_app is {show(name)}, which is not an app with a domain of its own"
        yield Problem("", text, f"write one of {', '.join(names)}, or leave it empty")
