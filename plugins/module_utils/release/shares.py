# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the proxy was let read of an app's state, taken back once the release in service does not need it.

C(prepare) of a release gives it and so is the record of it. This is root's work: every directory is opened through the
one above it, and no symlink is followed, since the app can replace all of it meanwhile.
"""

from __future__ import annotations

import os
import pwd
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import PurePath

from ansible_collections.webops.wsgi.plugins.module_utils.release.layout import (
    PREPARE,
    Paths,
    current_release,
    read_text,
    release_numbers,
)

PROXY = "www-data"
ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
USER, OWN_GROUP, GROUP, MASK = 0x02, 0x04, 0x08, 0x10  # tags of entries, see linux/posix_acl.h
ENTRY = struct.Struct("<HHI")  # tag, permissions, id
HEAD = struct.pack("<I", 2)  # the format's version
PASS = 1  # to pass through a directory, no more
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW  # a pipe is not waited for

Entry = tuple[int, int, int]


def take_back(paths: Paths, app: str) -> None:
    """Take back what a release on disk was given and the one in service does not name."""
    wanted = shared(paths, app, current_release(paths, app))
    given = {place for number in release_numbers(paths, app) for place in shared(paths, app, number)} - wanted
    if not given:
        return
    with suppress(KeyError):  # without the user nobody reads anything
        taker = _Taker(pwd.getpwnam(PROXY).pw_uid, wanted)
        for place in sorted(given):
            # What the app has put in the way is the app's own, and was never shared.
            with suppress(OSError), _opened(paths, app, place) as folder:
                taker.all_below(folder, place)
        for above in {above for place in given for above in place.parents}:
            with suppress(OSError), _opened(paths, app, above) as folder:
                taker.one(folder, above)


def shared(paths: Paths, app: str, number: str) -> set[PurePath]:
    """The directories that a release lets the proxy read, below the app's state."""
    text = read_text(paths.release(app, number) / PREPARE) if number else None
    pattern = rf'^A\+ "/var/lib/{re.escape(app)}/(.+)" - '
    return {PurePath(path) for path in re.findall(pattern, text or "", re.MULTILINE)}


@contextmanager
def _opened(paths: Paths, app: str, place: PurePath) -> Iterator[int]:
    """A directory of the app's state."""
    folder = os.open(paths.state / app, FOLDER)
    try:
        for name in place.parts:
            above, folder = folder, os.open(name, FOLDER, dir_fd=folder)
            os.close(above)
        yield folder
    finally:
        os.close(folder)


class _Taker:
    """Leaves the proxy what the release in service lets it read."""

    def __init__(self, proxy: int, wanted: set[PurePath]) -> None:
        self._proxy = proxy
        self._wanted = wanted

    def all_below(self, top: int, place: PurePath) -> None:
        """Take back all of a directory, itself first: that alone closes the way to the rest.

        So it does not matter when the app has made a tree of more levels than can be open at once.
        """
        if not any(who == self._proxy for _tag, _may, who in _acl(top, DEFAULT)):
            return
        self.one(top, place)
        with suppress(RecursionError):
            for folder, _folders, names, handle in os.fwalk(".", dir_fd=top):
                self.one(handle, place / folder)
                for name in names:
                    with suppress(OSError):
                        self._file(handle, name, place / folder / name)

    def _file(self, folder: int, name: str, place: PurePath) -> None:
        file = os.open(name, FILE, dir_fd=folder)
        try:
            self.one(file, place)
        finally:
            os.close(file)

    def one(self, handle: int, place: PurePath) -> None:
        """Leave of one directory or file what is needed. Other users' entries stay."""
        if any(place.is_relative_to(kept) for kept in self._wanted):
            return
        may = PASS if any(kept.is_relative_to(place) for kept in self._wanted) else 0
        for name, allowed in ((ACCESS, may), (DEFAULT, 0)):
            had = _acl(handle, name)
            mine = [entry for entry in had if entry[0] == USER and entry[2] == self._proxy]
            if mine and mine[0][1] != allowed:
                rest = [entry for entry in had if entry not in mine]
                _write(handle, name, sorted([*rest, *([(USER, allowed, self._proxy)] if allowed else [])], key=_order))


def _order(entry: Entry) -> tuple[int, int]:
    """The kernel takes entries by tag, and those of one tag by id."""
    return entry[0], entry[2]


def _acl(handle: int, name: str) -> list[Entry]:
    """The entries of an ACL; none without one."""
    with suppress(OSError):
        return list(ENTRY.iter_unpack(os.getxattr(handle, name)[len(HEAD) :]))
    return []


def _write(handle: int, name: str, entries: list[Entry]) -> None:
    if not any(tag in (USER, GROUP) for tag, _may, _who in entries):
        if name == DEFAULT:
            os.removexattr(handle, name)
            return
        # The mask goes with the last entry that it limits, and must not have limited the owner's group in vain.
        limit = next(may for tag, may, _who in entries if tag == MASK)
        entries = [(tag, may & limit if tag == OWN_GROUP else may, who) for tag, may, who in entries if tag != MASK]
    os.setxattr(handle, name, HEAD + b"".join(ENTRY.pack(*entry) for entry in entries))
