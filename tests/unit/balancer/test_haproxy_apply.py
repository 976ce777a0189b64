"""The program that has HAProxy take its configuration over: by its socket where only servers differ."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

FILE = Path(__file__).resolve().parents[3] / "roles" / "balancer" / "files" / "haproxy_apply.py"
CONFIG = """\
frontend wsgi-api from wsgi
    default_backend wsgi-api

backend wsgi-api from wsgi
    server web1 10.0.0.21:80 check weight 1
    server web2 10.0.0.22:80 check weight 2
backend wsgi-once from wsgi
    server web2 10.0.0.22:80 check cookie aa weight 1
"""
DRAINED = CONFIG.replace("check weight 2", "check weight 0").replace("aa weight 1", "aa weight 1 disabled")


@pytest.fixture(name="program")
def fixture_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program with its files elsewhere."""
    spec = importlib.util.spec_from_file_location("haproxy_apply", FILE)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    monkeypatch.setattr(found, "FOLDER", tmp_path)
    monkeypatch.setattr(found, "LOADED", tmp_path / "loaded")
    (tmp_path / "generation.map").write_text("generation 0123\n")
    return found


def applied(program: ModuleType, monkeypatch: pytest.MonkeyPatch, config: str, answer: str = "") -> list[str]:
    """What was told and run."""
    done: list[str] = []
    (program.FOLDER / "app.cfg").write_text(config)
    maps = "# id (file) description\n7 (/etc/haproxy/wsgi/conf/generation.map) pattern loaded\n"
    monkeypatch.setattr(
        program, "tell", lambda command: done.append(command) or (maps if "show" in command else answer)
    )
    monkeypatch.setattr(program.subprocess, "run", lambda command, check: done.append(" ".join(command)))
    program.main()
    return done


def test_the_first_time_it_is_restarted(program, monkeypatch):
    done = applied(program, monkeypatch, CONFIG)
    assert done == ["systemctl daemon-reload", "systemctl restart haproxy.service"]


def test_another_weight_is_told_without_a_reload(program, monkeypatch):
    program.LOADED.write_text(CONFIG)
    done = applied(program, monkeypatch, DRAINED)
    assert "set weight wsgi-api/web2 0" in done
    assert "set server wsgi-once/web2 state maint" in done
    assert done[-1] == "set map #7 generation 0123"
    assert not any("systemctl" in command for command in done)
    assert program.LOADED.read_text() == DRAINED


def test_anything_else_takes_a_reload(program, monkeypatch):
    program.LOADED.write_text(CONFIG)
    done = applied(program, monkeypatch, CONFIG.replace("10.0.0.21", "10.0.0.31"))
    assert done[-1] == "systemctl reload-or-restart haproxy.service"


def test_what_it_refuses_is_reloaded(program, monkeypatch):
    program.LOADED.write_text(CONFIG)
    done = applied(program, monkeypatch, DRAINED, answer="No such server.")
    assert done[-1] == "systemctl reload-or-restart haproxy.service"
