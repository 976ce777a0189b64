# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What releases ask of a process manager, and nothing that only one of them knows."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ansible_collections.webops.wsgi.plugins.module_utils.release.plan import Desired

SUPERVISOR = "supervisor"  # the manager that is not the default one

SERVER, WORKER, TIMER, JOB, HOOK = "server", "worker", "timer", "job", "hook"
LISTENER = "listener"  # holds an address for an app, whichever release serves
PROXY = "proxy"
EVERY = "*"  # stands for each release in a process that is to be stopped

ACCIDENTS = 2  # restarts that may happen to anybody, such as by a person or for want of memory
STABLE = 60.0  # seconds: the longest pause between two restarts, see release_restart_max_sec
LINE_LENGTH = 1000  # characters of a line of a log; what is longer is no message to a person


class ManagerError(Exception):
    """A process manager refused, or a process failed to start; the message is what it said."""


@dataclass(frozen=True)
class Process:
    """A process of an app.

    Attributes:
        app: The app.
        number: Its release; empty for what belongs to none.
        name: Which of the release's processes; empty for its server.
        kind: What it is for; C(job) is what a C(timer) starts, and ends by itself as a C(hook) does.
    """

    app: str
    number: str = ""
    name: str = ""
    kind: str = SERVER

    @property
    def title(self) -> str:
        """What its manager calls it but for a suffix, such as C(api@5) or C(api.celery@5)."""
        return f"{self.app}{f'.{self.name}' if self.name else ''}@{self.number}"


NGINX = Process("nginx", kind=PROXY)


@dataclass(frozen=True)
class State:
    """What its manager says of a process.

    Attributes:
        name: What the manager calls it.
        word: Its state in the manager's word.
        runs: Whether it is up; a timer is when it waits for its time.
        gone: Whether nothing of it is left.
        broken: Whether it has failed at least once since it was started.
        restarts: How often the manager restarted it by itself.
        up: Seconds since it was started last, by whomever; endless where that is not known.
        defects: What is not in order although it may run: a person reads these.
        refused: Why the manager cannot start it at all; empty when it can.
        since: When it was started, for a person.
        pid: Its first process; 0 where it has none.
        memory: Bytes that it has; None where that is not known.
        memory_max: Bytes that it may have; None for any number.
    """

    name: str
    word: str
    runs: bool
    gone: bool
    broken: bool
    restarts: int = 0
    up: float = math.inf
    defects: tuple[str, ...] = ()
    refused: str = ""
    since: str = ""
    pid: int = 0
    memory: int | None = None
    memory_max: int | None = None

    @property
    def unstable(self) -> bool:
        """Whether it is started again and again."""
        return self.restarts > ACCIDENTS and self.up < STABLE

    @property
    def restarted(self) -> str:
        """What a person is told of one that is not stable."""
        return f"{self.name} exited unexpectedly {self.restarts} times, the last time {self.up:.0f} s ago"


@dataclass(frozen=True)
class Log:
    """The last lines that a process wrote.

    Attributes:
        name: What its manager calls the process.
        text: The lines, without times.
        command: Shows a person the rest.
        own: Whether the process is the app's and not the proxy.
    """

    name: str
    text: str
    command: str
    own: bool = True


class Manager(Protocol):
    """A process manager, as releases see it."""

    def states(self, processes: Iterable[Process]) -> dict[Process, State]:
        """What it says of processes, read in one call."""
        ...

    def start(self, *processes: Process) -> None:
        """Start processes and wait for what says that it is ready, or as a hook for its end."""
        ...

    def restart(self, process: Process) -> None:
        """Start a process anew, which may run."""
        ...

    def stop(self, *processes: Process) -> None:
        """Stop processes and wait until they are gone; what is not in its time is killed."""
        ...

    def end(self, *processes: Process) -> None:
        """Stop processes that nobody waits for."""
        ...

    def enable(self, process: Process) -> None:
        """Have a process started at boot."""
        ...

    def log(self, process: Process, lines: int) -> Log:
        """The last lines that a process wrote; whatever is wrong with them, a message that wants them is not lost."""
        ...

    def listeners(self, desired: Desired) -> list[Process]:
        """What holds an address for the app."""
        ...

    def check(self, desired: Desired) -> None:
        """See that a release can be run, before anything of it is written.

        Raises:
            ManagerError: It cannot.
        """
        ...

    def install(self, desired: Desired, number: str) -> None:
        """Write what the manager reads of an app and of one of its releases."""
        ...

    def drift(self, desired: Desired, number: str) -> list[str]:
        """What is not as :meth:`install` would write it."""
        ...

    def known(self, app: str) -> dict[str, list[Process]]:
        """The releases that it has anything of, and what may run of each but for jobs, which end by themselves."""
        ...

    def forget(self, app: str, number: str) -> None:
        """Remove what the manager has of a release that is stopped."""
        ...

    def discard(self, app: str, number: str) -> None:
        """Remove what is kept of a release for a person to read."""
        ...

    def reload(self) -> None:
        """Make the manager read what was written or removed."""
        ...

    def complete(self, apps: Iterable[str]) -> None:
        """Put the apps in order after their old releases are gone."""
        ...

    def withdraw(self, app: str) -> None:
        """Remove what the manager has of an app that another one runs now, as far as no release needs it."""
        ...

    def files(self, app: str) -> list[Path]:
        """What the manager may have of an app that belongs to no release."""
        ...

    def remove(self, app: str) -> None:
        """Stop everything of an app and remove what the manager has of it."""
        ...


def readable(text: str) -> str:
    """Lines of a log without what no person reads."""
    lines = text.split("\n")
    return "\n".join(f"{line[:LINE_LENGTH]} …" if len(line) > LINE_LENGTH else line for line in lines).strip()
