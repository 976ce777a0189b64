# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files and links that are replaced by rename(2): readers see the old or the new one, whenever a run is killed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def write_file(path: str | Path, text: str, mode: int = 0o644) -> None:
    """Write a file, never a part of it, and see it to the disk; its mode is right from the start.

    Raises:
        OSError: It cannot be written; the error names the file.
    """
    path = Path(path)
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            os.fchmod(descriptor, mode)
            stream.write(text)
            stream.flush()
            os.fsync(descriptor)
    except OSError as error:  # such as a full disk, of which the system does not say for which file
        raise OSError(error.errno, error.strerror, str(partial)) from error
    partial.rename(path)


def replace_link(link: str | Path, target: str) -> None:
    """Point a symlink elsewhere: there is no instant without one."""
    link = Path(link)
    if link.is_symlink() and os.readlink(link) == target:
        return
    partial = link.with_name(f".{link.name}.partial")
    partial.unlink(missing_ok=True)
    partial.symlink_to(target)
    partial.rename(link)


def remove_tree(path: str | Path) -> None:
    """Remove a directory and everything below it, or whatever else has that name; none is no fault.

    By C(rm), which follows no symlink and takes a tree of any depth: C(shutil.rmtree) calls itself for each level, and
    what an app or an archive wrote may have more of them than Python allows.

    Raises:
        OSError: Something could not be removed; the message names it.
    """
    done = subprocess.run(["rm", "-rf", "--", str(path)], capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise OSError(done.stderr.strip())
