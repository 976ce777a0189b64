# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Supervisor as a process manager of releases: each process is a program with a file of its own.

While a release is on trial, that file is a link into C(/run), so that a boot starts nothing of it; once it serves, the
file is there itself. ``supervisorctl update`` is never needed, which would restart what others have changed.
"""

from __future__ import annotations

import datetime
import json
import math
import os
import re
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.webops.wsgi.plugins.module_utils.host.files import remove_tree, replace_link, write_file
from ansible_collections.webops.wsgi.plugins.module_utils.host.processes import family, proportional
from ansible_collections.webops.wsgi.plugins.module_utils.managers.model import (
    EVERY,
    HOOK,
    WORKER,
    Log,
    ManagerError,
    Process,
    State,
    readable,
)
from ansible_collections.webops.wsgi.plugins.module_utils.managers.supervisord import AbsentError, Supervisord
from ansible_collections.webops.wsgi.plugins.module_utils.release.layout import (
    LAUNCH,
    SETTINGS,
    Paths,
    lasting,
    names_in,
    parts,
    read_text,
)

if TYPE_CHECKING:
    from ansible_collections.webops.wsgi.plugins.module_utils.release.plan import Desired

UP = ("RUNNING", "STARTING")  # whether it is ready is seen on its socket
GONE = ("STOPPED", "EXITED", "FATAL")
FAILED = ("BACKOFF", "EXITED", "FATAL")
LEEWAY = 10.0  # seconds beyond a program's time limit, for supervisord itself on a busy host
PATIENCE = 3.0  # seconds that a program which nobody waits for may take to end
LOOK = 0.1  # seconds between two looks
LOG_BYTES = 500_000  # of the end of a log, to look for a cause in
ENDING = re.compile(r"(exited: \S+ \(.*\))$")  # what supervisord says of a program that ended


@dataclass(frozen=True)
class Places:
    """Where things of Supervisor lie; tests point them elsewhere."""

    programs: Path = Path("/etc/supervisor/conf.d")
    trial: Path = Path("/run/wsgi-supervisor")
    logs: Path = Path("/var/log/wsgi")
    own_log: Path = Path("/var/log/supervisor/supervisord.log")
    at_boot: Path = Path("/etc/systemd/system/multi-user.target.wants/supervisor.service")


class SupervisorManager:
    """Runs each process of a release as a program of its own."""

    def __init__(self, paths: Paths, places: Places | None = None, supervisord: Supervisord | None = None) -> None:
        self._paths = paths
        self._places = places or Places()
        self._supervisord = supervisord or Supervisord()

    def states(self, processes: Iterable[Process]) -> dict[Process, State]:
        wanted = list(processes)
        if not wanted:
            return {}
        try:
            infos = self._supervisord.processes()
        except AbsentError as error:
            return {process: _unknown(process, str(error)) for process in wanted}
        return {process: self._state(process, infos.get(process.title)) for process in wanted}

    def _state(self, process: Process, info: Mapping[str, Any] | None) -> State:
        word = str(info["statename"]) if info else "not known to supervisord"
        restarts = max(self._starts(process) - 1, 0)
        runs = word in UP
        file = self._file(process)
        boots = file.is_file() and not file.is_symlink()
        return State(
            name=process.title,
            word=word.lower() if info else word,
            runs=runs,
            gone=not info or word in GONE,
            broken=bool(info) and (word in FAILED or restarts > 0),
            restarts=restarts,
            up=time.time() - info["start"] if info and runs else math.inf,
            defects=() if boots else (f"{process.title} would not start at boot",),
            since=_moment(info["start"]) if info and runs else "",
            pid=int(info["pid"]) if info else 0,
            memory=sum(map(proportional, family(info["pid"]))) or None if info and info["pid"] else None,
        )

    def start(self, *processes: Process) -> None:
        infos = self._supervisord.processes()
        for process in processes:
            if infos.get(process.title, {}).get("statename") not in UP:
                self._record(process).unlink(missing_ok=True)
            if not self._file(process).is_file():
                self._put_on_trial(process)
        self._supervisord.read_configuration()
        for process in processes:
            self._supervisord.add(process.title)
            self._supervisord.start(process.title)
        for process in processes:
            if process.kind == HOOK:
                self._see_through(process)

    def _put_on_trial(self, process: Process) -> None:
        place = self._places.trial / f"{process.title}.conf"
        self._places.trial.mkdir(mode=0o700, exist_ok=True)
        write_file(place, self._text(process), 0o600)
        replace_link(self._file(process), str(place))

    def _see_through(self, hook: Process) -> None:
        """Wait until a hook has ended, which leaves nothing behind but its log."""
        limit = float(self._settings(hook)["timeout"])
        try:
            info = self._wait([hook.title], limit)[hook.title]
            if info["statename"] != "EXITED" or info["exitstatus"]:
                raise ManagerError(f"{hook.title} exited with an error")
        except _LateError:
            self.end(hook)
            raise ManagerError(f"{hook.title} took longer to start than its settings allow ({limit:g} s)") from None
        finally:
            self._drop(hook)

    def restart(self, process: Process) -> None:
        self.stop(process)
        self._supervisord.remove(process.title)  # it is to read its file again
        self.start(process)

    def stop(self, *processes: Process) -> None:
        if not (names := self._named(processes)):
            return
        for name in names:
            self._supervisord.tell_to_stop(name)
        limit = max((self._patience(name) for name in names), default=0.0)
        try:
            self._wait(names, limit + LEEWAY)
        except _LateError as error:
            raise ManagerError(f"{error} took longer to stop than its settings allow ({limit:g} s)") from None

    def end(self, *processes: Process) -> None:
        if not (names := self._named(processes)):
            return
        for name in names:
            self._supervisord.tell_to_stop(name)
        with suppress(_LateError):
            self._wait(names, PATIENCE)
        for name, info in self._supervisord.processes().items():
            if name in names and info["pid"]:
                with suppress(ProcessLookupError):
                    os.killpg(info["pid"], signal.SIGKILL)
        self.stop(*processes)

    def _named(self, processes: Sequence[Process]) -> list[str]:
        """The programs that are meant, of those that supervisord has."""
        try:
            infos = self._supervisord.processes()
        except AbsentError:
            if all(process.number == EVERY for process in processes):  # most hosts have no supervisord, and so none
                return []
            raise
        patterns = [process.title for process in processes]
        return [name for name in infos if any(fnmatchcase(name, pattern) for pattern in patterns)]

    def _wait(self, names: Iterable[str], limit: float) -> dict[str, Mapping[str, Any]]:
        """Wait until programs are gone; returns what supervisord says of them then."""
        wanted, deadline = set(names), time.monotonic() + limit
        while True:
            infos = {name: info for name, info in self._supervisord.processes().items() if name in wanted}
            left = sorted(name for name, info in infos.items() if info["statename"] not in GONE)
            if not left:
                return infos
            if time.monotonic() > deadline:
                raise _LateError(", ".join(left))
            time.sleep(LOOK)

    def _patience(self, name: str) -> float:
        """Seconds that a program gets to stop."""
        found = re.search(
            r"^stopwaitsecs=(\d+)$", read_text(self._places.programs / f"{name}.conf") or "", re.MULTILINE
        )
        return float(found[1]) if found else LEEWAY

    def enable(self, process: Process) -> None:
        file = self._file(process)
        if file.is_symlink() or not file.exists():
            write_file(file, self._text(process), 0o600)
            (self._places.trial / file.name).unlink(missing_ok=True)

    def log(self, process: Process, lines: int) -> Log:
        path = self._log_file(process)
        try:
            text = _end_of(path) + self._endings(process)
        except OSError as error:
            text = f"(it cannot be read: {error})"
        last = "\n".join(text.splitlines()[-lines:])
        return Log(process.title, readable(last), f"tail -n 200 {path}")

    def _endings(self, process: Process) -> str:
        """What supervisord said when the process ended."""
        found = []
        with suppress(OSError):
            for line in _end_of(self._places.own_log).splitlines():
                ending = ENDING.search(line)
                if ending and f": {process.title} (" in line:
                    found.append(f"supervisord: {ending[1]}\n")
        return "".join(found)

    def listeners(self, _desired: Desired) -> list[Process]:
        return []

    def check(self, _desired: Desired) -> None:
        """See that supervisord runs."""
        self._supervisord.ensure()

    def install(self, desired: Desired, number: str) -> None:
        self._supervisord.ensure()
        folder = self._places.logs / desired.name
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        folder.chmod(0o750)  # what an app says is not for the others
        for process in self._changed(desired, number):
            write_file(self._file(process), self._text(process), 0o600)

    def drift(self, desired: Desired, number: str) -> list[str]:
        found = [f"{self._file(process)} differs" for process in self._changed(desired, number)]
        return found + ([] if self._places.at_boot.is_symlink() else ["supervisor.service would not start at boot"])

    def _changed(self, desired: Desired, number: str) -> list[Process]:
        """The processes whose files somebody has changed."""
        return [
            process
            for process in lasting(self._paths, desired.name, number)
            if self._file(process).is_file() and read_text(self._file(process)) != self._text(process)
        ]

    def known(self, app: str) -> dict[str, list[Process]]:
        form = re.compile(rf"\.?{re.escape(app)}(?:\.([a-z0-9.-]+))?@(\d+)(?:\.conf)?(?:\.partial)?")
        names = {*names_in(self._places.programs)}
        with suppress(AbsentError):
            names |= {*self._supervisord.processes()}
        found: dict[str, set[Process]] = {}
        for match in filter(None, map(form.fullmatch, names)):
            process = Process(app, match[2], match[1], WORKER) if match[1] else Process(app, match[2])
            found.setdefault(match[2], set()).add(process)
        return {number: sorted(processes, key=lambda process: process.name) for number, processes in found.items()}

    def forget(self, app: str, number: str) -> None:
        for process in self.known(app).get(number, []):
            self._drop(process)

    def _drop(self, process: Process) -> None:
        """Have nothing of a process but its log."""
        name = process.title
        with suppress(AbsentError):
            while not self._supervisord.remove(name):
                self._supervisord.tell_to_stop(name)
                self._wait([name], self._patience(name) + LEEWAY)
        for path in (self._places.programs / f"{name}.conf", self._places.trial / f"{name}.conf"):
            path.unlink(missing_ok=True)
        (self._places.programs / f".{name}.conf.partial").unlink(missing_ok=True)
        self._record(process).unlink(missing_ok=True)

    def discard(self, app: str, number: str) -> None:
        folder = self._places.logs / app
        for name in names_in(folder):
            if re.fullmatch(rf"{re.escape(app)}(\..+)?@{number}\.log(\.\d+)?", name):
                (folder / name).unlink(missing_ok=True)

    def reload(self) -> None:
        """Nothing: it reads its files when a program is started."""

    def complete(self, apps: Iterable[str]) -> None:
        """Nothing: each program is by itself."""

    def withdraw(self, app: str) -> None:
        """Nothing: it has no files of an app but those of its releases."""

    def files(self, _app: str) -> list[Path]:
        return []

    def remove(self, app: str) -> None:
        known = self.known(app)
        if known:
            self._supervisord.ensure()
        for number, processes in known.items():
            self.stop(*processes)
            self.forget(app, number)
        remove_tree(self._places.logs / app)

    def _file(self, process: Process) -> Path:
        return self._places.programs / f"{process.title}.conf"

    def _log_file(self, process: Process) -> Path:
        return self._places.logs / process.app / f"{process.title}.log"

    def _text(self, process: Process) -> str:
        """What supervisord reads of a process, as its release has it."""
        app, number = process.app, process.number
        text = read_text(self._paths.release(app, number) / SETTINGS)
        if process.name:
            own = [part.text for part in parts(self._paths, app, number) if part.name == f"{app}.{process.name}@.conf"]
            text = own[0] if own else None
        if text is None:
            raise ManagerError(f"{process.title} has no file in {self._paths.release(app, number)}; run again")
        return text.replace("%i", number)

    def _settings(self, process: Process) -> Mapping[str, Any]:
        text = (self._paths.release(process.app, process.number) / LAUNCH).with_suffix(".json").read_text()
        found: Mapping[str, Any] = json.loads(text)["processes"][process.name]
        return found

    def _record(self, process: Process) -> Path:
        """Where a process notes that it was started."""
        return self._paths.run / process.app / f".{process.title}.started"

    def _starts(self, process: Process) -> int:
        """How often it was started since a run did that."""
        try:
            return int(json.loads(self._record(process).read_text())["count"])
        except (OSError, ValueError, KeyError):
            return 0


class _LateError(Exception):
    """Programs are not gone in time; the message names them."""


def _unknown(process: Process, reason: str) -> State:
    return State(process.title, f"unknown: {reason}", runs=False, gone=False, broken=False)


def _moment(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%a %Y-%m-%d %H:%M:%S UTC")


def _end_of(path: Path) -> str:
    """The last lines of a log, and before them those of the one that was rotated away."""
    text = b""
    for place in (path.with_name(f"{path.name}.1"), path):
        with suppress(FileNotFoundError), place.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - LOG_BYTES))
            text += stream.read()
    return text[-LOG_BYTES:].decode(errors="replace")
