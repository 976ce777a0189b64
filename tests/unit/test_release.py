# SPDX-License-Identifier: GPL-3.0-or-later
"""Activation: what is deployed, what happens when it fails, and that a run may be killed at any instant.

Instances are real HTTP servers on real unix sockets; only systemd, which starts them, is played by a class of this
file. The Molecule scenario has the real one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
import grp
import http.server
import os
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils import (
    app_lock,
    health,
    release,
    release_activation,
    release_assembly,
    release_layout,
    release_preparation,
    release_removal,
    release_retirement,
    release_run,
    status,
)
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
    """Starts an HTTP server for each instance; it answers as the release's configuration says.

    Units beside the server only are up or not. Those whose text is ``fails`` refuse to start; those whose text is
    ``ends`` have ended when they are looked at.
    """

    def __init__(self, paths: release_layout.Paths) -> None:
        self.paths = paths
        self.running: dict[str, Server] = {}
        self.up: set[str] = set()
        self.broken: set[str] = set()
        self.calls: list[tuple[str, ...]] = []

    def states(self, units: list[str]) -> dict[str, UnitState]:
        return {unit: self._state(unit) for unit in units}

    def _state(self, unit: str) -> UnitState:
        if unit in self.broken or (unit in self.up and self._text(unit) == "ends"):
            return UnitState("active", "running", 1, False)
        return UnitState("active" if unit in self.running or unit in self.up else "inactive", "", 0, False)

    def _text(self, unit: str) -> str:
        return release_layout.read_text(self.paths.units / unit) or ""

    def start(self, *units: str) -> None:
        for unit in units:
            self.calls.append(("start", unit))
            if self._text(unit) == "fails":
                raise SystemdError(f"Job for {unit} failed")
            if unit.startswith(f"{APP}@"):
                self._serve(unit)
            elif unit.endswith(".target"):
                self.start(*sorted(link.name for link in self.paths.wants(APP).iterdir()))
            elif "-activate@" not in unit:
                self.up.add(unit)

    def _serve(self, unit: str) -> None:
        if unit in self.running:
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
        named = [unit for unit in [*self.running, *self.up] for pattern in units if fnmatch.fnmatch(unit, pattern)]
        for unit in named:
            self.up.discard(unit)
            server = self.running.pop(unit, None)
            if server:
                server.shutdown()
                server.server_close()

    def end(self, *units: str) -> None:
        self.calls.append(("end", *units))
        self.stop(*units)

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
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> release_layout.Paths:
    monkeypatch.setattr(release_layout.os, "fsync", lambda _: None)  # nobody pulls the plug here, and it takes long
    found = release_layout.Paths(
        *(
            tmp_path / name
            for name in (
                "srv",
                "run",
                "wsgi",
                "units",
                "tmpfiles",
                "state",
                "sites",
                "logs",
                "cache",
                "closed",
                "mounts",
            )
        )
    )
    for build in ("b1", "b2"):
        (found.root / APP / "builds" / build).mkdir(parents=True)
    for folder in (found.units, found.runtime, found.state, found.run):
        folder.mkdir()
    configure(found, "200")
    return found


@pytest.fixture
def systemd(paths: release_layout.Paths) -> Iterator[FakeSystemd]:
    manager = FakeSystemd(paths)
    yield manager
    manager.stop(*manager.running)


def configure(paths: release_layout.Paths, behaviour: str) -> None:
    folder = paths.config / APP
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "start").write_text("#!/bin/sh\n")
    (folder / "behaviour").write_text(behaviour)


def desired(**changes: Any) -> release.Desired:
    check = health.Health(statuses=("200",), timeout=0.3, interval=0.01)
    files = {f"{APP}@.service": "unit", f"{APP}.target": "target"}
    base = release.Desired(
        APP, "b1", "source 1", "c1", "settings", files, "runtime", 'A="1"\n', health=check, settle=0, drain=0, keep=2
    )
    return dataclasses.replace(base, **changes)


def run(paths: release_layout.Paths, systemd: FakeSystemd, wanted: release.Desired) -> tuple[release.Step, list[str]]:
    (paths.root / APP / "builds" / wanted.build).mkdir(exist_ok=True)
    (step,) = release.plan(paths, [wanted], systemd)
    return step, release_run.carry_out(paths, [step], systemd, 1)


def serving(paths: release_layout.Paths) -> str:
    """The release that answers where nginx asks."""
    connection = health.UnixConnection(paths.run / APP / "current.sock", 1)
    connection.request("GET", "/")
    answer = connection.getresponse()
    assert answer.status == 200
    return answer.read().decode()


def at_boot(paths: release_layout.Paths) -> set[str]:
    """The releases of which something starts at boot."""
    links = paths.wants(APP).iterdir()
    return {link.name.partition("@")[2].partition(".")[0] for link in links}


def test_first_release_serves_and_starts_at_boot(paths: release_layout.Paths, systemd: FakeSystemd) -> None:
    step, failures = run(paths, systemd, desired())
    assert (failures, step.kind, step.reasons) == ([], "deploy", ["first release"])
    assert serving(paths) == "1"
    assert at_boot(paths) == {"1"}
    assert (paths.units / "multi-user.target.wants" / f"{APP}.target").is_symlink()


def test_second_run_does_nothing(paths: release_layout.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, desired())
    systemd.calls.clear()
    step, failures = run(paths, systemd, desired())
    assert (step.kind, failures, systemd.calls) == ("none", [], [])


@pytest.mark.parametrize("change", [{"build": "b2"}, {"config": "c2"}, {"settings": "s2"}, {"environment": 'A="2"\n'}])
def test_every_part_of_a_release_makes_a_new_one(
    paths: release_layout.Paths, systemd: FakeSystemd, change: dict[str, str]
) -> None:
    run(paths, systemd, desired())
    step, failures = run(paths, systemd, desired(**change))
    assert (failures, step.kind, step.reasons) == ([], "deploy", list(change))
    assert serving(paths) == "2"
    assert list(systemd.running) == [f"{APP}@2.service"]
    assert at_boot(paths) == {"2"}


def test_old_instance_stops_only_after_the_switch(paths: release_layout.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, desired())
    systemd.calls.clear()
    seen = []
    original = systemd.stop
    systemd.stop = lambda *units: (seen.append(serving(paths)), original(*units))  # type: ignore[assignment,func-returns-value]
    run(paths, systemd, desired(build="b2"))
    assert seen == ["2"]


@pytest.mark.parametrize(("behaviour", "reason"), [("500", "answered 500, expected is 200"), ("refuses", "Job for")])
def test_release_that_fails_leaves_the_old_one(
    paths: release_layout.Paths, systemd: FakeSystemd, behaviour: str, reason: str
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


def test_release_that_fails_finds_the_old_one_stopped_and_starts_it(
    paths: release_layout.Paths, systemd: FakeSystemd
) -> None:
    run(paths, systemd, desired())
    systemd.stop(f"{APP}@1.service")
    configure(paths, "500")
    _step, failures = run(paths, systemd, desired(config="bad"))
    assert "release 1 did not answer, was started again and serves" in failures[0]
    assert list(systemd.running) == [f"{APP}@1.service"]


def test_whatever_goes_wrong_after_the_switch_the_old_one_serves(
    paths: release_layout.Paths, systemd: FakeSystemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(paths, systemd, desired())

    def fault(*_arguments: object) -> None:
        raise UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "invalid continuation byte")

    monkeypatch.setattr(release_activation, "_bake", fault)
    _step, failures = run(paths, systemd, desired(config="2"))
    assert "release 1 still serves: 'utf-8' codec can't decode" in failures[0]
    assert serving(paths) == "1"
    assert list(systemd.running) == [f"{APP}@1.service"]


def test_failed_release_is_tried_again_and_then_serves(paths: release_layout.Paths, systemd: FakeSystemd) -> None:
    configure(paths, "500")
    run(paths, systemd, desired())
    configure(paths, "200")
    _step, failures = run(paths, systemd, desired())
    assert (failures, serving(paths)) == ([], "2")


def test_dead_instance_is_brought_back(paths: release_layout.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, desired())
    systemd.stop(f"{APP}@1.service")
    step, failures = run(paths, systemd, desired())
    assert (step.kind, failures) == ("heal", [])
    assert step.reasons == [f"{APP}@1.service is inactive"]
    assert serving(paths) == "1"


def test_instance_that_answers_badly_is_restarted(paths: release_layout.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, desired())
    (paths.release(APP, "1") / "etc" / "behaviour").write_text("500")
    systemd.restart(f"{APP}@1.service")
    (paths.release(APP, "1") / "etc" / "behaviour").write_text("200")
    step, failures = run(paths, systemd, desired())
    assert (step.kind, failures, serving(paths)) == ("heal", [], "1")


def test_changed_unit_file_is_put_right(paths: release_layout.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, desired())
    (paths.units / f"{APP}@.service").write_text("edited by hand")
    step, _failures = run(paths, systemd, desired())
    assert step.kind == "heal"
    assert (paths.units / f"{APP}@.service").read_text() == "unit"


def test_prune_keeps_the_last_good_ones_and_the_last_failed_one(
    paths: release_layout.Paths, systemd: FakeSystemd
) -> None:
    for number in range(4):
        run(paths, systemd, desired(environment=str(number)))
        configure(paths, "500")
        run(paths, systemd, desired(environment=f"bad {number}"))
        configure(paths, "200")
    # Good are 1, 3, 5, 7 and failed 2, 4, 6, 8.
    assert release_layout.release_numbers(paths, APP) == ["5", "7", "8"]
    assert sorted(path.name for path in (paths.root / APP / "builds").iterdir()) == ["b1"]


def test_going_back_again_and_again_never_uses_up_what_there_is_to_go_back_to(
    paths: release_layout.Paths, systemd: FakeSystemd
) -> None:
    run(paths, systemd, desired(environment="before", keep=3))
    run(paths, systemd, desired(environment="good", keep=3))
    for turn in range(4):
        run(paths, systemd, desired(environment=f"turn {turn}", keep=3))
        assert roll_back(paths, systemd) == []
        assert serving(paths) == "2"
    assert roll_back(paths, systemd) == []
    assert serving(paths) == "1", "releases that somebody went back from have pushed the good ones out"


def test_environment_is_for_root_alone(paths: release_layout.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, desired(environment='SECRET="hunter2"\n'))
    for folder in (paths.root, paths.units, paths.runtime):
        for path in folder.rglob("*"):
            if path.is_file() and "hunter2" in path.read_text():
                assert path.name == "environment"
                assert path.stat().st_mode & 0o777 == 0o600
    assert "hunter2" not in repr(desired(environment='SECRET="hunter2"\n'))


def test_second_run_at_the_same_time_is_refused(paths: release_layout.Paths, systemd: FakeSystemd) -> None:
    with app_lock.lock(paths.root / APP):
        _step, failures = run(paths, systemd, desired())
    assert "is being deployed by unknown since 20" in failures[0]


def test_what_the_source_ships_is_planted_once(
    paths: release_layout.Paths, systemd: FakeSystemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Me:
        pw_uid, pw_gid = os.getuid(), os.getgid()

    monkeypatch.setattr(release_assembly.pwd, "getpwnam", lambda _name: Me)
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
    paths: release_layout.Paths, systemd: FakeSystemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = release_assembly.pwd.getpwnam(
        "nobody" if os.getuid() == 0 else release_assembly.pwd.getpwuid(os.getuid()).pw_name
    )
    monkeypatch.setattr(release_assembly.pwd, "getpwnam", lambda _name: nobody)
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


def test_data_of_a_removed_app_is_closed_and_marked(paths: release_layout.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, desired())
    (paths.state / APP).mkdir(mode=0o755)
    release_removal.remove(paths, APP, False, systemd)
    assert (paths.state / APP).stat().st_mode & 0o777 == 0o700
    assert (paths.state / APP / release_removal.KEPT).exists()


def test_removal_keeps_the_data_unless_purged(paths: release_layout.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, desired())
    (paths.state / APP).mkdir()
    release_removal.remove(paths, APP, False, systemd)
    assert systemd.running == {}
    assert not release_removal.leftovers(paths, APP, False)
    assert (paths.state / APP).exists()
    assert release_removal.leftovers(paths, APP, True) == [str(paths.state / APP)]
    release_removal.remove(paths, APP, True, systemd)
    assert not release_removal.leftovers(paths, APP, True)
    assert not [path for folder in (paths.units, paths.runtime, paths.run) for path in folder.rglob(f"*{APP}*")]


def test_what_the_proxy_keeps_of_an_app_goes_with_it(paths: release_layout.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, desired())
    for folder in (paths.cache(APP), paths.maintenance):
        folder.mkdir(parents=True)
    (paths.maintenance / APP).touch()
    (paths.maintenance / "other").touch()
    assert release_removal.leftovers(paths, APP, False)
    release_removal.remove(paths, APP, False, systemd)
    assert not release_removal.leftovers(paths, APP, False)
    assert not paths.cache(APP).exists()
    assert [path.name for path in paths.maintenance.iterdir()] == ["other"]


def test_answer_without_the_expected_text_is_not_healthy(paths: release_layout.Paths, systemd: FakeSystemd) -> None:
    _step, failures = run(paths, systemd, desired(health=health.Health(body="pong", timeout=0.1, interval=0.01)))
    assert "answered 200 without 'pong', but: '1'" in failures[0]


def test_good_answers_must_come_in_a_row(paths: release_layout.Paths, systemd: FakeSystemd) -> None:
    asked: list[str] = []
    answers = map(health.Answer, ["", "bad", "", "", ""])
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(release_activation.probe, "ask", lambda *_: (asked.append("?"), next(answers))[1])
        step = release.Step(desired(health=health.Health(successes=3, interval=0)), "", number="1")
        release_activation.wait_healthy(paths.socket(APP, "1"), step, systemd)
    assert len(asked) == 5


def roll_back(paths: release_layout.Paths, systemd: FakeSystemd, target: str = release.PREVIOUS) -> list[str]:
    steps = release.plan_rollback(paths, [desired(build="", config="", settings="of the inventory")], {APP: target})
    return release_run.carry_out(paths, steps, systemd, 1, "me@here")


def test_rollback_brings_code_settings_and_environment_back(paths: release_layout.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, desired(settings="first"))
    (paths.root / APP / "builds" / "b2").mkdir(exist_ok=True)
    run(paths, systemd, desired(build="b2", settings="second", environment='A="2"\n'))
    assert roll_back(paths, systemd) == []
    assert serving(paths) == "1"
    assert paths.settings(APP, "1").read_text() == "first"
    assert list(systemd.running) == [f"{APP}@1.service"]
    assert (paths.root / APP / "builds" / "b2").exists(), "a rollback must leave the way back"


def test_rollback_passes_over_what_failed_and_what_was_rolled_back_from(
    paths: release_layout.Paths, systemd: FakeSystemd
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


def test_rollback_to_a_release_by_number(paths: release_layout.Paths, systemd: FakeSystemd) -> None:
    for number in ("1", "2"):
        run(paths, systemd, desired(environment=number))
    assert roll_back(paths, systemd, "1") == []
    assert roll_back(paths, systemd, "2") == []
    assert serving(paths) == "2"


@pytest.mark.parametrize(
    ("target", "words"), [("7", "no good release 7"), (release.PREVIOUS, "no earlier good release")]
)
def test_rollback_to_nothing_names_the_choice(
    paths: release_layout.Paths, systemd: FakeSystemd, target: str, words: str
) -> None:
    run(paths, systemd, desired())
    with pytest.raises(release.ReleaseError, match=f'app "{APP}": there is {words} .* from 1; .* are: none'):
        roll_back(paths, systemd, target)


def test_rollback_that_fails_leaves_the_current_one_and_rules_the_target_out(
    paths: release_layout.Paths, systemd: FakeSystemd
) -> None:
    for number in ("1", "2"):
        run(paths, systemd, desired(environment=number))
    (paths.release(APP, "1") / "etc" / "behaviour").write_text("500")
    assert "release 2 still serves" in roll_back(paths, systemd)[0]
    assert serving(paths) == "2"
    assert not release_layout.has_proved(paths, APP, "1")


def test_history_tells_who_what_and_how_it_went(paths: release_layout.Paths, systemd: FakeSystemd) -> None:
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


# -- what runs beside the server ---------------------------------------------------------------------------------


def unit(name: str, kind: str, text: str = "works") -> release_layout.Unit:
    """A unit beside the server."""
    suffix = "timer" if kind == release_layout.TIMER else "service"
    return release_layout.Unit(f"{APP}.{name}@.{suffix}", kind, text)


WORKER, JOB, TIMER = unit("celery", "worker"), unit("tidy", "job"), unit("tidy", "timer")
BEFORE, AFTER = unit("before-activate", "hook"), unit("after-activate", "hook")
LISTENER = {f"{APP}.listen.socket": "listens", f"{APP}.listen.service": "hands on"}


def full(**changes: Any) -> release.Desired:
    """A release with everything beside its server."""
    files = {**desired().files, **LISTENER}
    units = (WORKER, JOB, TIMER, BEFORE, AFTER)
    return desired(**{"files": files, "units": units, "commands": {"celery": "exec celery"}, **changes})


def listening(address: str, rest: str = "", **changes: Any) -> release.Desired:
    """A release at an address of its own."""
    unit = {f"{APP}.listen.socket": f"[Socket]\nListenStream={address}\n{rest}"}
    return full(listen=address, files={**full().files, **unit}, **changes)


def started(systemd: FakeSystemd) -> list[str]:
    return [call[1] for call in systemd.calls if call[0] == "start"]


def test_everything_of_a_release_changes_over(paths: release_layout.Paths, systemd: FakeSystemd) -> None:
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


def test_a_worker_that_ends_keeps_the_release_from_serving(paths: release_layout.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, full())
    _step, failures = run(paths, systemd, full(units=(unit("celery", "worker", "ends"),)))
    assert f"{APP}.celery@2.service ended by itself" in failures[0]
    assert f"journal of {APP}.celery@2.service" in failures[0]
    assert serving(paths) == "1"
    assert systemd.up == {f"{APP}.celery@1.service", f"{APP}.tidy@1.timer", f"{APP}.listen.socket"}
    assert set(release_layout.traces(paths, APP)) == {"1"}


@pytest.mark.parametrize("name", ["before-activate", "after-activate"])
def test_a_hook_that_fails_ends_the_deployment(paths: release_layout.Paths, systemd: FakeSystemd, name: str) -> None:
    run(paths, systemd, full())
    _step, failures = run(paths, systemd, full(units=(WORKER, unit(name, "hook", "fails"))))
    assert f"{name.replace('-', '_')} failed: Job for {APP}.{name}@2.service failed" in failures[0]
    assert "release 1 still serves" in failures[0]
    assert serving(paths) == "1"
    assert list(systemd.running) == [f"{APP}@1.service"]
    assert not release_layout.has_proved(paths, APP, "2")


def test_the_hook_before_runs_on_one_host_and_not_on_the_way_back(
    paths: release_layout.Paths, systemd: FakeSystemd
) -> None:
    run(paths, systemd, full())
    systemd.calls.clear()
    run(paths, systemd, full(environment="2", run_hooks=False))
    assert f"{APP}.before-activate@2.service" not in started(systemd)
    assert roll_back(paths, systemd) == []
    assert f"{APP}.before-activate@1.service" not in started(systemd)
    assert f"{APP}.after-activate@1.service" in started(systemd)


def test_first_release_that_fails_afterwards_does_not_stay(paths: release_layout.Paths, systemd: FakeSystemd) -> None:
    _step, failures = run(paths, systemd, full(units=(unit("after-activate", "hook", "fails"),)))
    assert "nothing serves yet" in failures[0]
    assert release_layout.current_release(paths, APP) == ""
    assert systemd.running == {}


def test_a_release_whose_job_runs_is_kept(paths: release_layout.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, full())
    systemd.up.add(f"{APP}.tidy@1.service")
    for number in range(3):
        run(paths, systemd, full(environment=str(number)))
    assert release_layout.release_numbers(paths, APP) == ["1", "3", "4"]
    assert f"{APP}.tidy@1.service" in systemd.up, "a job was ended by a deployment"


def test_dead_workers_and_timers_are_brought_back(paths: release_layout.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, full())
    before = set(systemd.up)
    systemd.up.clear()
    step, failures = run(paths, systemd, full())
    assert (step.kind, failures, systemd.up) == ("heal", [], before)


def test_an_address_is_let_go_of_when_it_is_no_longer_wanted(paths: release_layout.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, full())
    step, failures = run(paths, systemd, full(files=desired().files))
    assert (step.kind, failures) == ("heal", [])
    assert f"{APP}.listen.socket" not in systemd.up
    assert not list(paths.units.rglob("*.listen.*"))
    assert run(paths, systemd, full(files=desired().files))[0].kind == "none"


def test_a_changed_address_is_taken_anew(paths: release_layout.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, full())
    systemd.calls.clear()
    run(paths, systemd, full(files={**full().files, f"{APP}.listen.socket": "elsewhere"}))
    socket = f"{APP}.listen.socket"
    told = [call for call in systemd.calls if socket in call]
    assert [call[0] for call in told[:2]] == ["stop", "start"]


def test_an_address_that_is_taken_is_refused_while_the_old_one_is_held(
    paths: release_layout.Paths, systemd: FakeSystemd
) -> None:
    run(paths, systemd, full())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        _step, failures = run(paths, systemd, listening(address, environment="2"))
    assert f"listen is {address}, which cannot be had: Address already in use" in failures[0]
    assert f"{APP}.listen.socket" in systemd.up
    assert serving(paths) == "1"


def test_an_address_that_the_app_holds_itself_is_not_asked_for(
    paths: release_layout.Paths, systemd: FakeSystemd
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
    run(paths, systemd, listening(address))
    with socket.create_server(("127.0.0.1", int(address.rpartition(":")[2]))):
        _step, failures = run(paths, systemd, listening(address, "Backlog=9\n", environment="2"))
    assert (failures, serving(paths)) == ([], "2")


def test_credentials_are_for_root_alone_and_part_of_the_release(
    paths: release_layout.Paths, systemd: FakeSystemd
) -> None:
    run(paths, systemd, desired(credentials={"key.pem": "hunter2"}))
    step, _failures = run(paths, systemd, desired(credentials={"key.pem": "hunter3"}))
    assert step.reasons == ["credentials"]
    kept = paths.release(APP, "2") / "credentials" / "key.pem"
    assert kept.read_text() == "hunter3"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    assert "hunter3" not in (paths.release(APP, "2") / "release.json").read_text()
    assert "hunter3" not in repr(desired(credentials={"key.pem": "hunter3"}))


# -- watched after the switch ------------------------------------------------------------------------------------


def test_server_errors_within_the_bake_window_bring_the_old_release_back(
    paths: release_layout.Paths, systemd: FakeSystemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(paths, systemd, full())
    log = paths.logs / f"{APP}.access.log"
    paths.logs.mkdir()
    log.write_text('1.2.3.4 - - [now] "GET / HTTP/1.1" 500 1 "-" "-"\n' * 50)
    original = release_activation.time.sleep

    def clients(seconds: float) -> None:
        with log.open("a") as stream:
            stream.write('1.2.3.4 - - [now] "GET / HTTP/1.1" 200 1 "-" "-"\n' * 8)
            stream.write('1.2.3.4 - - [now] "GET / HTTP/1.1" 502 1 "-" "-"\n' * 4)
        original(min(seconds, 0.01))

    monkeypatch.setattr(release_activation.time, "sleep", clients)
    _step, failures = run(paths, systemd, full(environment="2", bake=release.Bake(2, 10)))
    assert "within its bake window of 2 s: 4 of 12 answers had a status of 500 or more (limit 10 %)" in failures[0]
    assert serving(paths) == "1"
    assert systemd.up == {f"{APP}.celery@1.service", f"{APP}.tidy@1.timer", f"{APP}.listen.socket"}


def test_an_instance_that_ends_within_the_bake_window_brings_the_old_one_back(
    paths: release_layout.Paths, systemd: FakeSystemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(paths, systemd, desired())
    monkeypatch.setattr(release_activation.time, "sleep", lambda _s: systemd.broken.add(f"{APP}@2.service"))
    _step, failures = run(paths, systemd, desired(environment="2", bake=release.Bake(2)))
    assert f"{APP}@2.service ended by itself" in failures[0]
    assert serving(paths) == "1"
    assert "end" not in [call[0] for call in systemd.calls], "it may be at a client's request"


def test_a_deployment_killed_after_the_switch_is_finished_or_taken_back(
    paths: release_layout.Paths, systemd: FakeSystemd, monkeypatch: pytest.MonkeyPatch
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


GOOD, REFUSED = health.Answer("", 200), health.Answer("GET / got no answer: refused", 0)
BROKEN, LOGIN = health.Answer("GET / answered 502", 502), health.Answer("GET / answered 401", 401)
MAINTAINED = health.Answer("GET / answered 503", 503, True)


@pytest.mark.parametrize(
    ("before", "after", "required", "fault"),
    [
        (GOOD, GOOD, True, False),
        (GOOD, BROKEN, False, True),
        (GOOD, REFUSED, False, True),
        (GOOD, LOGIN, False, True),
        (LOGIN, LOGIN, True, False),
        (MAINTAINED, MAINTAINED, True, False),
        (BROKEN, GOOD, True, False),
        (BROKEN, BROKEN, False, False),
        (BROKEN, BROKEN, True, True),
        (REFUSED, REFUSED, False, False),
        (REFUSED, REFUSED, True, True),
    ],
)
def test_answers_through_the_proxy(before: health.Answer, after: health.Answer, required: bool, fault: bool) -> None:
    assert bool(release_activation.proxy_fault(before, after, required)) == fault


def test_a_release_that_clients_do_not_get_to_is_taken_back(
    paths: release_layout.Paths, systemd: FakeSystemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(paths, systemd, desired())
    paths.sites.mkdir()
    (paths.sites / f"{APP}.conf").write_text("server {\n    server_name www.example.com api.example.com;\n}\n")
    answers = iter([GOOD, BROKEN])
    asked = []
    monkeypatch.setattr(
        release_activation.probe,
        "ask_through_proxy",
        lambda port, name, _: (asked.append((port, name)), next(answers))[1],
    )
    proxy = release.Proxy(("new.example.com", "api.example.com"), http_port=8080, https_port=8443)
    _step, failures = run(paths, systemd, desired(environment="2", proxy=proxy))
    assert "healthy on its own socket, but not through nginx: GET / answered 502" in failures[0]
    assert asked == [(8443, "api.example.com")] * 2
    assert serving(paths) == "1"


@pytest.mark.parametrize(
    ("block", "mount", "asked"),
    [
        (
            f"server_name example.com;\ninclude wsgi/mounts/{APP}.conf;",
            'location ^~ "/admin/" {',
            ["/admin/healthz"] * 2,
        ),
        (f"server_name example.com;\ninclude wsgi/mounts/{APP}.conf;", 'location ^~ "/adm/" {', []),
        ("server_name example.com;", 'location ^~ "/admin/" {', []),
        (f"server_name example.com;\ninclude wsgi/mounts/{APP}.conf;", "", []),
    ],
    ids=["there", "at another path", "not in the block", "not yet"],
)
def test_an_app_below_a_path_is_asked_there(
    paths: release_layout.Paths,
    systemd: FakeSystemd,
    monkeypatch: pytest.MonkeyPatch,
    block: str,
    mount: str,
    asked: list[str],
) -> None:
    for folder, name, text in ((paths.sites, "web", f"server {{\n{block}\n}}"), (paths.mounts, APP, mount)):
        folder.mkdir()
        (folder / f"{name}.conf").write_text(text)
    seen: list[str] = []
    monkeypatch.setattr(
        release_activation.probe, "ask_through_proxy", lambda _port, _name, check: (seen.append(check.path), GOOD)[1]
    )
    proxy = release.Proxy(("example.com",), "web", "/admin")
    check = dataclasses.replace(desired().health, path="/healthz")
    _step, failures = run(paths, systemd, desired(proxy=proxy, health=check))
    assert (failures, seen) == ([], asked)


# -- killed at any instant ---------------------------------------------------------------------------------------

EFFECTS = {
    release_assembly: ["write_file", "_own_by_group"],
    release_preparation: ["write_file", "replace_link"],
    release_activation: ["write_file", "replace_link", "forget"],
    release_retirement: ["forget"],
    release_assembly.shutil: ["copytree", "rmtree"],
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
    paths: release_layout.Paths, systemd: FakeSystemd
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
        current = release_layout.current_release(paths, APP)
        assert serving(paths) == current
        assert list(systemd.running) == [f"{APP}@{current}.service"], f"killed at {instant}: an instance is left over"
        assert systemd.up == {f"{APP}.celery@{current}.service", f"{APP}.tidy@{current}.timer", f"{APP}.listen.socket"}
        assert at_boot(paths) == {current, ""}
        assert set(release_layout.traces(paths, APP)) == {current}, f"killed at {instant}: a unit's file is left over"
        assert not list((paths.root / APP / "releases").glob(".*")), f"killed at {instant}: a part is left over"
        assert run(paths, systemd, full(environment=str(instant)))[0].kind == "none"
    else:
        pytest.fail("the run never ended by itself")
    assert instant > 15, "too few instants were tried to mean anything"
