# SPDX-License-Identifier: GPL-3.0-or-later
"""Paths of a host that an app may be given to write to or nginx to show, and those that belong to somebody else.

The controller judges what the inventory says; the host judges where symlinks lead, before anything is changed.
"""

from __future__ import annotations

import re
import typing as t

# The system's own, and what is secret or anybody's. Each with all that is below it.
SYSTEM = (
    *("/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib32", "/lib64", "/libx32", "/opt/wsgi", "/proc", "/root"),
    *("/run", "/sbin", "/sys", "/tmp", "/usr", "/var/backups", "/var/cache", "/var/lib", "/var/lock", "/var/log"),
    *("/var/mail", "/var/run", "/var/spool", "/var/tmp"),
)
# Of these, what packages bring for everybody to read.
SHARED = ("/usr/share", "/usr/local/share")

# Releases of an app, also of one that the inventory does not name.
_RELEASES = re.compile(r"/srv/[^/]+/(builds|releases|current)(/|$)")


class Asked(t.NamedTuple):
    """A path that the inventory gives an app.

    Attributes:
        app: The app's name.
        setting: Where the inventory says so.
        path: The path as it is written.
        allowed: C(release_foreign_paths) of the app.
        writable: Whether the app may write there, not only nginx read.
        closed: More paths that no app writes to.
    """

    app: str
    setting: str
    path: str
    allowed: t.Sequence[str] = ()
    writable: bool = True
    closed: t.Sequence[str] = ()


def normal(path: str) -> str:
    """A path without a hyphen in front, double slashes and a slash at its end."""
    return re.sub("/+", "/", path.removeprefix("-")).rstrip("/") or "/"


def within(path: str, folder: str) -> bool:
    """Whether a path is a directory or in it."""
    return f"{path.rstrip('/')}/".startswith(f"{folder.rstrip('/')}/")


def why_foreign(asked: Asked, path: str, apps: t.Iterable[str]) -> str:
    """Why an app may not have a path; empty when it may.

    Args:
        asked: What the inventory says.
        path: The path, normal; the one that the inventory says, or where that one leads.
        apps: Names of all apps.
    """
    if any(within(path, normal(allowed)) for allowed in asked.allowed):
        return ""
    own = f"/var/lib/{asked.app}"
    if within(path, own) or (not asked.writable and any(within(path, shared) for shared in SHARED)):
        return ""
    for app in apps:
        for place in (f"/srv/{app}", f"/var/lib/{app}"):
            if within(path, place):
                return _of_an_app(asked.app, app)
    if _RELEASES.match(path):
        return "where root keeps the releases of an app"
    for place in (*SYSTEM, *(asked.closed if asked.writable else ()), *(f"/srv/{app}" for app in apps)):
        if within(path, place):
            return f"which belongs to the host ({place})"
        if within(place, path):
            return f"which has {place} in it"
    return ""


def _of_an_app(app: str, owner: str) -> str:
    if owner == app:
        return "where root keeps the app's releases"
    return f'which belongs to the app "{owner}"'
