# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run waits for, noted on the host and shown on the controller."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible_collections.webops.wsgi.plugins.module_utils.host.progress import waiting
from ansible_collections.webops.wsgi.plugins.plugin_utils import progress


class Connection:
    """A connection to this machine, whose notes are in a directory of the test's."""

    def __init__(self, folder: Path, fails: bool = False) -> None:
        self.folder, self.fails, self.calls = folder, fails, 0

    def exec_command(self, command: str, sudoable: bool) -> tuple[int, bytes, bytes]:
        self.calls += 1
        if self.fails:
            raise AnsibleConnectionFailure("gone")
        assert not sudoable
        words = shlex.split(command.replace("/run/wsgi.progress", str(self.folder)))
        done = subprocess.run(words, capture_output=True, check=False)
        return done.returncode, done.stdout, done.stderr


def action(connection: Connection) -> tuple[Any, list[str]]:
    shown: list[str] = []
    return SimpleNamespace(_connection=connection, _display=SimpleNamespace(display=shown.append)), shown


def test_a_long_task_says_what_it_waits_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.05)
    connection = Connection(tmp_path / "notes")
    task, shown = action(connection)
    with progress.shown(task, {"inventory_hostname": "web1"}):
        with waiting("api", "waits for a good answer to GET /", 30, tmp_path / "notes"):
            while not shown:
                pass
        asked = connection.calls
        while connection.calls < asked + 2:
            pass
    assert shown[0] == "web1: api waits for a good answer to GET /: 0 of at most 30 s"
    assert all("GET /" in line for line in shown)


def test_a_quick_task_asks_the_host_nothing(tmp_path: Path) -> None:
    connection = Connection(tmp_path)
    with progress.shown(action(connection)[0], {}):
        pass
    assert connection.calls == 0


def test_a_host_that_cannot_be_asked_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.01)
    connection = Connection(tmp_path, fails=True)
    task, shown = action(connection)
    with progress.shown(task, {}):
        while not connection.calls:
            pass
    assert (connection.calls, shown) == (1, [])


def note(**more: Any) -> str:
    return json.dumps({"app": "api", "what": "runs before_activate", "limit": 0, "since": 1000.0, **more})


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        (f"1012\n{note()}\n", ["api runs before_activate: 12 s"]),
        (f"1012\n{note(limit=60)}\n", ["api runs before_activate: 12 of at most 60 s"]),
        (f"1012\n{note(since=500)}\n", []),  # of a run that was killed
        (f"1012\n{note()[:20]}\n", []),
        (f"990\n{note()}\n", ["api runs before_activate: 0 s"]),
        ("", []),
        ("bash: no such file\n", []),
    ],
)
def test_notes_as_they_are_read(told: str, shown: list[str]) -> None:
    assert progress.lines(told, 15) == shown


def test_a_host_that_takes_no_note_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with waiting("api", "waits", folder=tmp_path / "file" / "notes"):
        pass
