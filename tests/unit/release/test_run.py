# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole run: alone, written down, and killed at any instant."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.host import lock as app_lock
from ansible_collections.webops.wsgi.plugins.module_utils.managers import units
from ansible_collections.webops.wsgi.plugins.module_utils.release import (
    activation,
    assembly,
    files,
    layout,
    preparation,
    retirement,
    status,
)
from ansible_collections.webops.wsgi.plugins.module_utils.release import run as release_run
from fake_systemd import APP, FakeSystemd, Killed, at_boot, configure, desired, full, roll_back, run, serving, unit


def test_second_run_at_the_same_time_is_refused(paths: layout.Paths, systemd: FakeSystemd) -> None:
    with app_lock.lock(paths.root / APP):
        _step, failures = run(paths, systemd, desired())
    assert "is being deployed by unknown since 20" in failures[0]


def test_history_tells_who_what_and_how_it_went(paths: layout.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, desired(environment="1"))
    configure(paths, "500")
    run(paths, systemd, desired(environment="2"))
    configure(paths, "200")
    run(paths, systemd, desired(environment="3"))
    roll_back(paths, systemd)
    told = [(line["action"], line["from"], line["to"], line["outcome"]) for line in status.history(paths, APP)]
    assert told == [
        ("deploy", "", "1", "ok"),
        ("deploy", "1", "2", "failed"),
        ("deploy", "1", "3", "ok"),
        ("rollback", "3", "1", "ok"),
    ]
    last = status.history(paths, APP)[-1]
    assert last["who"] == "me@here"
    assert set(last["seconds"]) == {"prepare", "start", "prove", "drain"}


def test_a_deployment_killed_after_the_switch_is_finished_or_taken_back(
    paths: layout.Paths, systemd: FakeSystemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(paths, systemd, full())
    for text, kind, serves in (("works", "finish", "2"), ("fails", "finish", "2")):
        wanted = full(environment=text, units=(unit("after-activate", "hook", text),))
        with monkeypatch.context() as killing:
            killing.setattr(release_run, "prove", lambda *_: (_ for _ in ()).throw(Killed))
            with contextlib.suppress(Killed):
                run(paths, systemd, wanted)
        step, failures = run(paths, systemd, wanted)
        assert (step.kind, serving(paths)) == (kind, serves)
        assert bool(failures) == (text == "fails")
    assert list(systemd.running) == [f"{APP}@2.service"]


EFFECTS = {
    assembly: ["write_file", "remove_tree"],
    files: ["write_file", "replace_link"],
    preparation: ["write_file", "replace_link"],
    units: ["write_file", "replace_link", "remove_tree"],
    activation: ["write_file", "replace_link", "forget"],
    retirement: ["forget", "remove_tree"],
    Path: ["rename", "symlink_to", "unlink", "mkdir"],
    FakeSystemd: ["start", "stop", "reload", "create_runtime_files"],
}


def count_down(monkeypatch: pytest.MonkeyPatch, left: int) -> Callable[[], bool]:
    """Kill the run before its effect number C(left); returns whether that has happened."""
    counter = {"left": left}

    def killing(original: Callable[..., Any]) -> Callable[..., Any]:
        def effect(*arguments: Any, **named: Any) -> Any:
            if threading.current_thread().name.startswith("Thread-") and "serve" in threading.current_thread().name:
                return original(*arguments, **named)
            if counter["left"] <= 0:
                raise Killed
            counter["left"] -= 1
            return original(*arguments, **named)

        return effect

    for owner, names in EFFECTS.items():
        for name in names:
            monkeypatch.setattr(owner, name, killing(getattr(owner, name)))
    return lambda: counter["left"] <= 0


def test_killed_at_any_instant_one_release_serves_and_the_next_run_completes(
    paths: layout.Paths, systemd: FakeSystemd
) -> None:
    run(paths, systemd, full(environment="first"))
    for instant in range(400):
        with pytest.MonkeyPatch.context() as monkeypatch:
            killed = count_down(monkeypatch, instant)
            with contextlib.suppress(Killed):
                run(paths, systemd, full(environment=str(instant)))
            if not killed():
                break
        serving(paths)
        _step, failures = run(paths, systemd, full(environment=str(instant)))
        assert failures == [], f"killed at {instant}: the next run fails"
        current = layout.current_release(paths, APP)
        assert serving(paths) == current
        assert list(systemd.running) == [f"{APP}@{current}.service"], f"killed at {instant}: an instance is left over"
        assert systemd.up == {f"{APP}.celery@{current}.service", f"{APP}.tidy@{current}.timer", f"{APP}.listen.socket"}
        assert at_boot(paths) == {current, ""}
        assert set(systemd.manager.known(APP)) == {current}, f"killed at {instant}: a unit's file is left over"
        assert not list((paths.root / APP / "releases").glob(".*")), f"killed at {instant}: a part is left over"
        assert run(paths, systemd, full(environment=str(instant)))[0].kind == "none"
    else:
        pytest.fail("the run never exited unexpectedly")
    assert instant > 15, "too few instants were tried to mean anything"


def test_a_history_keeps_its_newer_half_when_it_is_too_long(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    for number in range(10):
        release_run.append(file, str(number), 9)
    assert file.read_text().splitlines() == ["6", "7", "8", "9"]
