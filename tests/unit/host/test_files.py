# SPDX-License-Identifier: GPL-3.0-or-later
"""Files and links that are replaced: what is there when a run is killed half-way, and their modes."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.host.files import replace_link, write_file


class Killed(BaseException):
    """The run ends here."""


def _die(*_arguments: object) -> None:
    raise Killed


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_mode_does_not_follow_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_file(tmp_path / "new" / "secret", "hunter2", 0o640)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new" / "secret").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) & 0o022 == 0


def test_nearly_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_file(path, "before")
    script = (
        "import resource\n"
        f"from {write_file.__module__} import write_file\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        f"write_file({str(path)!r}, 'x' * 2000)\n"
    )
    environment = {"PYTHONPATH": os.environ["ANSIBLE_COLLECTIONS_PATH"]}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert f"File too large: '{tmp_path}/.file.partial'" in done.stderr
    assert path.read_text() == "before"


@pytest.mark.parametrize(
    ("replace", "read"),
    [(lambda path, text: write_file(path, text), Path.read_text), (replace_link, os.readlink)],
    ids=["file", "link"],
)
def test_killed_before_the_rename_the_old_one_stays_and_the_next_run_finishes(
    tmp_path: Path, replace: Callable[[Path, str], None], read: Callable[[Path], str]
) -> None:
    path = tmp_path / "it"
    replace(path, "old")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(os, "rename", _die)
        with pytest.raises(Killed):
            replace(path, "new")
    assert read(path) == "old"
    replace(path, "new")
    assert read(path) == "new"
    assert os.listdir(tmp_path) == ["it"]


def test_a_link_that_is_right_is_left_alone(tmp_path: Path) -> None:
    replace_link(tmp_path / "it", "there")
    before = (tmp_path / "it").lstat()
    replace_link(tmp_path / "it", "there")
    after = (tmp_path / "it").lstat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
