# SPDX-License-Identifier: GPL-3.0-or-later
"""How a release goes live beside the old one, and what becomes of one that fails."""

from __future__ import annotations

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.release import activation, health, layout, plan
from fake_systemd import (
    APP,
    WORKER,
    FakeSystemd,
    at_boot,
    configure,
    desired,
    full,
    roll_back,
    run,
    serving,
    started,
    unit,
)


def test_old_instance_stops_only_after_the_switch(paths: layout.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, desired())
    systemd.calls.clear()
    seen = []
    original = systemd.stop
    systemd.stop = lambda *units: (seen.append(serving(paths)), original(*units))  # type: ignore[assignment,func-returns-value]
    run(paths, systemd, desired(build="b2"))
    assert seen == ["2"]


def test_the_sockets_of_the_one_before_can_be_found_until_it_stops(paths: layout.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, desired())
    assert (paths.current(APP) / "instance").readlink() == paths.instance(APP, "1")
    seen = []
    original = systemd.stop
    links = [paths.previous_socket(APP), paths.previous_instance(APP)]
    systemd.stop = lambda *units: (
        seen.append([link.is_symlink() and link.readlink() for link in links]),
        original(*units),
    )  # type: ignore[assignment,func-returns-value]
    run(paths, systemd, desired(build="b2"))
    assert seen == [[paths.socket(APP, "1"), paths.instance(APP, "1")]]
    assert not any(link.is_symlink() for link in links)


@pytest.mark.parametrize(("behaviour", "reason"), [("500", "answered 500, expected is 200"), ("refuses", "Job for")])
def test_release_that_fails_leaves_the_old_one(
    paths: layout.Paths, systemd: FakeSystemd, behaviour: str, reason: str
) -> None:
    run(paths, systemd, desired())
    configure(paths, behaviour)
    _step, failures = run(paths, systemd, desired(config="bad"))
    assert serving(paths) == "1"
    assert at_boot(paths) == {"1"}
    assert list(systemd.running) == [f"{APP}@1.service"]
    assert ("end", f"{APP}@2.service") in systemd.calls, "nobody waits for what it is at"
    (message,) = failures
    for words in (
        f'app "{APP}"',
        "release 2 (source 1) was not activated",
        "release 1 still serves",
        reason,
        f"journal of {APP}@2",
    ):
        assert words in message


def test_release_that_fails_finds_the_old_one_stopped_and_starts_it(paths: layout.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, desired())
    systemd.stop(f"{APP}@1.service")
    configure(paths, "500")
    _step, failures = run(paths, systemd, desired(config="bad"))
    assert "release 1 did not answer, was started again and serves" in failures[0]
    assert list(systemd.running) == [f"{APP}@1.service"]


def test_release_that_fails_leaves_one_alone_whose_socket_is_where_older_versions_had_it(
    paths: layout.Paths, systemd: FakeSystemd
) -> None:
    run(paths, systemd, desired())
    older = paths.run / APP / "1.sock"
    paths.socket(APP, "1").rename(older)
    link = paths.release(APP, "1") / "socket"
    link.unlink()
    link.symlink_to(older)
    systemd.calls.clear()
    configure(paths, "500")
    _step, failures = run(paths, systemd, desired(config="bad"))
    assert "release 1 still serves" in failures[0]
    assert ("restart", f"{APP}@1.service") not in systemd.calls


def test_whatever_goes_wrong_after_the_switch_the_old_one_serves(
    paths: layout.Paths, systemd: FakeSystemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(paths, systemd, desired())

    def fault(*_arguments: object) -> None:
        raise UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "invalid continuation byte")

    monkeypatch.setattr(activation, "_bake", fault)
    _step, failures = run(paths, systemd, desired(config="2"))
    assert failures[0].startswith(f"""app "{APP}": 'utf-8' codec can't decode""")
    assert "release 1 still serves" in failures[0]
    assert serving(paths) == "1"
    assert list(systemd.running) == [f"{APP}@1.service"]


def test_failed_release_is_tried_again_and_then_serves(paths: layout.Paths, systemd: FakeSystemd) -> None:
    configure(paths, "500")
    run(paths, systemd, desired())
    configure(paths, "200")
    _step, failures = run(paths, systemd, desired())
    assert (failures, serving(paths)) == ([], "2")


def test_a_server_that_does_not_listen_is_given_up(paths: layout.Paths, systemd: FakeSystemd) -> None:
    configure(paths, "silent")
    _step, failures = run(paths, systemd, desired(start_timeout=0.05))
    assert "the server does not listen on its socket after 0.05 s" in failures[0]
    assert "release_start_timeout" in failures[0]


def test_a_server_that_ends_before_it_listens_is_not_waited_for(paths: layout.Paths, systemd: FakeSystemd) -> None:
    configure(paths, "silent")
    systemd.broken.add(f"{APP}@1.service")
    _step, failures = run(paths, systemd, desired(start_timeout=3600))
    assert f"{APP}@1.service exited unexpectedly" in failures[0]


def test_answer_without_the_expected_text_is_not_healthy(paths: layout.Paths, systemd: FakeSystemd) -> None:
    _step, failures = run(paths, systemd, desired(health=health.Health(body="pong", timeout=0.1, interval=0.01)))
    assert "answered 200 without 'pong', but: '1'" in failures[0]


def test_good_answers_must_come_in_a_row(paths: layout.Paths, systemd: FakeSystemd) -> None:
    asked: list[str] = []
    answers = map(health.Answer, ["", "bad", "", "", ""])
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(activation.probe, "ask", lambda *_: (asked.append("?"), next(answers))[1])
        step = plan.Step(desired(health=health.Health(successes=3, interval=0)), "", number="1")
        activation.wait_healthy(paths.socket(APP, "1"), step, systemd.manager)
    assert len(asked) == 5


def test_everything_of_a_release_changes_over(paths: layout.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, full())
    systemd.calls.clear()
    _step, failures = run(paths, systemd, full(environment="2"))
    assert failures == []
    order = [
        f"{APP}.before-activate@2.service",
        f"{APP}@2.service",
        f"{APP}.celery@2.service",
        f"{APP}.after-activate@2.service",
        f"{APP}.tidy@2.timer",
    ]
    assert [name for name in started(systemd) if name in order][:5] == order
    assert systemd.up == {f"{APP}.celery@2.service", f"{APP}.tidy@2.timer", f"{APP}.listen.socket"}
    assert (paths.release(APP, "2") / "commands" / "celery").stat().st_mode & 0o777 == 0o750


def test_a_worker_that_ends_keeps_the_release_from_serving(paths: layout.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, full())
    _step, failures = run(paths, systemd, full(units=(unit("celery", "worker", "ends"),)))
    assert f"{APP}.celery@2.service exited unexpectedly" in failures[0]
    assert f"journal of {APP}.celery@2.service" in failures[0]
    assert serving(paths) == "1"
    assert systemd.up == {f"{APP}.celery@1.service", f"{APP}.tidy@1.timer", f"{APP}.listen.socket"}
    assert set(systemd.manager.known(APP)) == {"1"}


@pytest.mark.parametrize("name", ["before-activate", "after-activate"])
def test_a_hook_that_fails_ends_the_deployment(paths: layout.Paths, systemd: FakeSystemd, name: str) -> None:
    run(paths, systemd, full())
    _step, failures = run(paths, systemd, full(units=(WORKER, unit(name, "hook", "fails"))))
    assert f"{name.replace('-', '_')} failed: Job for {APP}.{name}@2.service failed" in failures[0]
    assert "release 1 still serves" in failures[0]
    assert serving(paths) == "1"
    assert list(systemd.running) == [f"{APP}@1.service"]
    assert not layout.has_proved(paths, APP, "2")


def test_the_hook_before_runs_on_one_host_and_not_on_the_way_back(paths: layout.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, full())
    systemd.calls.clear()
    run(paths, systemd, full(environment="2", run_hooks=False))
    assert f"{APP}.before-activate@2.service" not in started(systemd)
    assert roll_back(paths, systemd) == []
    assert f"{APP}.before-activate@1.service" not in started(systemd)
    assert f"{APP}.after-activate@1.service" in started(systemd)


def test_first_release_that_fails_afterwards_does_not_stay(paths: layout.Paths, systemd: FakeSystemd) -> None:
    _step, failures = run(paths, systemd, full(units=(unit("after-activate", "hook", "fails"),)))
    assert "no release serves yet" in failures[0]
    assert layout.current_release(paths, APP) == ""
    assert systemd.running == {}


def test_server_errors_within_the_bake_window_bring_the_old_release_back(
    paths: layout.Paths, systemd: FakeSystemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(paths, systemd, full())
    log = paths.logs / f"{APP}.access.log"
    paths.logs.mkdir()
    log.write_text('1.2.3.4 - - [now] "GET / HTTP/1.1" 500 1 "-" "-"\n' * 50)
    original = activation.time.sleep

    def clients(seconds: float) -> None:
        with log.open("a") as stream:
            stream.write('1.2.3.4 - - [now] "GET / HTTP/1.1" 200 1 "-" "-"\n' * 8)
            stream.write('1.2.3.4 - - [now] "GET / HTTP/1.1" 502 1 "-" "-"\n' * 4)
        original(min(seconds, 0.01))

    monkeypatch.setattr(activation.time, "sleep", clients)
    _step, failures = run(paths, systemd, full(environment="2", bake=plan.Bake(2, 10)))
    assert "within its bake window of 2 s: 4 of 12 answers had a status of 500 or more (limit 10 %)" in failures[0]
    assert serving(paths) == "1"
    assert systemd.up == {f"{APP}.celery@1.service", f"{APP}.tidy@1.timer", f"{APP}.listen.socket"}


def test_an_instance_that_ends_within_the_bake_window_brings_the_old_one_back(
    paths: layout.Paths, systemd: FakeSystemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(paths, systemd, desired())
    monkeypatch.setattr(activation.time, "sleep", lambda _s: systemd.broken.add(f"{APP}@2.service"))
    _step, failures = run(paths, systemd, desired(environment="2", bake=plan.Bake(2)))
    assert f"{APP}@2.service exited unexpectedly" in failures[0]
    assert serving(paths) == "1"
    assert "end" not in [call[0] for call in systemd.calls], "it may be at a client's request"
