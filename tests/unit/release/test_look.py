# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that reports success has looked: at what changed by itself, and once more at the end."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.managers.systemd import UnitState
from ansible_collections.webops.wsgi.plugins.module_utils.release import health, layout, plan
from ansible_collections.webops.wsgi.plugins.module_utils.release import look as release_look
from fake_systemd import APP, FakeSystemd, configure, desired, full, run, serving

DEPLOYED = {APP: "deploy"}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release_look, "LOOK", 0.0)


def look(paths: layout.Paths, systemd: FakeSystemd, action: str = "deploy") -> list[str]:
    return release_look.look_again(paths, [desired()], {APP: action}, systemd.manager, "me@here")


def test_a_release_that_runs_is_left_alone(paths: layout.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, desired(environment="1"))
    run(paths, systemd, desired(environment="2"))
    assert look(paths, systemd) == []
    assert release_look.look_again(paths, [desired()], {}, systemd.manager, "me@here") == []
    assert serving(paths) == "2"


def test_a_release_that_died_after_it_went_live_is_followed_by_the_one_before(
    paths: layout.Paths, systemd: FakeSystemd
) -> None:
    run(paths, systemd, desired(environment="1"))
    run(paths, systemd, desired(environment="2"))
    systemd.broken.add(f"{APP}@2.service")
    (failure,) = look(paths, systemd)
    assert "release 2 went live and failed then, release 1 serves again" in failure
    assert f"{APP}@2.service exited unexpectedly" in failure
    assert f"journal of {APP}@2.service" in failure
    assert serving(paths) == "1"
    assert not layout.has_proved(paths, APP, "2")


def test_without_an_earlier_release_it_is_said(paths: layout.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, desired())
    systemd.broken.add(f"{APP}@1.service")
    assert "and there is no earlier good release" in look(paths, systemd)[0]


def test_restarts_of_long_ago_are_no_failure_of_a_run_that_put_something_right(
    paths: layout.Paths, systemd: FakeSystemd
) -> None:
    run(paths, systemd, desired())
    systemd.broken.add(f"{APP}@1.service")
    assert look(paths, systemd, "heal") == []


def test_an_app_that_answers_badly_by_now(paths: layout.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, desired(environment="1"))
    run(paths, systemd, desired(environment="2"))
    (paths.release(APP, "2") / "etc" / "behaviour").write_text("500")
    systemd.restart(f"{APP}@2.service")
    assert "answered 500" in look(paths, systemd)[0]
    assert serving(paths) == "1"


def replace(path: Path, text: str) -> None:
    path.unlink()
    path.write_text(text)


def divert(path: Path) -> None:
    path.unlink()
    path.symlink_to("/run/other/current.sock")


@pytest.mark.parametrize(
    "damage",
    [
        lambda paths: (paths.release(APP, "1") / "start").unlink(),
        lambda paths: (paths.release(APP, "1") / "etc" / "environment").unlink(),
        lambda paths: (paths.release(APP, "1") / "etc" / "environment").chmod(0o644),
        lambda paths: (paths.release(APP, "1") / "socket").unlink(),
        lambda paths: divert(paths.release(APP, "1") / "socket"),
        lambda paths: (paths.release(APP, "1") / "app").unlink(),
        lambda paths: replace(paths.release(APP, "1") / "commands" / "celery", "exec something else"),
        lambda paths: (paths.release(APP, "1") / "credentials" / "key").unlink(),
        lambda paths: paths.current_socket(APP).unlink(),
        lambda paths: divert(paths.current_socket(APP)),
        lambda paths: paths.current_socket(APP).parent.chmod(0o777),
    ],
)
def test_what_was_changed_by_hand_is_put_right_by_the_next_run(
    paths: layout.Paths, systemd: FakeSystemd, damage: Callable[[layout.Paths], None]
) -> None:
    wanted = full(credentials={"key": "k"})
    run(paths, systemd, wanted)
    assert run(paths, systemd, wanted)[0].kind == "none"
    damage(paths)
    step, failures = run(paths, systemd, wanted)
    assert (step.kind, failures) == ("heal", []), step.reasons
    assert run(paths, systemd, wanted)[0].kind == "none"
    assert serving(paths) == "1"


def test_what_lies_where_root_wants_to_write_does_not_hide_why_a_release_failed(
    paths: layout.Paths, systemd: FakeSystemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(paths, systemd, desired())
    configure(paths, "500")

    def full_disk(*_arguments: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("ansible_collections.webops.wsgi.plugins.module_utils.release.activation.forget", full_disk)
    _step, failures = run(paths, systemd, desired(environment="2"))
    assert "answered 500" in failures[0]
    assert "cleaning up after it failed: [Errno 28]" in failures[0]


def test_an_app_that_is_started_again_and_again_is_no_success_of_a_later_run_either(
    paths: layout.Paths, systemd: FakeSystemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(paths, systemd, desired())
    looping = UnitState("active", "running", 50, False, up=3.0)
    monkeypatch.setattr(systemd, "_state", lambda unit: looping)
    step, _failures = run(paths, systemd, desired())
    assert (step.kind, step.reasons) == (
        "heal",
        [f"{APP}@1.service exited unexpectedly 50 times, the last time 3 s ago"],
    )
    assert "exited unexpectedly 50 times" in look(paths, systemd, "heal")[0]
    monkeypatch.setattr(systemd, "_state", lambda unit: UnitState("active", "running", 50, False, up=3600.0))
    assert run(paths, systemd, desired())[0].kind == "none"


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (health.Answer("", 200), ""),
        (health.Answer("", 200, kept=True), "answered 500"),
        (health.Answer("GET / answered 401", 401), "answered 500"),
        (None, "answered 500"),
    ],
)
def test_an_answer_that_nginx_may_have_kept_does_not_vouch_for_the_app(
    paths: layout.Paths, systemd: FakeSystemd, monkeypatch: pytest.MonkeyPatch, answer: Any, fault: str
) -> None:
    run(paths, systemd, desired())
    (paths.release(APP, "1") / "etc" / "behaviour").write_text("500")
    systemd.restart(f"{APP}@1.service")
    monkeypatch.setattr(plan.release_proxy, "ask", lambda *_: answer)
    assert fault in plan.health_fault(paths, desired())
    assert bool(plan.health_fault(paths, desired())) == bool(fault)
