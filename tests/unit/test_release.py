# SPDX-License-Identifier: GPL-3.0-or-later
"""Activation: what is deployed, what happens when it fails, and that a run may be killed at any instant.

Instances are real HTTP servers on real unix sockets; only systemd, which starts them, is played by a class of this
file. The Molecule scenario has the real one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import grp
import http.server
import os
import socketserver
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils import health, release, status
from ansible_collections.webops.wsgi.plugins.module_utils.systemd import SystemdError, UnitState

# A release belongs to the group that is named like its app; the test's own group always exists.
APP = grp.getgrgid(os.getgid()).gr_name


class Killed(BaseException):
    """The run ends here, as by kill -9."""


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


def handler(status: int, body: str) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def address_string(self) -> str:
            return "unix"

        def log_message(self, *_words: Any) -> None:
            pass

    return Handler


class FakeSystemd:
    """Starts an HTTP server for each instance; it answers as the release's configuration says."""

    def __init__(self, paths: release.Paths) -> None:
        self.paths = paths
        self.running: dict[str, Server] = {}
        self.calls: list[tuple[str, ...]] = []

    def states(self, units: list[str]) -> dict[str, UnitState]:
        return {unit: UnitState("active" if unit in self.running else "inactive", "", 0, False) for unit in units}

    def start(self, unit: str) -> None:
        self.calls.append(("start", unit))
        if unit in self.running or unit.endswith(".target"):
            return
        app, _at, number = unit.removesuffix(".service").partition("@")
        behaviour = (self.paths.release(app, number) / "etc" / "behaviour").read_text()
        if behaviour == "refuses":
            raise SystemdError(f"Job for {unit} failed")
        socket = self.paths.socket(app, number)
        socket.unlink(missing_ok=True)
        server = Server(str(socket), handler(int(behaviour), number))
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.005}, daemon=True).start()
        self.running[unit] = server

    def restart(self, unit: str) -> None:
        self.stop(unit)
        self.start(unit)

    def stop(self, *units: str) -> None:
        self.calls.append(("stop", *units))
        for unit in units:
            server = self.running.pop(unit, None)
            if server:
                server.shutdown()
                server.server_close()

    def reload(self) -> None:
        self.calls.append(("reload",))

    def create_runtime_files(self, configuration: str) -> None:
        folder = self.paths.run / APP
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "current.sock").is_symlink():
            (folder / "current.sock").symlink_to(self.paths.current(APP) / "socket")

    def journal(self, unit: str, lines: int) -> str:
        return f"journal of {unit}"


@pytest.fixture
def paths(tmp_path: Path) -> release.Paths:
    found = release.Paths(*(tmp_path / name for name in ("srv", "run", "wsgi", "units", "tmpfiles", "state")))
    for build in ("b1", "b2"):
        (found.root / APP / "builds" / build).mkdir(parents=True)
    for folder in (found.units, found.runtime, found.state, found.run):
        folder.mkdir()
    configure(found, "200")
    return found


@pytest.fixture
def systemd(paths: release.Paths) -> Iterator[FakeSystemd]:
    manager = FakeSystemd(paths)
    yield manager
    manager.stop(*manager.running)


def configure(paths: release.Paths, behaviour: str) -> None:
    folder = paths.config / APP
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "start").write_text("#!/bin/sh\n")
    (folder / "behaviour").write_text(behaviour)


def desired(**changes: Any) -> release.Desired:
    check = health.Health(statuses=("200",), timeout=0.3, interval=0.01)
    base = release.Desired(APP, "b1", "source 1", "c1", "unit", "settings", "target", "runtime", 'A="1"\n', check, 0, 2)
    return dataclasses.replace(base, **changes)


def run(paths: release.Paths, systemd: FakeSystemd, wanted: release.Desired) -> tuple[release.Step, list[str]]:
    (step,) = release.plan(paths, [wanted], systemd)
    return step, release.carry_out(paths, [step], systemd, 1)


def serving(paths: release.Paths) -> str:
    """The release that answers where nginx asks."""
    connection = health.UnixConnection(paths.run / APP / "current.sock", 1)
    connection.request("GET", "/")
    answer = connection.getresponse()
    assert answer.status == 200
    return answer.read().decode()


def test_first_release_serves_and_starts_at_boot(paths: release.Paths, systemd: FakeSystemd) -> None:
    step, failures = run(paths, systemd, desired())
    assert (failures, step.kind, step.reasons) == ([], "deploy", ["first release"])
    assert serving(paths) == "1"
    assert release.enabled(paths, APP) == {"1"}
    assert (paths.units / "multi-user.target.wants" / f"{APP}.target").is_symlink()


def test_second_run_does_nothing(paths: release.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, desired())
    systemd.calls.clear()
    step, failures = run(paths, systemd, desired())
    assert (step.kind, failures, systemd.calls) == ("none", [], [])


@pytest.mark.parametrize("change", [{"build": "b2"}, {"config": "c2"}, {"settings": "s2"}, {"environment": 'A="2"\n'}])
def test_every_part_of_a_release_makes_a_new_one(
    paths: release.Paths, systemd: FakeSystemd, change: dict[str, str]
) -> None:
    run(paths, systemd, desired())
    step, failures = run(paths, systemd, desired(**change))
    assert (failures, step.kind, step.reasons) == ([], "deploy", list(change))
    assert serving(paths) == "2"
    assert list(systemd.running) == [f"{APP}@2.service"]
    assert release.enabled(paths, APP) == {"2"}


def test_old_instance_stops_only_after_the_switch(paths: release.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, desired())
    systemd.calls.clear()
    seen = []
    original = systemd.stop
    systemd.stop = lambda *units: (seen.append(serving(paths)), original(*units))  # type: ignore[assignment,func-returns-value]
    run(paths, systemd, desired(build="b2"))
    assert seen == ["2"]


@pytest.mark.parametrize(("behaviour", "reason"), [("500", "answered 500, expected is 200"), ("refuses", "Job for")])
def test_release_that_fails_leaves_the_old_one(
    paths: release.Paths, systemd: FakeSystemd, behaviour: str, reason: str
) -> None:
    run(paths, systemd, desired())
    configure(paths, behaviour)
    _step, failures = run(paths, systemd, desired(config="bad"))
    assert serving(paths) == "1"
    assert release.enabled(paths, APP) == {"1"}
    assert list(systemd.running) == [f"{APP}@1.service"]
    (message,) = failures
    for words in (
        f'app "{APP}"',
        "release 2 (source 1) was not activated",
        "release 1 still serves",
        reason,
        f"journal of {APP}@2",
    ):
        assert words in message


def test_failed_release_is_tried_again_and_then_serves(paths: release.Paths, systemd: FakeSystemd) -> None:
    configure(paths, "500")
    run(paths, systemd, desired())
    configure(paths, "200")
    _step, failures = run(paths, systemd, desired())
    assert (failures, serving(paths)) == ([], "2")


def test_dead_instance_is_brought_back(paths: release.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, desired())
    systemd.stop(f"{APP}@1.service")
    step, failures = run(paths, systemd, desired())
    assert (step.kind, failures) == ("heal", [])
    assert step.reasons == [f"{APP}@1.service is inactive"]
    assert serving(paths) == "1"


def test_instance_that_answers_badly_is_restarted(paths: release.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, desired())
    (paths.release(APP, "1") / "etc" / "behaviour").write_text("500")
    systemd.restart(f"{APP}@1.service")
    (paths.release(APP, "1") / "etc" / "behaviour").write_text("200")
    step, failures = run(paths, systemd, desired())
    assert (step.kind, failures, serving(paths)) == ("heal", [], "1")


def test_changed_unit_file_is_put_right(paths: release.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, desired())
    (paths.units / f"{APP}@.service").write_text("edited by hand")
    step, _failures = run(paths, systemd, desired())
    assert step.kind == "heal"
    assert (paths.units / f"{APP}@.service").read_text() == "unit"


def test_prune_keeps_the_last_good_ones_and_the_last_failed_one(paths: release.Paths, systemd: FakeSystemd) -> None:
    for number in range(4):
        run(paths, systemd, desired(environment=str(number)))
        configure(paths, "500")
        run(paths, systemd, desired(environment=f"bad {number}"))
        configure(paths, "200")
    # Good are 1, 3, 5, 7 and failed 2, 4, 6, 8.
    assert release.release_numbers(paths, APP) == ["5", "7", "8"]
    assert sorted(path.name for path in (paths.root / APP / "builds").iterdir()) == ["b1"]


def test_environment_is_for_root_alone(paths: release.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, desired(environment='SECRET="hunter2"\n'))
    for folder in (paths.root, paths.units, paths.runtime):
        for path in folder.rglob("*"):
            if path.is_file() and "hunter2" in path.read_text():
                assert path.name == "environment"
                assert path.stat().st_mode & 0o777 == 0o600
    assert "hunter2" not in repr(desired(environment='SECRET="hunter2"\n'))


def test_second_run_at_the_same_time_is_refused(paths: release.Paths, systemd: FakeSystemd) -> None:
    with release.lock(paths, APP):
        _step, failures = run(paths, systemd, desired())
    assert "is being deployed by unknown since 20" in failures[0]


def test_what_the_source_ships_is_planted_once(
    paths: release.Paths, systemd: FakeSystemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Me:
        pw_uid, pw_gid = os.getuid(), os.getgid()

    monkeypatch.setattr(release.pwd, "getpwnam", lambda _name: Me)
    seed = paths.root / APP / "builds" / "b1" / "seed" / "instance"
    seed.mkdir(parents=True)
    (seed / "config.py").write_text("shipped")
    run(paths, systemd, desired())
    kept = paths.state / APP / "instance" / "config.py"
    assert kept.read_text() == "shipped"
    kept.write_text("changed by the app")
    run(paths, systemd, desired(environment="2"))
    assert kept.read_text() == "changed by the app"


def test_seed_is_planted_without_following_links_of_the_app(
    paths: release.Paths, systemd: FakeSystemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = release.pwd.getpwnam("nobody" if os.getuid() == 0 else release.pwd.getpwuid(os.getuid()).pw_name)
    monkeypatch.setattr(release.pwd, "getpwnam", lambda _name: nobody)
    for folder in (paths.root, *paths.root.parents):
        if folder.owner() == paths.root.owner() and str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    seed = paths.root / APP / "builds" / "b1" / "seed" / "instance"
    seed.mkdir(parents=True)
    (seed / "config.py").write_text("shipped")
    target = paths.state / "of-root"
    target.mkdir()
    (target / "shadow").write_text("secret")
    before = (target.stat(), (target / "shadow").stat())
    home = paths.state / APP
    home.mkdir()
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    (home / ".instance.partial").symlink_to(target)
    run(paths, systemd, desired())
    assert ((target.stat().st_uid, target.stat().st_mode), (target / "shadow").stat().st_uid) == (
        (before[0].st_uid, before[0].st_mode),
        before[1].st_uid,
    )
    assert [path.name for path in target.iterdir()] == ["shadow"]
    assert (home / "instance" / "config.py").stat().st_uid == nobody.pw_uid


def test_data_of_a_removed_app_is_closed_and_marked(paths: release.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, desired())
    (paths.state / APP).mkdir(mode=0o755)
    release.remove(paths, APP, False, systemd)
    assert (paths.state / APP).stat().st_mode & 0o777 == 0o700
    assert (paths.state / APP / release.KEPT).exists()


def test_removal_keeps_the_data_unless_purged(paths: release.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, desired())
    (paths.state / APP).mkdir()
    release.remove(paths, APP, False, systemd)
    assert systemd.running == {}
    assert not release.leftovers(paths, APP, False)
    assert (paths.state / APP).exists()
    assert release.leftovers(paths, APP, True) == [str(paths.state / APP)]
    release.remove(paths, APP, True, systemd)
    assert not release.leftovers(paths, APP, True)
    assert not [path for folder in (paths.units, paths.runtime, paths.run) for path in folder.rglob(f"*{APP}*")]


def test_answer_without_the_expected_text_is_not_healthy(paths: release.Paths, systemd: FakeSystemd) -> None:
    _step, failures = run(paths, systemd, desired(health=health.Health(body="pong", timeout=0.1, interval=0.01)))
    assert "answered 200 without 'pong', but: '1'" in failures[0]


def test_good_answers_must_come_in_a_row(paths: release.Paths, systemd: FakeSystemd) -> None:
    asked: list[str] = []
    answers = iter(["", "bad", "", "", ""])
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(release.probe, "ask", lambda *_: (asked.append("?"), next(answers))[1])
        step = release.Step(desired(health=health.Health(successes=3, interval=0)), "", number="1")
        release.wait_healthy(paths.socket(APP, "1"), step, systemd)
    assert len(asked) == 5


def roll_back(paths: release.Paths, systemd: FakeSystemd, target: str = release.PREVIOUS) -> list[str]:
    steps = release.plan_rollback(paths, [desired(build="", config="", settings="of the inventory")], {APP: target})
    return release.carry_out(paths, steps, systemd, 1, "me@here")


def test_rollback_brings_code_settings_and_environment_back(paths: release.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, desired(settings="first"))
    (paths.root / APP / "builds" / "b2").mkdir(exist_ok=True)
    run(paths, systemd, desired(build="b2", settings="second", environment='A="2"\n'))
    assert roll_back(paths, systemd) == []
    assert serving(paths) == "1"
    assert paths.settings(APP, "1").read_text() == "first"
    assert list(systemd.running) == [f"{APP}@1.service"]
    assert (paths.root / APP / "builds" / "b2").exists(), "a rollback must leave the way back"


def test_rollback_passes_over_what_failed_and_what_was_rolled_back_from(
    paths: release.Paths, systemd: FakeSystemd
) -> None:
    run(paths, systemd, desired(environment="1", keep=5))
    run(paths, systemd, desired(environment="2", keep=5))
    configure(paths, "500")
    run(paths, systemd, desired(environment="3", keep=5))
    configure(paths, "200")
    run(paths, systemd, desired(environment="4", keep=5))
    assert roll_back(paths, systemd) == []
    assert serving(paths) == "2"
    run(paths, systemd, desired(environment="5", keep=5))
    assert roll_back(paths, systemd) == []
    assert serving(paths) == "2", "4 was rolled back from and 3 has failed"


def test_rollback_to_a_release_by_number(paths: release.Paths, systemd: FakeSystemd) -> None:
    for number in ("1", "2"):
        run(paths, systemd, desired(environment=number))
    assert roll_back(paths, systemd, "1") == []
    assert roll_back(paths, systemd, "2") == []
    assert serving(paths) == "2"


@pytest.mark.parametrize(
    ("target", "words"), [("7", "no good release 7"), (release.PREVIOUS, "no earlier good release")]
)
def test_rollback_to_nothing_names_the_choice(
    paths: release.Paths, systemd: FakeSystemd, target: str, words: str
) -> None:
    run(paths, systemd, desired())
    with pytest.raises(release.ReleaseError, match=f'app "{APP}": there is {words} .* from 1; .* are: none'):
        roll_back(paths, systemd, target)


def test_rollback_that_fails_leaves_the_current_one_and_rules_the_target_out(
    paths: release.Paths, systemd: FakeSystemd
) -> None:
    for number in ("1", "2"):
        run(paths, systemd, desired(environment=number))
    (paths.release(APP, "1") / "etc" / "behaviour").write_text("500")
    assert "release 2 still serves" in roll_back(paths, systemd)[0]
    assert serving(paths) == "2"
    assert not release.has_proved(paths, APP, "1")


def test_history_tells_who_what_and_how_it_went(paths: release.Paths, systemd: FakeSystemd) -> None:
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
    assert set(last["seconds"]) == {"prepare", "start", "drain"}


# -- killed at any instant ---------------------------------------------------------------------------------------

EFFECTS = {
    release: ["write_file", "replace_link", "_own_by_group", "_forget"],
    release.shutil: ["copytree", "rmtree"],
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
    paths: release.Paths, systemd: FakeSystemd
) -> None:
    run(paths, systemd, desired(environment="first"))
    for instant in range(200):
        with pytest.MonkeyPatch.context() as monkeypatch:
            killed = count_down(monkeypatch, instant)
            with contextlib.suppress(Killed):
                run(paths, systemd, desired(environment=str(instant)))
            if not killed():
                break
        before = serving(paths)
        assert (paths.release(APP, before) / release.PROVED).exists(), f"killed at {instant}: {before} serves unproved"
        _step, failures = run(paths, systemd, desired(environment=str(instant)))
        assert failures == [], f"killed at {instant}: the next run fails"
        current = release.current_release(paths, APP)
        assert serving(paths) == current
        assert list(systemd.running) == [f"{APP}@{current}.service"], f"killed at {instant}: an instance is left over"
        assert release.enabled(paths, APP) == {current}
        assert not list((paths.root / APP / "releases").glob(".*")), f"killed at {instant}: a part is left over"
        assert run(paths, systemd, desired(environment=str(instant)))[0].kind == "none"
    else:
        pytest.fail("the run never ended by itself")
    assert instant > 15, "too few instants were tried to mean anything"
