# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's cache forgets what no run has used for long."""

from __future__ import annotations

import os
import time
from pathlib import Path

from ansible_collections.webops.wsgi.plugins.plugin_utils.sources import cache


def aged(path: Path, used: float, changed: float) -> Path:
    """A file or directory that was used and changed so many seconds ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".git":
        path.mkdir()
        (path / "HEAD").touch()
    else:
        path.touch()
    os.utime(path, (time.time() - used, time.time() - changed))
    return path


def test_what_no_run_has_used_goes(tmp_path: Path) -> None:
    old, day = cache.UNUSED + 10, cache.DAY
    gone = [aged(tmp_path / name, old, old) for name in ("git/a.git", "git/a.git.lock", "archives/b", "seen/c")]
    kept = [
        aged(tmp_path / "git/d.git", old, day),
        aged(tmp_path / "seen/e", day, old),
        aged(tmp_path / "x/f", old, old),
    ]
    cache.remove_unused(tmp_path)
    assert not any(path.exists() for path in gone)
    assert all(path.exists() for path in kept)
    cache.remove_unused(tmp_path / "none")


def test_a_use_is_noted_and_the_time_of_the_content_stays(tmp_path: Path) -> None:
    path = aged(tmp_path / "seen/x", 2 * cache.DAY, 3 * cache.DAY)
    before = path.stat().st_mtime_ns
    cache.mark_used(path)
    assert path.stat().st_mtime_ns == before
    assert time.time() - path.stat().st_atime < 60
