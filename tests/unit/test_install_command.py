# SPDX-License-Identifier: GPL-3.0-or-later
"""install_command: its environment reaches the command, and nothing else shows it."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
import yaml
from ansible.module_utils import basic
from ansible_collections.webops.wsgi.plugins.modules import install_command

ROOT = Path(__file__).resolve().parents[2]
INDEX = "https://user:in%40dex-password@index.example.test/simple"


def run(monkeypatch, capsys, **options) -> dict:
    """The result of the module as it goes to the controller."""
    try:
        from ansible.module_utils.testing import patch_module_args  # ansible-core 2.19 and later

        given = patch_module_args(options)
    except ImportError:
        given = contextlib.nullcontext()
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": options}).encode())
    with given, pytest.raises(SystemExit):
        install_command.main()
    return json.loads(capsys.readouterr().out)


def options(folder: Path, command: str) -> dict:
    return {"command": command, "creates": str(folder / "made"), "environment": {"INDEX": INDEX, "NONE": ""}}


def test_the_command_gets_its_environment_and_runs_once(monkeypatch, capsys, tmp_path):
    command = f'printf "%s ${{NONE-none}}" "$INDEX" >{tmp_path}/made'
    assert run(monkeypatch, capsys, **options(tmp_path, command))["changed"] is True
    assert (tmp_path / "made").read_text() == f"{INDEX} none"
    assert run(monkeypatch, capsys, **options(tmp_path, "false"))["changed"] is False


def test_check_mode_runs_nothing(monkeypatch, capsys, tmp_path):
    result = run(monkeypatch, capsys, **options(tmp_path, f"touch {tmp_path}/made"), _ansible_check_mode=True)
    assert result["changed"] is True
    assert not (tmp_path / "made").exists()


def test_a_failure_says_why_without_the_password(monkeypatch, capsys, tmp_path):
    command = 'echo "401 for $INDEX and in@dex-password" >&2; exit 7'
    result = run(monkeypatch, capsys, **options(tmp_path, command))
    assert result["failed"] is True
    assert result["msg"].startswith("the command ended with 7:\n401 for ")
    assert "dex-password" not in json.dumps(result)


@pytest.mark.parametrize("path", [*ROOT.glob("roles/*/tasks/*.yml"), *ROOT.glob("playbooks/**/*.yml")], ids=str)
def test_no_task_uses_the_keyword_environment(path):
    """It makes variables a part of the command, which all local users and the log of sudo see."""
    tasks = list(yaml.safe_load(path.read_text()) or [])
    for task in tasks:
        tasks += [inner for key in ("block", "tasks", "pre_tasks", "rescue", "always") for inner in task.get(key, [])]
        assert "environment" not in task, f"{path}: {task.get('name')}"


def test_what_it_replaces_goes_once_it_is_there(monkeypatch, capsys, tmp_path):
    for name in ("uv-1", "uv-2", "other"):
        (tmp_path / name).mkdir()
    wanted = {"creates": f"{tmp_path}/uv-2/made", "replaces": [f"{tmp_path}/uv-*", f"{tmp_path}/none"]}
    assert run(monkeypatch, capsys, command="false", **wanted)["failed"]
    assert (tmp_path / "uv-1").exists()
    run(monkeypatch, capsys, command=f"touch {tmp_path}/uv-2/made", **wanted)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "uv-2"]
