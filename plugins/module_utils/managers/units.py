# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""systemd as a process manager of releases: processes as units, their files, links for the next boot."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ansible_collections.webops.wsgi.plugins.module_utils.host.files import remove_tree, replace_link, write_file
from ansible_collections.webops.wsgi.plugins.module_utils.managers.model import (
    LISTENER,
    PROXY,
    TIMER,
    WORKER,
    Log,
    ManagerError,
    Process,
    State,
)
from ansible_collections.webops.wsgi.plugins.module_utils.managers.systemd import Systemd, UnitState
from ansible_collections.webops.wsgi.plugins.module_utils.release import upgrade
from ansible_collections.webops.wsgi.plugins.module_utils.release.layout import (
    SETTINGS,
    Paths,
    names_in,
    parts,
    read_text,
)

if TYPE_CHECKING:
    from ansible_collections.webops.wsgi.plugins.module_utils.release.plan import Desired

LISTEN = "listen"


def unit_of(process: Process) -> str:
    """The unit that a process is in."""
    if process.kind == PROXY:
        return f"{process.app}.service"
    if process.kind == LISTENER:
        return f"{process.app}.{process.name}.socket"
    return f"{process.title}.{'timer' if process.kind == TIMER else 'service'}"


class SystemdManager:
    """Runs each process of a release in a unit of its own."""

    def __init__(self, paths: Paths, systemd: Systemd | None = None) -> None:
        self._paths = paths
        self._systemd = systemd or Systemd()

    def states(self, processes: Iterable[Process]) -> dict[Process, State]:
        """The states of their units, read in one call."""
        units = {process: unit_of(process) for process in processes}
        found = self._systemd.states(list(units.values())) if units else {}
        return {process: self._state(process, unit, found[unit]) for process, unit in units.items()}

    def _state(self, process: Process, unit: str, found: UnitState) -> State:
        defects = [f"systemd has not read the files of {unit}"] if found.stale else []
        if not (self._paths.wants(process.app) / unit).is_symlink():
            defects.append(f"{unit} would not start at boot")
        why = f"systemd rejects {unit} ({found.load}); systemd-analyze verify {unit} says why"
        return State(
            name=unit,
            word=found.active,
            runs=found.runs,
            gone=found.gone,
            broken=found.broken,
            restarts=found.restarts,
            up=found.up,
            defects=tuple(defects),
            refused="" if found.load == "loaded" else why,
            since=found.since,
            pid=found.pid,
            memory=found.memory,
            memory_max=found.memory_max,
        )

    def start(self, *processes: Process) -> None:
        self._systemd.start(*map(unit_of, processes))

    def restart(self, process: Process) -> None:
        self._systemd.restart(unit_of(process))

    def stop(self, *processes: Process) -> None:
        self._systemd.stop(*map(unit_of, processes))

    def end(self, *processes: Process) -> None:
        self._systemd.end(*map(unit_of, processes))

    def enable(self, process: Process) -> None:
        unit = unit_of(process)
        name, _at, rest = unit.partition("@")
        file = unit if (self._paths.units / unit).exists() else f"{name}@.{rest.rpartition('.')[2]}"
        replace_link(self._paths.wants(process.app) / unit, f"../{file}")

    def log(self, process: Process, lines: int) -> Log:
        unit = unit_of(process)
        command = f"journalctl -u {unit.removesuffix('.service')} -n 200"
        return Log(unit, self._systemd.journal(unit, lines), command, process.kind != PROXY)

    def listeners(self, desired: Desired) -> list[Process]:
        held = any(name.endswith(".socket") for name in desired.files)
        return [Process(desired.name, name=LISTEN, kind=LISTENER)] if held else []

    def check(self, desired: Desired) -> None:
        """See that a new address is free while the app still has its old one."""
        listen = desired.listen
        held = read_text(self._paths.units / f"{desired.name}.listen.socket") or ""
        if not listen or f"ListenStream={listen}" in held.splitlines():
            return
        host, _colon, port = listen.rpartition(":")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            socket.create_server((host.strip("[]"), int(port)), family=family).close()
        except OSError as error:
            reason = f"listen is {listen}, which cannot be bound: {error.strerror}; choose another port"
            raise ManagerError(reason) from None

    def install(self, desired: Desired, number: str) -> None:
        app, files = desired.name, self._wanted(desired, number)
        changed = [path for path, text in files.items() if read_text(path) != text]
        for path in changed:
            write_file(path, files[path])
        unwanted = self._unwanted(desired)
        if unwanted or any(path.name == f"{app}.listen.socket" for path in changed):
            self._close_listener(app, unwanted)
        self._paths.wants(app).mkdir(exist_ok=True)
        wanted_by = self._paths.units / "multi-user.target.wants"
        wanted_by.mkdir(exist_ok=True)
        replace_link(wanted_by / f"{app}.target", f"../{app}.target")

    def _close_listener(self, app: str, unwanted: list[Path]) -> None:
        """Let go of an address that is about to change, or that the app has no longer."""
        names = [f"{app}.listen.socket", f"{app}.listen.service"]
        up = [unit for unit, state in self._systemd.states(names).items() if state.runs]
        if up:
            self._systemd.stop(*up)
        for path in unwanted:
            (self._paths.wants(app) / path.name).unlink(missing_ok=True)
            path.unlink()

    def drift(self, desired: Desired, number: str) -> list[str]:
        wanted = self._wanted(desired, number)
        return [
            *(f"{path} differs" for path, text in wanted.items() if read_text(path) != text),
            *(f"{path} is left over" for path in self._unwanted(desired)),
        ]

    def _wanted(self, desired: Desired, number: str) -> dict[Path, str]:
        """The files that an app and one of its releases need, with their text."""
        app, units = desired.name, self._paths.units
        kept = read_text(self._paths.release(app, number) / SETTINGS)
        return {
            **{units / name: text for name, text in desired.files.items()},
            **({} if kept is None else {self._paths.settings(app, number): upgrade.settings(app, kept)}),
            **{
                units / part.name.replace("@", f"@{number}", 1): upgrade.unit(part.text)
                for part in parts(self._paths, app, number)
            },
        }

    def _unwanted(self, desired: Desired) -> list[Path]:
        """Units of a listener that the app has no longer."""
        names = [f"{desired.name}.listen.socket", f"{desired.name}.listen.service"]
        return [
            self._paths.units / name
            for name in names
            if name not in desired.files and (self._paths.units / name).exists()
        ]

    def known(self, app: str) -> dict[str, list[Process]]:
        return {number: _traced(app, number, files) for number, files in self._traces(app).items()}

    def _traces(self, app: str) -> dict[str, list[Path]]:
        """What releases have among systemd's files, by release: units, drop-ins, and links for the next boot."""
        # Hidden names are files that a killed run was about to write.
        pattern = re.compile(rf"\.?{re.escape(app)}(?:\.[a-z0-9.-]+)?@(\d+)\.(?:service|timer)(?:\.d|\.partial)?")
        found: dict[str, list[Path]] = {}
        for folder in (self._paths.units, self._paths.wants(app)):
            for name in sorted(names_in(folder)):
                match = pattern.fullmatch(name)
                if match:
                    found.setdefault(match.group(1), []).append(folder / name)
        return found

    def forget(self, app: str, number: str) -> None:
        for path in self._traces(app).get(number, []):
            remove_tree(path)

    def discard(self, app: str, number: str) -> None:
        """Nothing: the journal has a life of its own."""

    def reload(self) -> None:
        self._systemd.reload()

    def complete(self, apps: Iterable[str]) -> None:
        # Only now do the targets no longer want the old instances, which starting them would start again.
        self._systemd.reload()
        self._systemd.start(*(f"{app}.target" for app in apps))

    def files(self, app: str) -> list[Path]:
        names = (f"{app}@.service", f"{app}.instance@.service", f"{app}.target", f"{app}.listen.socket")
        return [
            *(self._paths.units / name for name in (*names, f"{app}.listen.service")),
            self._paths.units / "multi-user.target.wants" / f"{app}.target",
        ]

    def remove(self, app: str) -> None:
        for pattern in (f"{app}.listen.*", f"{app}.*@*.timer", f"{app}.*@*.service", f"{app}@*.service"):
            self._systemd.stop(pattern)
        for number in self._traces(app):
            self.forget(app, number)
        self._remove_files(app)

    def withdraw(self, app: str) -> None:
        if self._traces(app) or not any(map(os.path.lexists, self.files(app))):
            return
        self._systemd.stop(f"{app}.listen.*")
        self._remove_files(app)

    def _remove_files(self, app: str) -> None:
        if (self._paths.units / f"{app}.target").exists():
            self._systemd.stop(f"{app}.target")
        remove_tree(self._paths.wants(app))
        for path in self.files(app):  # by which a run that is killed here is known
            path.unlink(missing_ok=True)
        self._systemd.reload()


def _traced(app: str, number: str, files: list[Path]) -> list[Process]:
    """The processes that one release's traces are of, without the jobs: those end by themselves."""
    units = {re.sub(r"^\.|\.d$|(\.d)?\.partial$", "", path.name) for path in files}
    jobs = {f"{unit.removesuffix('.timer')}.service" for unit in units if unit.endswith(".timer")}
    return [_process(app, number, unit) for unit in sorted(units - jobs)]


def _process(app: str, number: str, unit: str) -> Process:
    name, suffix = os.path.splitext(unit)
    name = name.removeprefix(app).removeprefix(".").partition("@")[0]
    return Process(app, number, name, TIMER if suffix == ".timer" else WORKER) if name else Process(app, number)
