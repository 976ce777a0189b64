# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases under a real supervisord of the test's own: programs are shell scripts here, without ``launch``.

Scenario ``servers`` has Debian's, with everything around it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.managers.model import (
    EVERY,
    HOOK,
    WORKER,
    ManagerError,
    Process,
)
from ansible_collections.webops.wsgi.plugins.module_utils.managers.supervisor import Places, SupervisorManager
from ansible_collections.webops.wsgi.plugins.module_utils.managers.supervisord import (
    AbsentError,
    Supervisord,
    SupervisordError,
)
from ansible_collections.webops.wsgi.plugins.module_utils.release.layout import Paths
from ansible_collections.webops.wsgi.plugins.module_utils.release.plan import Desired

PATIENCE = 10.0
WORKS = "exec sleep 600"
SERVER = Process("api", "1")


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.05)


class Host:
    """A directory with a supervisord and what the manager has there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths = Paths(root=folder / "srv", run=folder / "run", units=folder / "units")
        self.places = Places(
            folder / "conf.d", folder / "trial", folder / "logs", folder / "own.log", folder / "supervisor.service"
        )
        for place in (self.places.programs, self.places.logs / "api", self.paths.run / "api"):
            place.mkdir(parents=True)
        self.places.at_boot.symlink_to("/nowhere")
        self.supervisord = Supervisord(folder / "sock")
        self.manager = SupervisorManager(self.paths, self.places, self.supervisord)
        self.daemon: subprocess.Popen[bytes] | None = None

    def boot(self) -> None:
        (self.folder / "supervisord.conf").write_text(
            f"[supervisord]\nnodaemon=true\nlogfile={self.places.own_log}\npidfile={self.folder}/pid\n"
            f"[unix_http_server]\nfile={self.folder}/sock\nchmod=0700\n"
            "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
            f"[include]\nfiles={self.places.programs}/*.conf\n"
        )
        program = str(Path(sys.executable).with_name("supervisord"))
        command = [program, "-n", "-c", str(self.folder / "supervisord.conf")]
        self.daemon = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self.supervisord.answers)

    def shut_down(self) -> None:
        if self.daemon:
            self.daemon.terminate()
            self.daemon.wait()
            self.daemon = None

    def pull_the_plug(self) -> None:
        if self.daemon:
            for info in self.supervisord.processes().values():
                if info["pid"]:
                    with suppress(ProcessLookupError):
                        os.killpg(info["pid"], signal.SIGKILL)
            self.daemon.kill()
            self.daemon.wait()

    def release(self, number: str, beside: dict[str, tuple[str, str]] | None = None, server: str = WORKS) -> Desired:
        """Write a release whose processes are shell scripts; of what is beside the server kind and script, by name."""
        folder = self.paths.release("api", number)
        folder.mkdir(parents=True)
        (folder / "settings.conf").write_text(self.program(folder, "", server))
        for name, (kind, script) in (beside or {}).items():
            place = folder / "units" / kind
            place.mkdir(parents=True, exist_ok=True)
            (place / f"api.{name}@.conf").write_text(self.program(folder, name, script, kind == HOOK))
        times = {"processes": {name: {"timeout": 2} for name in beside or {}}}
        (folder / "launch.json").write_text(json.dumps(times))
        return Desired("api", "b", "s", "c", "", {}, "", "", manager="supervisor")

    def program(self, folder: Path, name: str, script: str, once: bool = False) -> str:
        start = folder / f"run{name}"
        start.write_text(f"#!/bin/sh\n{script}\n")
        start.chmod(0o755)
        own = f"api.{name}@%i" if name else "api@%i"
        again = "false" if once else "true"
        return (
            f"[program:{own}]\ncommand={start}\nautostart={again}\nautorestart={again}\nstartsecs={0 if once else 1}\n"
            f"startretries={0 if once else 1000}\nstopwaitsecs=3\nkillasgroup=true\nredirect_stderr=true\n"
            f"stdout_logfile={self.places.logs}/api/{own}.log\n"
        )

    def word(self, process: Process = SERVER) -> str:
        return self.manager.states([process])[process].word

    def pid(self, process: Process = SERVER) -> int:
        return self.manager.states([process])[process].pid


@pytest.fixture
def host() -> Iterator[Host]:
    folder = Path("/tmp", f"wsgi-supervisor-{os.getpid()}-{time.monotonic_ns()}")  # sockets' paths are short
    folder.mkdir()
    made = Host(folder)
    made.boot()
    yield made
    made.pull_the_plug()
    shutil.rmtree(folder)


def test_a_release_on_trial_is_not_started_at_boot_and_one_in_service_is(host: Host) -> None:
    host.release("1")
    host.manager.start(SERVER)
    wait_for(lambda: host.manager.states([SERVER])[SERVER].runs)
    state = host.manager.states([SERVER])[SERVER]
    assert state.defects == ("api@1 would not start at boot",)
    host.shut_down()
    shutil.rmtree(host.places.trial)  # as /run is empty after a boot
    host.boot()
    assert host.word() == "not known to supervisord"
    host.manager.start(SERVER)
    host.manager.enable(SERVER)
    assert not host.manager.states([SERVER])[SERVER].defects
    host.shut_down()
    host.boot()
    wait_for(lambda: host.manager.states([SERVER])[SERVER].runs)


def test_a_second_release_leaves_the_first_and_other_programs_alone(host: Host) -> None:
    host.release("1")
    host.release("2")
    host.manager.start(SERVER)
    other = host.places.programs / "other.conf"
    other.write_text("[program:other]\ncommand=/bin/sleep 600\n")
    subprocess.run([str(Path(sys.executable).with_name("supervisorctl")), "-s", f"unix://{host.folder}/sock", "update"])
    other.write_text("[program:other]\ncommand=/bin/sleep 601\n")  # somebody's change, not yet in force
    wait_for(lambda: host.supervisord.processes()["other"]["pid"] > 0)
    before = host.pid(), host.supervisord.processes()["other"]["pid"]
    host.manager.start(Process("api", "2"))
    host.manager.enable(Process("api", "2"))
    assert (host.pid(), host.supervisord.processes()["other"]["pid"]) == before
    host.manager.stop(SERVER)
    host.manager.forget("api", "1")
    assert set(host.supervisord.processes()) == {"api@2", "other"}
    assert sorted(os.listdir(host.places.programs)) == ["api@2.conf", "other.conf"]


@pytest.mark.parametrize("script", ["exit 3", "sleep 1.3; exit 3"])
def test_a_program_that_ends_is_broken_at_once_and_its_log_tells_why(host: Host, script: str) -> None:
    host.release("1", server=f"echo the reason\n{script}")
    host.manager.start(SERVER)
    wait_for(lambda: host.manager.states([SERVER])[SERVER].broken)
    log = host.manager.log(SERVER, 100)
    assert log.text.splitlines()[0] == "the reason"
    assert "supervisord: exited: api@1 (exit status 3; not expected)" in log.text
    assert log.command == f"tail -n 200 {host.places.logs}/api/api@1.log"


def test_a_hook_is_waited_for_and_leaves_its_log_alone_behind(host: Host) -> None:
    host.release("1", {"before-activate": (HOOK, "sleep 0.3; echo migrated"), "after-activate": (HOOK, "exit 4")})
    before, after = Process("api", "1", "before-activate", HOOK), Process("api", "1", "after-activate", HOOK)
    host.manager.start(before)
    assert host.manager.log(before, 10).text.startswith("migrated")
    with pytest.raises(ManagerError, match=r"^api.after-activate@1 exited with an error$"):
        host.manager.start(after)
    assert host.supervisord.processes() == {}
    assert os.listdir(host.places.programs) == []


def test_a_hook_that_ends_before_supervisord_has_answered_failed_like_any_other(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.release("1", {"after-activate": (HOOK, "exit 4")})
    call = Supervisord._call

    def busy(supervisord: Supervisord, method: str, *arguments: object) -> Any:
        answer = call(supervisord, method, *arguments)
        if method == "startProcess":
            raise SupervisordError(f"SPAWN_ERROR: {arguments[0]}", 50)
        return answer

    monkeypatch.setattr(Supervisord, "_call", busy)
    with pytest.raises(ManagerError, match=r"^api.after-activate@1 exited with an error$"):
        host.manager.start(Process("api", "1", "after-activate", HOOK))


def test_a_hook_that_takes_too_long_is_ended_with_all_that_it_started(host: Host) -> None:
    host.release("1", {"before-activate": (HOOK, "trap '' TERM; sleep 600 & sleep 600")})
    with pytest.raises(ManagerError, match="took longer to start than its settings allow"):
        host.manager.start(Process("api", "1", "before-activate", HOOK))
    assert str(host.folder) not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout.replace(
        f"-c {host.folder}/supervisord.conf", ""
    )


def test_a_hook_that_a_killed_run_has_left_is_stopped_whichever_release_it_is_of(host: Host) -> None:
    host.release("1", {"before-activate": (HOOK, WORKS)})
    hook = Process("api", "1", "before-activate", HOOK)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(SupervisorManager, "_see_through", lambda *_: None)  # the run ends here
        host.manager.start(hook)
    wait_for(lambda: host.pid(hook) > 0)
    host.manager.stop(Process("api", EVERY, "before-activate", HOOK))
    assert host.manager.states([hook])[hook].gone


def test_what_does_not_end_by_itself_is_killed(host: Host) -> None:
    host.release("1", server="trap '' TERM\necho ready\nwhile :; do sleep 1; done")
    host.manager.start(SERVER)
    wait_for(lambda: "ready" in host.manager.log(SERVER, 1).text)
    began = time.monotonic()
    host.manager.stop(SERVER)
    assert time.monotonic() - began > 2.5, "it has not had its time"
    assert host.manager.states([SERVER])[SERVER].gone


def test_changed_files_are_written_again_and_what_is_not_running_is_told(host: Host) -> None:
    wanted = host.release("1", {"w": (WORKER, WORKS)})
    worker = Process("api", "1", "w", WORKER)
    host.manager.start(SERVER, worker)
    for process in (SERVER, worker):
        host.manager.enable(process)
    assert host.manager.drift(wanted, "1") == []
    file = host.places.programs / "api.w@1.conf"
    file.write_text("[program:api.w@1]\ncommand=/bin/true\n")
    assert host.manager.drift(wanted, "1") == [f"{file} differs"]
    host.manager.install(wanted, "1")
    assert host.manager.drift(wanted, "1") == []
    os.kill(host.pid(), signal.SIGKILL)
    wait_for(lambda: "terminated by SIGKILL" in host.manager.log(SERVER, 10).text)


def test_removing_an_app_leaves_nothing_of_it(host: Host) -> None:
    host.release("1", {"w": (WORKER, WORKS)})
    host.manager.start(SERVER, Process("api", "1", "w", WORKER))
    host.manager.enable(SERVER)
    assert host.manager.known("api") == {"1": [SERVER, Process("api", "1", "w", WORKER)]}
    note = host.paths.run / "api" / ".api@1.started"
    note.write_text('{"count": 1}')
    host.manager.remove("api")
    assert not note.exists()
    assert (host.supervisord.processes(), host.manager.known("api")) == ({}, {})
    assert not list(host.places.programs.iterdir()) + list(host.places.logs.iterdir())


def test_a_file_of_somebody_else_that_is_wrong_is_named(host: Host) -> None:
    host.release("1")
    (host.places.programs / "other.conf").write_text("[program:other]\nautostart=maybe\n")
    with pytest.raises(SupervisordError, match="supervisord cannot read its configuration"):
        host.manager.start(SERVER)


def test_without_supervisord_a_look_says_so_and_nothing_else_fails(host: Host) -> None:
    host.release("1")
    host.manager.start(SERVER)
    host.shut_down()
    state = host.manager.states([SERVER])[SERVER]
    assert (state.runs, state.gone) == (False, False)
    assert "supervisord does not answer" in state.word
    assert host.manager.known("api") == {"1": [SERVER]}
    host.manager.forget("api", "1")
    assert host.manager.known("api") == {}
    host.manager.stop(Process("api", EVERY, "before-activate", HOOK))  # as for an app of systemd's, on most hosts
    with pytest.raises(AbsentError):
        host.manager.stop(SERVER)
    with pytest.raises(AbsentError):
        host.supervisord.read_configuration()


def test_logs_of_a_release_that_is_deleted_go_with_it(host: Host) -> None:
    for name in ("api@1.log", "api@1.log.1", "api.w@1.log", "api@11.log"):
        (host.places.logs / "api" / name).touch()
    host.manager.discard("api", "1")
    assert os.listdir(host.places.logs / "api") == ["api@11.log"]


def test_nothing_a_log_holds_hides_a_message(host: Host) -> None:
    path = host.places.logs / "api" / "api@1.log"
    path.write_bytes(b"caf\xe9\n" + b"x" * 10**6 + b"\nthe reason\n")
    text: Any = host.manager.log(SERVER, 3).text
    assert text.splitlines()[-1] == "the reason"
    assert len(text) < 2000
