# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of what an app runs and listens on beside its server: workers, timers, hooks, credentials, an address."""

from __future__ import annotations

import ipaddress
import re
import typing as t

from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import App, Problem, kind_of, show

_NAME = re.compile(r"[a-z][a-z0-9-]{0,29}")
_CREDENTIAL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
_CALENDAR = re.compile(r"[A-Za-z0-9*:,./~ _+-]+")
_ADDRESS = re.compile(r"(?P<host>[0-9.]+|\[[0-9a-fA-F:]+\]):(?P<port>[0-9]{1,5})")

TAKEN = frozenset(
    {"listen", "instance", "before-activate", "after-activate", "after-rollout"}
)  # names of units that the release has itself
MOST_REPLICAS = 64
MOST_SECONDS = 3600  # a hook's time limit; a deployment that takes longer is none
CREDENTIALS_SIZE = 1_000_000  # bytes of all credentials of a unit, see systemd.exec(5)


def _entries(app: App, key: str) -> list[t.Any]:
    return app.data[key] if app.usable(key) else []


def check_names(app: App) -> t.Iterator[Problem]:
    """Workers and timers become units, so their names are short, plain and not used twice."""
    seen: set[str] = set()
    for key in ("workers", "timers"):
        for number, entry in enumerate(_entries(app, key)):
            name, path = entry["name"], f"{key}[{number}].name"
            if not _NAME.fullmatch(name):
                fix = "write lower-case letters, digits and hyphens, a letter first, at most 30 characters"
                yield app.problem(f"{path} is {show(name)}, which is not a valid name of a unit", fix)
            elif name in TAKEN:
                yield app.problem(f"{path} is {show(name)}, which the release uses itself", "choose another name")
            elif name in seen:
                yield app.problem(f"{path} is {show(name)}, which another one has too", "give each a name of its own")
            seen.add(name)


def check_commands(app: App) -> t.Iterator[Problem]:
    """A command is one line that runs something."""
    commands = [
        (f"{key}[{number}].command", entry["command"])
        for key in ("workers", "timers")
        for number, entry in enumerate(_entries(app, key))
    ]
    for path, command in commands:
        if not command.strip():
            yield app.problem(f"{path} is empty", "write what to run, such as celery -A app.tasks worker")
        elif "\n" in command.strip() or "\0" in command:
            yield app.problem(f"{path} is {show(command)}, which is more than one line", "put the lines into a script")


def check_build(app: App) -> t.Iterator[Problem]:
    """A build command is something that a shell can run; it may have lines."""
    for number, command in enumerate(_entries(app, "build")):
        if not command.strip():
            yield app.problem(f"build[{number}] is empty", "write what to run, such as npm ci, or remove it")
        elif "\0" in command:
            yield app.problem(f"build[{number}] has a NUL character", "remove it")


def check_numbers(app: App) -> t.Iterator[Problem]:
    """Replicas and time limits."""
    limits = {
        "workers": {"replicas": (1, MOST_REPLICAS), "stop_timeout": (1, MOST_SECONDS)},
        "timers": {"timeout": (1, 7 * 86400), "random_delay": (0, 7 * 86400)},
    }
    for key, names in limits.items():
        for number, entry in enumerate(_entries(app, key)):
            for name, (least, most) in names.items():
                if not least <= entry[name] <= most:
                    text = f"{key}[{number}].{name} is {show(entry[name])}, outside {least} to {most}"
                    yield app.problem(text, f"write a number from {least} to {most}")


def check_calendar(app: App) -> t.Iterator[Problem]:
    """systemd itself judges the expression on the host (``host.wishes``); what can never be one is refused here."""
    for number, entry in enumerate(_entries(app, "timers")):
        if not _CALENDAR.fullmatch(entry["on_calendar"]):
            text = f"timers[{number}].on_calendar is {show(entry['on_calendar'])}, which systemd does not take"
            yield app.problem(text, "write such as daily, Mon..Fri 06:30 or *-*-* 03:00:00")


def check_hooks(app: App) -> t.Iterator[Problem]:
    """The time limit of the hooks."""
    limit = app.data["release"].get("hook_timeout")
    if app.usable("release.hook_timeout") and isinstance(limit, int) and not 1 <= limit <= MOST_SECONDS:
        text = f"{app.setting('release', 'hook_timeout')} is {limit}, outside 1 to {MOST_SECONDS} seconds"
        yield app.problem(text, f"write a number from 1 to {MOST_SECONDS}")


def check_credentials(app: App) -> t.Iterator[Problem]:
    """Names that are file names, contents that are text. Contents are looked at, never shown."""
    if not app.usable("credentials"):
        return
    for name, content in app.data["credentials"].items():
        if not _CREDENTIAL.fullmatch(str(name)):
            text = f"credentials has {show(name)}, which is not a valid name of a file"
            yield app.problem(text, "use letters, digits, dots, hyphens and underscores, such as signing.pem")
        if not isinstance(content, str):
            fix = "write the file's content as a text, in a block after |"
            yield app.problem(f"credentials.{name} is {kind_of(content)}, not a string", fix)
        elif "\0" in content:
            yield app.problem(f"credentials.{name} has a NUL character", "encode the content, in base64 say")
    size = sum(len(str(content).encode()) for content in app.data["credentials"].values())
    if size > CREDENTIALS_SIZE:
        text = f"credentials are {size} bytes in all, and systemd hands over {CREDENTIALS_SIZE} at most"
        yield app.problem(text, "ship large files with the source, or encrypt them there")


def check_listen(app: App) -> t.Iterator[Problem]:
    """An address that only programs of the host itself can reach, with a port that nginx does not have."""
    listen = app.data["listen"]
    if not listen or not app.usable("listen"):
        return
    fix = "write such as 127.0.0.1:8000"
    found = _ADDRESS.fullmatch(listen)
    if not found:
        yield app.problem(f"listen is {show(listen)}, which is not an address with a port", fix)
        return
    try:
        address = ipaddress.ip_address(found["host"].strip("[]"))
    except ValueError:
        yield app.problem(f"listen is {show(listen)}, which has no valid address", fix)
        return
    if not address.is_loopback:
        text = f"listen is {show(listen)}, which others than this host could reach past nginx"
        yield app.problem(text, "write a loopback address, 127.0.0.1 or [::1]; nginx serves everybody else")
    port = int(found["port"])
    of_nginx = [name for name in ("http_port", "https_port") if port == app.data["nginx"].get(name)]
    if of_nginx:
        text = f"listen is {show(listen)}, the port nginx has (nginx_proxy_{of_nginx[0]})"
        yield app.problem(text, "choose another port")
    elif not 1024 <= port <= 65535:
        # Those below are for programs of root's.
        yield app.problem(f"listen is {show(listen)}, whose port is outside 1024 to 65535", fix)


def check_shared_addresses(apps: list[App]) -> t.Iterator[Problem]:
    """Two apps cannot listen on one address."""
    owners: dict[str, str] = {}
    for app in apps:
        listen = app.data.get("listen") if app.present and app.usable("listen") else ""
        if listen and listen in owners:
            text = f"listen is {show(listen)}, which app {show(owners[listen])} has too"
            yield app.problem(text, "give each app a port of its own")
        elif listen:
            owners[listen] = app.label


CHECKS: tuple[t.Callable[[App], t.Iterator[Problem]], ...] = (
    check_names,
    check_commands,
    check_build,
    check_numbers,
    check_calendar,
    check_hooks,
    check_credentials,
    check_listen,
)
