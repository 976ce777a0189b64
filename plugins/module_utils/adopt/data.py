# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an app keeps beside its code: databases of SQLite, and directories of uploads."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from ansible_collections.webops.wsgi.plugins.module_utils.adopt.model import Data

_SQLITE = b"SQLite format 3\0"
_URL = re.compile(r"sqlite(?:\+\w+)?:///(/?[^?\s]+)")
_UPLOADS = {"media", "uploads", "upload", "instance", "userfiles", "attachments", "files"}
_CODE = {".git", "node_modules", "__pycache__", "venv", ".venv", "env", "static", "staticfiles", "tests", "migrations"}
_MOST = 20_000  # files that are looked at
_DEEPEST = 4


def find(root: Path, directory: str, known: Iterable[str], texts: Iterable[str], now: float) -> Iterator[Data]:
    """What would be left behind.

    Args:
        root: Where the file system begins.
        directory: Where the app is.
        known: Directories that are looked through by others: its virtual environment, its static files.
        texts: Values of its variables; some name a database.
        now: Seconds since the epoch.
    """
    here = root / directory.lstrip("/")
    skipped = {root / path.lstrip("/") for path in known if path and Path(path).name not in _UPLOADS}
    named = [match[1] for text in texts for match in _URL.finditer(text)]
    elsewhere = [root / path.lstrip("/") if path.startswith("/") else here / path for path in named]
    seen = set()
    if directory.strip("/"):
        for path in _walk(here, skipped):
            seen.add(path)
            yield _data(path, here, root, now)
    for path in elsewhere:
        if path not in seen and _is_sqlite(path):
            seen.add(path)
            yield _data(path, here, root, now)


def _walk(here: Path, skipped: set[Path]) -> Iterator[Path]:
    left = _MOST
    for folder, names, files in os.walk(here):
        at = Path(folder)
        depth = len(at.relative_to(here).parts)
        names[:] = [] if depth >= _DEEPEST else [n for n in names if n not in _CODE and at / n not in skipped]
        for name in [name for name in names if name.lower() in _UPLOADS and _has_files(at / name)]:
            names.remove(name)
            yield at / name
        left -= len(files)
        if left < 0:
            return
        yield from (at / name for name in files if _is_sqlite(at / name))


def _has_files(folder: Path) -> bool:
    """Whether a directory has files that are no code."""
    kept = (name for _at, _names, names in os.walk(folder) for name in names)
    return any(not name.endswith((".py", ".pyc", ".gitkeep", ".gitignore")) for name in kept)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except OSError:  # removed meanwhile
        return None


def _is_sqlite(path: Path) -> bool:
    try:
        if not path.is_file() or path.suffix in (".py", ".html", ".js", ".css"):
            return False
        with path.open("rb") as stream:
            return stream.read(len(_SQLITE)) == _SQLITE
    except (OSError, ValueError):  # a name that cannot be one
        return False


def _data(path: Path, here: Path, root: Path, now: float) -> Data:
    inside = (Path(at) / name for at, _names, names in os.walk(path) for name in names)
    files = [path] if path.is_file() else islice(inside, _MOST)
    stats = [found for file in files if (found := _stat(file))]
    newest = max((found.st_mtime for found in stats), default=now)
    shown = path.relative_to(here) if path.is_relative_to(here) else Path("/", path.relative_to(root))
    kind = "sqlite" if path.is_file() else "directory"
    return Data(str(shown), kind, sum(found.st_size for found in stats), int(max(0, now - newest)))
