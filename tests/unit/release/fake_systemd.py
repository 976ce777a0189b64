# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases on a host: instances are real HTTP servers on real unix sockets, started by a stand-in for systemd.

The Molecule scenario has the real one.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import grp
import http.server
import os
import socketserver
import threading
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.host.files import replace_link
from ansible_collections.webops.wsgi.plugins.module_utils.managers.host import Managers
from ansible_collections.webops.wsgi.plugins.module_utils.managers.systemd import SystemdError, UnitState
from ansible_collections.webops.wsgi.plugins.module_utils.managers.units import SystemdManager
from ansible_collections.webops.wsgi.plugins.module_utils.release import health, layout
from ansible_collections.webops.wsgi.plugins.module_utils.release import plan as release
from ansible_collections.webops.wsgi.plugins.module_utils.release import run as release_run

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
    """Starts an HTTP server for each instance; it answers as the release's configuration says, or is ``silent``.

    Units beside the server only are up or not. Those whose text is ``fails`` refuse to start; those whose text is
    ``ends`` have ended when they are looked at.
    """

    def __init__(self, paths: layout.Paths) -> None:
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
        return layout.read_text(self.paths.units / unit) or ""

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
        if behaviour == "silent":
            self.up.add(unit)
            return
        socket = self.paths.socket(app, number)
        socket.parent.mkdir(exist_ok=True)
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

    @property
    def manager(self) -> Managers:
        """The host's managers, with this in the place of systemd."""
        return Managers(self.paths, {layout.DEFAULT_MANAGER: SystemdManager(self.paths, self)})  # type: ignore[arg-type]

    def create_runtime_files(self, configuration: str) -> None:
        folder = self.paths.run / APP
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o711)
        replace_link(self.paths.current_socket(APP), str(self.paths.current(APP) / "socket"))

    def journal(self, unit: str, lines: int) -> str:
        return f"journal of {unit}"


def configure(paths: layout.Paths, behaviour: str) -> None:
    folder = paths.config / APP
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "start").write_text("#!/bin/sh\n")
    (folder / "behaviour").write_text(behaviour)


def desired(**changes: Any) -> release.Desired:
    check = health.Health(statuses=("200",), timeout=0.3, interval=0.01)
    files = {f"{APP}@.service": "unit", f"{APP}.target": "target"}
    base = release.Desired(
        APP,
        "b1",
        "source 1",
        "c1",
        "settings",
        files,
        "runtime",
        'A="1"\n',
        health=check,
        settle=0,
        look_after=0,
        drain=0,
        keep=2,
    )
    return dataclasses.replace(base, **changes)


def run(paths: layout.Paths, systemd: FakeSystemd, wanted: release.Desired) -> tuple[release.Step, list[str]]:
    (paths.root / APP / "builds" / wanted.build).mkdir(exist_ok=True)
    (step,) = release.plan(paths, [wanted], systemd.manager)
    return step, release_run.carry_out(paths, [step], systemd.manager, 1)


def serving(paths: layout.Paths) -> str:
    """The release that answers where nginx asks."""
    connection = health.UnixConnection(paths.run / APP / "current.sock", 1)
    connection.request("GET", "/")
    answer = connection.getresponse()
    assert answer.status == 200
    return answer.read().decode()


def at_boot(paths: layout.Paths) -> set[str]:
    """The releases of which something starts at boot."""
    links = paths.wants(APP).iterdir()
    return {link.name.partition("@")[2].partition(".")[0] for link in links}


def roll_back(paths: layout.Paths, systemd: FakeSystemd, target: str = release.PREVIOUS) -> list[str]:
    steps = release.plan_rollback(
        paths, [desired(build="", source="", config="", settings="of the inventory")], {APP: target}
    )
    return release_run.carry_out(paths, steps, systemd.manager, 1, "me@here")


def unit(name: str, kind: str, text: str = "works") -> layout.Part:
    """A unit beside the server."""
    suffix = "timer" if kind == "timer" else "service"
    return layout.Part(f"{APP}.{name}@.{suffix}", kind, text)


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
