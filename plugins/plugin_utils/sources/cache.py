# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's cache of sources: git mirrors, archives, and when each source was seen first."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

KINDS = ("git", "archives", "seen")
DAY = 86400  # seconds
UNUSED = 180 * DAY  # seconds that something stays which no run has used


def directory() -> Path:
    """Where it is, by the XDG base directory specification."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "webops.wsgi"


def mark_used(path: Path) -> None:
    """Note that a run uses something, once a day; the time of its content stays."""
    found = path.stat()
    if time.time() - found.st_atime > DAY:
        os.utime(path, ns=(time.time_ns(), found.st_mtime_ns))


def remove_unused(folder: Path) -> None:
    """Remove what no run has used for long. It can be fetched again; somebody else's files there are no fault."""
    for path in [path for kind in KINDS for path in (folder / kind).glob("*")]:
        with suppress(OSError):
            found = path.stat()
            if time.time() - max(found.st_atime, found.st_mtime) < UNUSED:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
