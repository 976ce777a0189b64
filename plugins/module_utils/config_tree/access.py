# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may look into a configuration tree, and who may read the logs of the program that uses it."""

from __future__ import annotations

import os
import posixpath
import pwd
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.files import TreeError
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.generation import group_id
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.spec import Spec

CLOSED_FOLDER = 0o750
CLOSED_LOG = 0o640
OTHERS = 0o007


@dataclass(frozen=True)
class Access:
    """Owner, group and mode of one path."""

    mode: int
    uid: int
    gid: int

    def __str__(self) -> str:
        return f"mode {self.mode:04o}, owner {self.uid}:{self.gid}\n"


@dataclass(frozen=True)
class Loose:
    """A path that others may look into, or a log that the program would make so; C(found) is None for none."""

    path: str
    found: Access | None
    wanted: Access


def loose(spec: Spec) -> list[Loose]:
    """What is to be closed; reads only.

    :raises TreeError: the host lacks a user or a group.
    """
    return [item for item in _judged(spec) if item.found != item.wanted]


def close(items: Iterable[Loose]) -> None:
    """Give paths the access they should have. A missing log is made before the program makes it for all to read."""
    for item in items:
        flags = os.O_RDONLY | os.O_DIRECTORY if os.path.isdir(item.path) else os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK
        handle = os.open(item.path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.fchown(handle, item.wanted.uid, item.wanted.gid)
            os.fchmod(handle, item.wanted.mode)
        finally:
            os.close(handle)


def _judged(spec: Spec) -> Iterator[Loose]:
    if spec.readers and os.path.isdir(spec.store):
        yield Loose(spec.store, _access(spec.store), Access(CLOSED_FOLDER, os.geteuid(), group_id(spec.readers)))
    for path in spec.private_logs:
        if os.path.isdir(posixpath.dirname(path)) and not _is_special(path):
            wanted = Access(CLOSED_LOG, _user_id(spec.private_logs_owner), group_id(spec.private_logs_group))
            yield Loose(path, _access(path), wanted)
    for folder in sorted({posixpath.dirname(path) for path in spec.private_logs}):
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
            path = posixpath.join(folder, name)
            found = None if path in spec.private_logs or _is_special(path) else _access(path)
            if found:
                # Rotated, or another program's: the owner is right.
                yield Loose(path, found, Access(found.mode & ~OTHERS, found.uid, found.gid))


def _access(path: str) -> Access | None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    return Access(stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid)


def _is_special(path: str) -> bool:
    """Whether something else than a file is there, such as a link to /dev/null."""
    return os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode)


def _user_id(name: str) -> int:
    try:
        return pwd.getpwnam(name).pw_uid if name else os.geteuid()
    except KeyError:
        raise TreeError(f'private_logs_owner: user "{name}" does not exist on this host') from None
