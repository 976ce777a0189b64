# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the directory of a release holds, and how that is written, compared and restored."""

from __future__ import annotations

import grp
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ansible_collections.webops.wsgi.plugins.module_utils.host.files import replace_link, write_file
from ansible_collections.webops.wsgi.plugins.module_utils.release.layout import (
    COMMANDS,
    CREDENTIALS,
    FILES,
    LAUNCH,
    PREPARE,
    SETTINGS,
    START,
    UNITS,
    Paths,
)

if TYPE_CHECKING:
    from ansible_collections.webops.wsgi.plugins.module_utils.release.plan import Desired


@dataclass(frozen=True)
class File:
    """A file of a release.

    Attributes:
        text: What is in it.
        mode: Its permissions.
        shared: Whether the app's group may read it, as far as the mode says.
    """

    text: str
    mode: int
    shared: bool


# Directories that are not for everybody: whether the app's group owns them, and their permissions.
FOLDERS: Mapping[str, tuple[bool, int]] = {
    "etc": (True, 0o750),
    COMMANDS: (True, 0o750),
    FILES: (True, 0o750),
    CREDENTIALS: (False, 0o700),
}


def links(paths: Paths, app: str, number: str, build: str) -> dict[str, str]:
    """The symlinks of a release, and where they lead; to no build where the name of one is empty."""
    found = {"app": f"../../builds/{build}"} if build else {}
    return {**found, "socket": str(paths.socket(app, number)), "instance": str(paths.instance(app, number))}


def files(paths: Paths, desired: Desired) -> dict[str, File]:
    """The files of a release by their place in its directory, but for its description."""
    found = dict(_server_files(paths.config / desired.name))
    if desired.prepare:
        found[PREPARE] = File(desired.prepare, 0o750, True)
    found |= {f"{COMMANDS}/{name}": File(text, 0o750, True) for name, text in desired.commands.items()}
    if desired.launch:  # what root reads, and then becomes a process of the app's user
        found[LAUNCH] = File(desired.launcher, 0o700, False)
        found[f"{LAUNCH}.json"] = File(desired.launch, 0o600, False)
    found[SETTINGS] = File(desired.settings, 0o644, False)
    found |= {f"{UNITS}/{unit.kind}/{unit.name}": File(unit.text, 0o644, False) for unit in desired.units}
    # The manager reads these as root and hands them on.
    found["etc/environment"] = File(desired.environment, 0o600, False)
    found |= {f"{FILES}/{name}": File(text, 0o640, True) for name, text in desired.config_files.items()}
    found |= {f"{CREDENTIALS}/{name}": File(text, 0o600, False) for name, text in desired.credentials.items()}
    return found


def _server_files(folder: Path) -> Iterator[tuple[str, File]]:
    """The server's settings, and the program that starts it."""
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_file():
            text = path.read_text()
            yield (START, File(text, 0o750, True)) if name == START else (f"etc/{name}", File(text, 0o640, True))


def write(paths: Paths, desired: Desired, number: str, folder: Path) -> None:
    """Write what a release holds into a directory.

    Raises:
        OSError: A file could not be written; the error names it.
    """
    for name in FOLDERS:
        (folder / name).mkdir(exist_ok=True)
    for name, target in links(paths, desired.name, number, desired.build).items():
        replace_link(folder / name, target)
    for name, file in files(paths, desired).items():
        _write(folder / name, file, _group(desired.name))
    for name, (shared, mode) in FOLDERS.items():
        os.chown(folder / name, os.geteuid(), _group(desired.name) if shared else os.getegid())
        (folder / name).chmod(mode)


def _write(path: Path, file: File, group: int) -> None:
    write_file(path, file.text, file.mode)
    if file.shared:
        os.chown(path, -1, group)


def differences(paths: Paths, desired: Desired, number: str) -> list[str]:
    """What somebody changed or removed in the directory of a release that was made of this."""
    folder = paths.release(desired.name, number)
    leading = links(paths, desired.name, number, desired.build).items()
    found = [f"{folder / name} does not lead to {target}" for name, target in leading if _led(folder / name) != target]
    group = _group(desired.name)
    return found + [
        f"{folder / name} was changed"
        for name, file in files(paths, desired).items()
        if not _is_as_written(folder / name, file, group)
    ]


def restore(paths: Paths, desired: Desired, number: str) -> None:
    """Write again what somebody changed or removed in the directory of a release."""
    if differences(paths, desired, number):
        write(paths, desired, number, paths.release(desired.name, number))


def _led(link: Path) -> str:
    return os.readlink(link) if link.is_symlink() else ""


def _is_as_written(path: Path, file: File, group: int) -> bool:
    try:
        found = path.lstat()
        same = path.read_text() == file.text
    except (OSError, ValueError):
        return False
    owner = (os.geteuid(), group if file.shared else found.st_gid, file.mode)
    return same and (found.st_uid, found.st_gid, found.st_mode & 0o7777) == owner


def _group(app: str) -> int:
    return grp.getgrnam(app).gr_gid
