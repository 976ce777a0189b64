# SPDX-License-Identifier: GPL-3.0-or-later
"""A generation of a configuration tree, one immutable directory: how it is read, compared and written."""

from __future__ import annotations

import grp
import os
import posixpath
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field

from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.files import (
    TreeError,
    TreeFile,
    directories_of,
    stamped,
)
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.spec import Spec


@dataclass(frozen=True)
class LiveFile:
    """A file found on the host. ``content`` is None for anything that is not a regular file."""

    content: bytes | None
    mode: int
    uid: int
    gid: int


@dataclass(frozen=True)
class Live:
    """The tree as it is on the host; ``name`` is the generation's directory name, empty when there is none."""

    name: str = ""
    files: Mapping[str, LiveFile] = field(default_factory=dict)
    directories: frozenset[str] = frozenset()
    sound: bool = True


def read_live(spec: Spec) -> Live:
    """Read the tree that is live now.

    :raises TreeError: something that is not ours stands at ``root``.
    """
    try:
        found = os.lstat(spec.root)
    except (FileNotFoundError, NotADirectoryError):
        return Live()
    if stat.S_ISLNK(found.st_mode):
        target = posixpath.normpath(posixpath.join(spec.parent, os.readlink(spec.root)))
        if posixpath.dirname(target) != spec.store:
            raise TreeError(
                f"{spec.root} is a symlink to {target}, expected one into {spec.store}. "
                f"Somebody else manages it: move it away, or choose another root."
            )
        return _read_generation(target)
    if stat.S_ISDIR(found.st_mode):
        inside = sorted(os.listdir(spec.root))
        if not inside:
            return Live()
        shown = ", ".join(inside[:5]) + (", …" if len(inside) > 5 else "")
        raise TreeError(
            f"{spec.root} is a directory with {len(inside)} entries ({shown}) that this task did not write, "
            f"expected nothing or a symlink into {spec.store}. Move it away, or choose another root."
        )
    raise TreeError(f"{spec.root} is a file, expected nothing or a symlink into {spec.store}. Move it away.")


def _read_generation(path: str) -> Live:
    files: dict[str, LiveFile] = {}
    directories: set[str] = set()
    sound = os.path.isdir(path) and _is_directory_ours(path)
    for here, names, leaves in os.walk(path):
        for name in list(names):
            full = posixpath.join(here, name)
            if os.path.islink(full):
                leaves.append(name)
                continue
            directories.add(posixpath.relpath(full, path))
            sound = sound and _is_directory_ours(full)
        for name in leaves:
            full = posixpath.join(here, name)
            files[posixpath.relpath(full, path)] = _read_file(full)
    return Live(posixpath.basename(path), files, frozenset(directories), sound)


def _read_file(path: str) -> LiveFile:
    found = os.lstat(path)
    content = None
    if stat.S_ISREG(found.st_mode):
        with open(path, "rb") as handle:
            content = handle.read()
    return LiveFile(content, stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid)


def _is_directory_ours(path: str) -> bool:
    found = os.lstat(path)
    return stat.S_IMODE(found.st_mode) == 0o755 and (found.st_uid, found.st_gid) == (os.geteuid(), os.getegid())


def is_same(files: Mapping[str, TreeFile], live: Live) -> bool:
    """Whether the live tree is byte for byte, mode for mode and owner for owner the wanted one."""
    if not live.sound or set(files) != set(live.files) or directories_of(files) != live.directories:
        return False
    return all(
        live.files[dest] == LiveFile(stamped(item, live.name), item.mode, os.geteuid(), group_id(item.group))
        for dest, item in files.items()
    )


def group_id(name: str) -> int:
    """Number of a group; the process's own for an empty name.

    :raises TreeError: the host has no such group.
    """
    try:
        return grp.getgrnam(name).gr_gid if name else os.getegid()
    except KeyError:
        raise TreeError(f'files: group "{name}" does not exist on this host') from None


def write_generation(path: str, files: Mapping[str, TreeFile], generation: str) -> None:
    """Write all files below the new directory ``path``, which must not exist."""
    os.mkdir(path)
    os.chmod(path, 0o755)
    for name in sorted(directories_of(files)):
        os.mkdir(posixpath.join(path, name))
        os.chmod(posixpath.join(path, name), 0o755)
        os.chown(posixpath.join(path, name), os.geteuid(), os.getegid())
    os.chown(path, os.geteuid(), os.getegid())
    for dest, item in files.items():
        handle = os.open(posixpath.join(path, dest), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as stream:
            stream.write(stamped(item, generation))
            os.fchown(stream.fileno(), os.geteuid(), group_id(item.group))
            os.fchmod(stream.fileno(), item.mode)


def flush(path: str) -> None:
    """Bring the file system that holds ``path`` to disk, once for all files: a power cut must not empty them."""
    import ctypes  # only a run that changes something pays for it

    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(handle) != 0:
            os.sync()
    finally:
        os.close(handle)
