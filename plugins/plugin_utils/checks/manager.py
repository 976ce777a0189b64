# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of what the process manager of a host can give an app: Supervisor starts programs, and does little else."""

from __future__ import annotations

import typing as t

from ansible_collections.webops.wsgi.plugins.module_utils.managers.model import SUPERVISOR
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import App, Problem

VARIABLE = "release_manager"

# What an app would not have that counts on it, with what it is for.
KEYS = {
    "credentials": "files that the app alone may read; put them into secrets, or write them by files",
    "timers": "commands that run at a time; start them by cron, or by a scheduler in a worker",
    "listen": "an address beside nginx; give the app a domain, or a path below another one's",
}
SETTINGS = {
    "memory_max": "a limit of memory",
    "memory_high": "a limit of memory",
    "cpu_quota": "a limit of processor time",
    "private_users": "a name space of users",
    "unit_extra": "units",
}
# What only shapes systemd's sandbox and its restarts. The defaults go without a word of their own.
SHAPES = (
    "address_families",
    "memory_deny_write_execute",
    "protect_proc",
    "restart_max_sec",
    "restart_sec",
    "system_call_filter",
    "tasks_max",
    "writable_paths",
)
SANDBOX = (
    f"{VARIABLE} is supervisor, so apps run without systemd's sandbox: each is a user of its own without privileges, "
    "and nothing more keeps it from what this host lets its users read, write and use."
)


def check_supervisor(app: App) -> t.Iterator[Problem]:
    """What the inventory asks for and Supervisor does not have is refused by its name."""
    if not supervised(app):
        return
    for key, what in KEYS.items():
        if app.usable(key) and app.data[key]:
            thing, _semicolon, fix = what.partition("; ")
            text = f"{key} is set, and Supervisor ({VARIABLE}) does not have {thing}"
            yield app.problem(text, f"{fix}, or use systemd")
    for name, thing in SETTINGS.items():
        if app.usable(f"release.{name}") and differs(app, name):
            text = f"{app.setting('release', name)} is set, and Supervisor ({VARIABLE}) does not have {thing}"
            yield app.problem(text, "remove it, or use systemd")


def warnings(apps: t.Iterable[App]) -> t.Iterator[str]:
    """What the apps of a host do without under Supervisor."""
    own = [app for app in apps if app.present and supervised(app)]
    if own:
        yield SANDBOX
    for app in own:
        lost = [app.setting("release", name) for name in SHAPES if differs(app, name)]
        if lost:
            yield f'app "{app.label}": without effect under Supervisor: {", ".join(lost)}.'


def supervised(app: App) -> bool:
    """Whether Supervisor runs the app."""
    return app.usable("release.manager") and app.data["release"].get("manager") == SUPERVISOR


def differs(app: App, name: str) -> bool:
    """Whether somebody has set a variable of the release to something else than its default."""
    role = app.roles["release"]
    return bool(app.data["release"].get(name) != role.defaults[f"{role.prefix}{name}"])
