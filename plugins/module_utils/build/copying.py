# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies a tree that somebody else made, and may still be able to change, into one that is root's alone.

A change of owner would leave what was opened before open for writing, and every other name of a file; a copy has
neither. Directories and files are opened by handles that follow no link, each is looked at through its handle, and only
what belongs to the maker is read. Of modes the executable bit is kept.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

MAX_DEPTH = 100  # directories inside each other; each takes two handles meanwhile
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # no waiting for the other end of a pipe
WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
BLOCK = 1 << 20


class CopyError(Exception):
    """A tree that is not copied; the message names the place in it and what is wrong."""


@dataclass
class _Budget:
    """What may still be copied."""

    owner: int
    room: int

    def take(self, name: str, found: os.stat_result) -> None:
        if found.st_uid != self.owner:
            raise CopyError(f"has {name}, which belongs to another user")
        self.room -= found.st_size
        if self.room < 0:
            raise CopyError(f"does not fit on the disk, at {name}")


def copy_tree(source: Path, target: Path, owner: int, room: int) -> int:
    """Copy a directory to a new one.

    Args:
        source: The directory; those it lies in must be root's.
        target: The copy, which must not exist.
        owner: The user whose files are copied.
        room: Bytes that may be used.

    Returns:
        The bytes that are left.

    Raises:
        CopyError: It has something that is not copied.
        OSError: It cannot be read or written.
    """
    budget = _Budget(owner, room)
    target.mkdir(mode=0o755)
    target.chmod(0o755)
    here = os.open(source, FOLDER)
    try:
        there = os.open(target, FOLDER)
        try:
            budget.take(source.name, os.fstat(here))
            _copy_folder(here, there, source.name, budget, 1)
        finally:
            os.close(there)
    finally:
        os.close(here)
    return budget.room


def _copy_folder(here: int, there: int, path: str, budget: _Budget, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise CopyError(f"has more than {MAX_DEPTH} directories inside each other, at {path}")
    with os.scandir(here) as found:
        entries = list(found)
    for entry in entries:
        name = f"{path}/{entry.name}"
        if entry.is_symlink():
            budget.take(name, entry.stat(follow_symlinks=False))
            os.symlink(os.readlink(entry.name, dir_fd=here), entry.name, dir_fd=there)
        elif entry.is_dir(follow_symlinks=False):
            _copy_inner(here, there, entry.name, name, budget, depth)
        elif entry.is_file(follow_symlinks=False):
            _copy_file(here, there, entry.name, name, budget)
        else:
            raise CopyError(f"has {name}, which is not a file, a directory or a link")


def _copy_inner(here: int, there: int, name: str, path: str, budget: _Budget, depth: int) -> None:
    inner = os.open(name, FOLDER, dir_fd=here)
    try:
        budget.take(path, os.fstat(inner))
        os.mkdir(name, 0o755, dir_fd=there)
        copy = os.open(name, FOLDER, dir_fd=there)
        try:
            os.fchmod(copy, 0o755)
            _copy_folder(inner, copy, path, budget, depth + 1)
        finally:
            os.close(copy)
    finally:
        os.close(inner)


def _copy_file(here: int, there: int, name: str, path: str, budget: _Budget) -> None:
    original = os.open(name, READ, dir_fd=here)
    try:
        found = os.fstat(original)
        if not stat.S_ISREG(found.st_mode):
            raise CopyError(f"has {path}, which is not a file, a directory or a link")
        budget.take(path, found)
        copy = os.open(name, WRITE, 0o600, dir_fd=there)
        try:
            _copy_bytes(original, copy, found.st_size)
            os.fchmod(copy, 0o755 if found.st_mode & stat.S_IXUSR else 0o644)
            os.utime(copy, ns=(found.st_mtime_ns, found.st_mtime_ns))
        finally:
            os.close(copy)
    finally:
        os.close(original)


def _copy_bytes(original: int, copy: int, size: int) -> None:
    """Copy no more than was accounted for: the file may still grow."""
    while size > 0:
        sent = os.sendfile(copy, original, None, min(size, BLOCK))
        if not sent:
            return
        size -= sent
