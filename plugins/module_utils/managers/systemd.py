# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The few words of systemctl that are needed, and the format of its environment files."""

from __future__ import annotations

import math
import re
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ansible_collections.webops.wsgi.plugins.module_utils.managers.model import ManagerError, readable

PROPERTIES = (
    "Id",
    "LoadState",
    "ActiveState",
    "SubState",
    "NRestarts",
    "NeedDaemonReload",
    "MainPID",
    "MemoryCurrent",
    "MemoryMax",
    "ActiveEnterTimestamp",
    "ActiveEnterTimestampMonotonic",
)
LEEWAY = 10.0  # seconds beyond a unit's time limit, for systemd itself on a busy host
# Units of time spans as systemctl prints them, see systemd.time(7); those above hours are not used for limits here.
SPANS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
PATIENCE = 3.0  # seconds that a unit which nobody waits for may take to end
COMMAND_TIMEOUT = 4000  # seconds; longer than any time limit a unit may have here (an hour, for hooks)


class SystemdError(ManagerError):
    """systemctl refused; the message is what it said."""


class OverdueError(SystemdError):
    """It took too long; the message says what."""


@dataclass(frozen=True)
class UnitState:
    """What systemd says of a unit.

    Attributes:
        active: Its C(ActiveState).
        sub: Its C(SubState).
        restarts: How often systemd restarted it by itself.
        stale: Whether its files changed since systemd read them.
        load: Its C(LoadState), C(loaded) for a unit that systemd understands.
        up: Seconds since it was started last, by whomever; endless where that is not known.
        since: When that was, in systemd's words.
        pid: Its main process; 0 for none.
        memory: Bytes that it has; None where that is not known.
        memory_max: Bytes that it may have; None for any number.
    """

    active: str
    sub: str
    restarts: int
    stale: bool
    load: str = "loaded"
    up: float = math.inf
    since: str = ""
    pid: int = 0
    memory: int | None = None
    memory_max: int | None = None

    @property
    def runs(self) -> bool:
        """Whether the unit is up."""
        return self.active == "active"

    @property
    def gone(self) -> bool:
        """Whether nothing of the unit is left."""
        return self.active in ("inactive", "failed")

    @property
    def broken(self) -> bool:
        """Whether the unit has failed at least once since it was started."""
        return self.active == "failed" or self.sub == "auto-restart" or self.restarts > 0


class Systemd:
    """The system's service manager."""

    def states(self, units: Iterable[str]) -> dict[str, UnitState]:
        """The states of units, read in one call."""
        names = list(units)
        if not names:
            return {}
        text = self._systemctl("show", f"--property={','.join(PROPERTIES)}", *names)
        blocks = (dict(line.split("=", 1) for line in block.splitlines()) for block in text.strip().split("\n\n"))
        return {values["Id"]: _state(values) for values in blocks}

    def start(self, *units: str) -> None:
        """Start units and wait until they are ready; what runs already is left alone.

        Raises:
            SystemdError: One failed, or was not ready in the time that its own settings allow.
        """
        self._systemctl("reset-failed", *units, check=False)
        self._wait("start", *units, limit=self._limit(units, "TimeoutStartUSec"))

    def restart(self, unit: str) -> None:
        """Restart a unit and wait until it is ready; what :meth:`start` says goes for this too."""
        self.stop(unit)
        self.start(unit)

    def stop(self, *units: str) -> None:
        """Stop units and wait until they are gone; what is not in the time that its own settings allow is killed."""
        try:
            self._wait("stop", *units, limit=self._limit(units, "TimeoutStopUSec"))
        except OverdueError:
            self._systemctl("kill", "--signal=SIGKILL", *units, check=False)
            self._wait("stop", *units, limit=LEEWAY)
        self._systemctl("reset-failed", *units, check=False)

    def _wait(self, verb: str, *units: str, limit: float) -> None:
        """Start or stop units; a program may ask systemd for more time again and again, and is not waited for then."""
        try:
            _run(["systemctl", verb, *units], timeout=limit)
        except OverdueError:
            message = f"{', '.join(units)} took longer to {verb} than its settings allow ({limit - LEEWAY:g} s)"
            raise OverdueError(message) from None

    def _limit(self, units: Iterable[str], name: str) -> float:
        """Seconds within which all of the units are to be ready, or gone, by their settings."""
        text = self._systemctl("show", "--value", f"--property={name}", *units)
        return max((_seconds(value) for value in text.split("\n") if value), default=0.0) + LEEWAY

    def end(self, *units: str) -> None:
        """Stop units that nobody waits for, and wait until they are gone: what does not go by itself is killed."""
        self._systemctl("stop", "--no-block", *units)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and not all(state.gone for state in self.states(units).values()):
            time.sleep(0.1)
        self._systemctl("kill", "--signal=SIGKILL", *units, check=False)
        self.stop(*units)

    def reload(self) -> None:
        """Make systemd read its unit files again."""
        self._systemctl("daemon-reload")

    def create_users(self, declarations: Iterable[str], root: str = "/") -> None:
        """Make the users that lines of sysusers.d(5) declare, below another top of the file system if one is given."""
        _run(["systemd-sysusers", f"--root={root}", "--inline", *declarations])

    def journal(self, unit: str, lines: int) -> str:
        """The last lines that a unit wrote; whatever is wrong with them, a message that wants them is not lost."""
        command = ["journalctl", "--unit", unit, "--lines", str(lines), "--output", "cat", "--no-pager"]
        try:
            text = _run(command, check=False)
        except SystemdError as error:
            return f"(it cannot be read: {error})"
        return readable(text)

    def _systemctl(self, *arguments: str, check: bool = True) -> str:
        return _run(["systemctl", *arguments], check)


def create_runtime_files(configuration: str) -> None:
    """Carry out a tmpfiles.d file now, as it is at boot."""
    _run(["systemd-tmpfiles", "--create", configuration])


def _run(command: list[str], check: bool = True, timeout: float | None = None) -> str:
    limit = timeout or COMMAND_TIMEOUT
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=limit, text=True, errors="replace")
    except FileNotFoundError:
        raise SystemdError(f"{command[0]} does not exist on this host, which must run systemd") from None
    except subprocess.TimeoutExpired:
        raise OverdueError(f"{' '.join(command)} did not end within {limit:g} s") from None
    if check and done.returncode:
        raise SystemdError((done.stderr or done.stdout).strip())
    return done.stdout


def _seconds(span: str) -> float:
    """A time span as systemctl prints it, such as C(1min 30s), in seconds; what has no such limit gets the longest."""
    parts = re.findall(r"(\d+)([a-z]+)", span)
    if not parts or any(unit not in SPANS for _number, unit in parts):
        return float(COMMAND_TIMEOUT)
    return sum(int(number) * SPANS[unit] for number, unit in parts)


def _state(values: Mapping[str, str]) -> UnitState:
    return UnitState(
        active=values["ActiveState"],
        sub=values["SubState"],
        restarts=_number(values.get("NRestarts", "")) or 0,
        stale=values.get("NeedDaemonReload") == "yes",
        load=values.get("LoadState", "loaded"),
        up=_since(values.get("ActiveEnterTimestampMonotonic", "")),
        since=values.get("ActiveEnterTimestamp", ""),
        pid=_number(values.get("MainPID", "")) or 0,
        memory=_number(values.get("MemoryCurrent", "")),
        memory_max=_number(values.get("MemoryMax", "")),
    )


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() else None


def _since(microseconds: str) -> float:
    """Seconds since a moment on the monotonic clock; 0 is systemd's word for never."""
    moment = int(microseconds) / 1e6 if microseconds.isdigit() else 0
    return time.monotonic() - moment if moment else math.inf


def environment_file(variables: Mapping[str, str]) -> str:
    """The text of an C(EnvironmentFile), quoted so that every value arrives as it is.

    Within double quotes systemd gives a meaning to four characters alone, see systemd.exec(5).
    """
    lines = []
    for name, value in sorted(variables.items()):
        escaped = re.sub(r'([\\"$`])', r"\\\1", str(value))
        lines.append(f'{name}="{escaped}"\n')
    return "".join(lines)
