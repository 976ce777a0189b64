# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes a process under Supervisor: its environment is what systemd would have given."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import time
from pathlib import Path
from types import ModuleType

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.managers.systemd import environment_file

SOURCE = Path(__file__).resolve().parents[3] / "roles" / "release" / "files" / "launch.py"

WORKS = "exec sleep 600"


@pytest.fixture
def launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    found = importlib.util.spec_from_file_location("launch", SOURCE)
    assert found
    assert found.loader
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    (tmp_path / "etc").mkdir()
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    return module


VALUES = {
    "PLAIN": "a",
    "EMPTY": "",
    "lower": " lead and trail ",
    "PERCENT": "%n %(x)s 100%",
    "SEMICOLON": "a ; b;c",
    "HASH": "#first",
    "QUOTES": "\"double\" 'single' `id` $HOME",
    "BACKSLASHES": '\\ \\\\ \\n \\" at the end \\\\',
    "ONE": "\\",
    "LINES": '-----BEGIN-----\nNAME="x"\n-----END-----\n',
    "RETURN": "a\r\nb\tc",
    "LETTERS": "ä € 😀",
}


@pytest.mark.parametrize("name", VALUES)
def test_a_value_arrives_as_it_is(launch: ModuleType, name: str) -> None:
    text = environment_file({"A_BEFORE": "1", name: VALUES[name], "Z_AFTER": "2"})
    found = launch.variables(text.encode())
    assert {key.decode(): value.decode() for key, value in found.items()} == {
        "A_BEFORE": "1",
        name: VALUES[name],
        "Z_AFTER": "2",
    }


def test_all_values_together(launch: ModuleType) -> None:
    found = launch.variables(environment_file(VALUES).encode())
    assert {key.decode(): value.decode() for key, value in found.items()} == VALUES


def test_nothing_is_inherited_and_the_app_s_own_variables_win(
    launch: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUPERVISOR_ENABLED", "1")
    (tmp_path / "etc" / "environment").write_text(environment_file({"LANG": "de_DE.UTF-8", "KEY": "x"}))
    settings = {"app": "api", "located": {"CONFIG": "{files}/a.cfg"}}
    server = {"listens": True, "replica": 0}
    found = {key.decode(): value.decode() for key, value in launch.environment(settings, server, "5").items()}
    assert "SUPERVISOR_ENABLED" not in found
    assert (found["USER"], found["LOGNAME"], found["HOME"]) == ("api", "api", "/var/lib/api")
    assert (found["LANG"], found["KEY"], found["CONFIG"]) == ("de_DE.UTF-8", "x", f"{tmp_path}/files/a.cfg")
    assert found["WSGI_SOCKET"] == "/run/api/5/sock"
    worker = launch.environment(settings, {"listens": False, "replica": 2}, "5")
    assert worker[b"WSGI_REPLICA"] == b"2"
    assert b"WSGI_SOCKET" not in worker


@pytest.mark.parametrize(("script", "seconds"), [(WORKS, 5.0), ("trap '' TERM; while :; do sleep 1; done", 0.5)])
def test_what_a_killed_supervisord_left_running_is_stopped(
    launch: ModuleType, tmp_path: Path, script: str, seconds: float
) -> None:
    left = subprocess.Popen(["sh", "-c", script], process_group=0)
    time.sleep(0.3)
    record = tmp_path / "started"
    record.write_text(json.dumps({"pid": left.pid, "began": launch.began(left.pid), "count": 3}))
    assert launch.replace(record, seconds) == 3
    assert left.wait() < 0


def test_another_process_that_got_its_number_is_left_alone(launch: ModuleType, tmp_path: Path) -> None:
    other = subprocess.Popen(["sleep", "600"])
    record = tmp_path / "started"
    record.write_text(json.dumps({"pid": other.pid, "began": "1", "count": 3}))
    assert launch.replace(record, 1) == 3
    assert other.poll() is None
    other.kill()
    other.wait()
    assert launch.replace(tmp_path / "none", 1) == 0
    assert launch.began(os.getpid())
