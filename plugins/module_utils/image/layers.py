# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two trees of one build, each a layer of an image: what stays from one version to the next, and what changes.

Equal files give equal layers: owner, permissions and times are none of when and by whom an image is made.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

YEARS = 631152000, 946684800  # seconds of twenty years, and where they begin: 2000-01-01
LASTING_TIME = 315532800  # 1980-01-01, the first that archives of every kind can say


def time_of(content: bytes) -> int:
    """A time, in seconds since the epoch, that is another one for another content.

    Engines, servers and clients tell versions of a file apart by its time and its size.
    """
    return YEARS[1] + int.from_bytes(hashlib.sha256(content).digest()[:8], "big") % YEARS[0]


def split(build: Path, target: Path, stamp: int) -> None:
    """Lay a build out as two trees, C(environment) and C(code).

    Args:
        build: The build, whose path is that in the image.
        target: The directory that gets the trees.
        stamp: The time of the files of the second tree.
    """
    environment, code = (target / name / build.relative_to("/") for name in ("environment", "code"))
    for place in (environment, code):
        place.mkdir(parents=True)
    own = list(_own_files(build / "venv"))
    (build / "venv").rename(environment / "venv")
    for file in own:
        moved = code / file.relative_to(build)
        moved.parent.mkdir(parents=True, exist_ok=True)
        (environment / file.relative_to(build)).rename(moved)
    for part in sorted(build.iterdir()):
        part.rename(code / part.name)
    settle(target / "environment", LASTING_TIME)
    settle(target / "code", stamp)


def _own_files(venv: Path) -> Iterator[Path]:
    """The files of distributions that were installed from a directory: the project itself, and not what it needs."""
    for address in sorted(venv.glob("lib/python*/site-packages/*.dist-info/direct_url.json")):
        told = json.loads(address.read_text())
        packages = address.parents[1]
        if "dir_info" not in told or not unquote(told.get("url", "")).startswith("file:"):
            continue
        with (address.parent / "RECORD").open(newline="") as record:
            names = {row[0] for row in csv.reader(record) if row}
        for name in sorted(names):
            file = Path(os.path.normpath(packages / name))
            if file.is_relative_to(venv) and file.is_file():
                yield file
                if file.suffix == ".py":
                    yield from sorted(path for path in _bytecode(file) if str(path.relative_to(packages)) not in names)


def _bytecode(file: Path) -> Iterator[Path]:
    return (file.parent / "__pycache__").glob(f"{file.stem}.*.pyc")


def compile_anew(python: str, *folders: Path) -> None:
    """Compile a tree so that neither times nor the order of work show.

    An installer's processes compile side by side, and what one of them writes depends on what it has compiled before.
    """
    for folder in folders:
        for cache in sorted(folder.rglob("__pycache__")):
            shutil.rmtree(cache)
    command = [python, "-I", "-m", "compileall", "-q", "-q", "--invalidation-mode", "unchecked-hash"]
    # Templates of Python code do not compile, and need not.
    subprocess.run([*command, *map(str, folders)], check=False, capture_output=True, stdin=subprocess.DEVNULL)


def settle(top: Path, stamp: int) -> None:
    """Make a tree root's, for everybody to read, and of one time."""
    for folder, folders, files in os.walk(top, topdown=False):
        for name in (*files, *folders):
            path = Path(folder, name)
            os.chown(path, os.geteuid(), os.getegid(), follow_symlinks=False)
            if not path.is_symlink():
                runs = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
                path.chmod(0o755 if runs else 0o644)
            os.utime(path, (stamp, stamp), follow_symlinks=False)
    os.utime(top, (stamp, stamp))
