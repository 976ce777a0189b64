# SPDX-License-Identifier: GPL-3.0-or-later
"""A host that goes from one process manager to the other, with stand-ins for both; killed at any instant as well."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.managers import supervisor
from ansible_collections.webops.wsgi.plugins.module_utils.managers.host import SUPERVISOR, Managers
from ansible_collections.webops.wsgi.plugins.module_utils.managers.supervisor import Places, SupervisorManager
from ansible_collections.webops.wsgi.plugins.module_utils.managers.units import SystemdManager
from ansible_collections.webops.wsgi.plugins.module_utils.release import layout
from ansible_collections.webops.wsgi.plugins.module_utils.release import plan as release
from ansible_collections.webops.wsgi.plugins.module_utils.release import run as release_run
from fake_systemd import APP, FakeSystemd, Killed, configure, desired, full, serving
from test_run import EFFECTS, count_down


class FakeSupervisord:
    """Programs that are up or not; a server answers as its release's configuration says."""

    def __init__(self, servers: FakeSystemd, programs: Path) -> None:
        self._servers = servers
        self._folder = programs
        self._told: set[str] = set()
        self.words: dict[str, str] = {}

    def processes(self) -> dict[str, dict[str, Any]]:
        return {
            name: {"name": name, "statename": word, "start": 0, "pid": 0, "exitstatus": 0}
            for name, word in self.words.items()
        }

    def ensure(self) -> None:
        pass

    def read_configuration(self) -> None:
        self._told = {path.stem for path in self._folder.glob("*.conf") if path.exists()}

    def add(self, program: str) -> None:
        assert program in self._told
        self.words.setdefault(program, "STOPPED")

    def start(self, program: str) -> None:
        if program.startswith(f"{APP}@"):
            self._servers._serve(f"{program}.service")
        self.words[program] = "EXITED" if "-activate@" in program else "RUNNING"

    def tell_to_stop(self, program: str) -> None:
        if program in self.words:
            self._servers.stop(f"{program}.service")
            self.words[program] = "STOPPED"

    def remove(self, program: str) -> bool:
        if self.words.get(program) == "RUNNING":
            return False
        self.words.pop(program, None)
        return True


class Host:
    """Both managers, and what a run with either of them does."""

    def __init__(self, paths: layout.Paths, systemd: FakeSystemd, folder: Path) -> None:
        self.paths = paths
        self.systemd = systemd
        self.places = Places(
            folder / "programs", folder / "trial", folder / "logs", folder / "own.log", folder / "boot"
        )
        self.places.programs.mkdir()
        self.places.at_boot.symlink_to("somewhere")
        self.supervisord = FakeSupervisord(systemd, self.places.programs)
        supervised = SupervisorManager(paths, self.places, self.supervisord)  # type: ignore[arg-type]
        own = SystemdManager(paths, systemd)  # type: ignore[arg-type]
        self.manager = Managers(paths, {layout.DEFAULT_MANAGER: own, SUPERVISOR: supervised})

    def run(self, wanted: release.Desired) -> tuple[str, list[str]]:
        (step,) = release.plan(self.paths, [wanted], self.manager)
        return step.kind, release_run.carry_out(self.paths, [step], self.manager, 1)

    def go_back(self, wanted: release.Desired, number: str) -> list[str]:
        steps = release.plan_rollback(self.paths, [wanted], {APP: number})
        return release_run.carry_out(self.paths, steps, self.manager, 1)

    def only_supervisor(self, number: str) -> None:
        """Nothing of systemd's is left, and nothing of another release."""
        assert self.supervisord.words == {f"{APP}@{number}": "RUNNING", f"{APP}.celery@{number}": "RUNNING"}
        files = sorted(path.name for path in self.places.programs.iterdir())
        assert files == [f"{APP}.celery@{number}.conf", f"{APP}@{number}.conf"]
        assert not any(path.is_symlink() for path in self.places.programs.iterdir()), "it would not start at boot"
        assert not list(self.paths.units.rglob(f"*{APP}*"))
        assert not self.systemd.up
        assert list(self.systemd.running) == [f"{APP}@{number}.service"]

    def only_systemd(self, number: str) -> None:
        assert self.supervisord.words == {}
        assert not list(self.places.programs.iterdir())
        assert self.systemd.up == {
            f"{APP}.celery@{number}.service",
            f"{APP}.tidy@{number}.timer",
            f"{APP}.listen.socket",
        }
        assert list(self.systemd.running) == [f"{APP}@{number}.service"]


@pytest.fixture
def host(paths: layout.Paths, systemd: FakeSystemd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(supervisor, "LOOK", 0.0)
    return Host(paths, systemd, tmp_path)


def supervised(**changes: Any) -> release.Desired:
    names = ("", "celery", "before-activate")
    units = (
        layout.Part(f"{APP}.celery@.conf", "worker", "[program]\nstopwaitsecs=1\n"),
        layout.Part(f"{APP}.before-activate@.conf", "hook", "[program]\nstopwaitsecs=1\n"),
    )
    base = {
        "manager": SUPERVISOR,
        "settings": "[program]\nstopwaitsecs=1\n",
        "launch": json.dumps({"processes": {name: {"timeout": 1} for name in names}}),
        "launcher": "#!/bin/sh\n",
        "units": units,
    }
    return desired(**{**base, **changes})


def test_an_app_goes_from_manager_to_manager_and_nothing_of_the_one_before_stays(host: Host) -> None:
    assert host.run(full())[1] == []
    assert host.run(supervised())[1] == []
    assert serving(host.paths) == "2"
    host.only_supervisor("2")
    assert host.run(supervised()) == ("none", [])
    assert host.run(full())[1] == []
    assert serving(host.paths) == "3"
    host.only_systemd("3")
    assert host.run(full()) == ("none", [])


def test_a_release_that_fails_under_the_new_manager_leaves_the_app_to_the_old_one(host: Host) -> None:
    host.run(full())
    configure(host.paths, "500")
    _kind, failures = host.run(supervised(config="bad"))
    assert "release 1 still serves" in failures[0]
    host.only_systemd("1")


def test_a_release_is_gone_back_to_under_the_manager_it_was_made_for(host: Host) -> None:
    host.run(full())
    host.run(supervised())
    assert host.go_back(supervised(files=full().files), "1") == []
    assert serving(host.paths) == "1"
    assert (host.supervisord.words, list(host.places.programs.iterdir())) == ({}, [])
    assert host.go_back(supervised(files=full().files), "2") == []
    host.only_supervisor("2")


def test_what_somebody_stopped_or_took_from_the_next_boot_is_put_right(host: Host) -> None:
    host.run(supervised())
    host.supervisord.tell_to_stop(f"{APP}.celery@1")
    (host.places.programs / f"{APP}@1.conf").unlink()
    assert host.run(supervised()) == ("heal", [])
    host.only_supervisor("1")
    assert host.run(supervised()) == ("none", [])


def test_units_that_another_run_left_are_removed_by_the_next(host: Host) -> None:
    host.run(supervised())
    (host.paths.units / f"{APP}.target").write_text("target")
    assert host.run(supervised()) == ("heal", [])
    host.only_supervisor("1")


def test_killed_at_any_instant_of_a_move_one_release_serves_and_the_next_run_completes(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(EFFECTS, supervisor, ["write_file", "replace_link"])
    monkeypatch.setitem(EFFECTS, FakeSupervisord, ["add", "start", "tell_to_stop", "remove"])
    host.run(full())
    for instant in range(400):
        made = [supervised, full][instant % 2]
        wanted = made(environment=str(instant))
        with pytest.MonkeyPatch.context() as patched:
            killed = count_down(patched, instant)
            with contextlib.suppress(Killed):
                host.run(wanted)
            if not killed() and instant > 1:
                break
        serving(host.paths)
        assert host.run(wanted)[1] == [], f"killed at {instant}: the next run fails"
        number = layout.current_release(host.paths, APP)
        assert serving(host.paths) == number
        (host.only_supervisor if made is supervised else host.only_systemd)(number)
        assert host.run(wanted)[0] == "none", f"killed at {instant}"
    assert instant > 30, "too few instants were tried to mean anything"
