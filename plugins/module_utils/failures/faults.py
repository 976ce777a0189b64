# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ended processes of an app: signals, time limits, want of memory; and what its sandbox refused."""

from __future__ import annotations

import re
import signal as signals
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ansible_collections.webops.wsgi.plugins.module_utils.failures import journal as failure_journal
from ansible_collections.webops.wsgi.plugins.module_utils.failures.remedies import remedy
from ansible_collections.webops.wsgi.plugins.module_utils.failures.server_log import ServerLog

# What a person, systemd or the server ends in good order is no fault.
_FATAL = ("SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGKILL", "SIGSEGV", "SIGSYS", "SIGTRAP", "SIGXCPU")
# A shell reports a signal that ended its command as 128 and its number.
_SHELL = {"132": "SIGILL", "134": "SIGABRT", "135": "SIGBUS", "137": "SIGKILL", "139": "SIGSEGV", "159": "SIGSYS"}

_NO_PLACE = re.compile(
    r"Failed to set up mount namespacing: (?:/run/systemd/(?:unit-root|mount-rootfs))?(?P<path>/\S+): No such file"
)
_OUT_OF_MEMORY = re.compile(r"killed by the OOM killer|Failed with result 'oom-kill'")
_KILLED = re.compile(r"Main process exited, code=(?:killed|dumped), status=\d+/(?P<signal>[A-Z]+)")
_SHELL_STATUS = re.compile(r"Main process exited, code=exited, status=(?P<status>\d+)/")
# What supervisord says of the same; of what it stopped itself it says something else.
_TERMINATED = re.compile(r"supervisord: exited: \S+ \(terminated by SIG(?P<signal>[A-Z]+)")
_EXIT_STATUS = re.compile(r"supervisord: exited: \S+ \(exit status (?P<status>\d+)")
_STOPPED_BY_SYSTEMD = re.compile(r"State '[a-z-]+' timed out|[a-z] operation timed out|SIGKILL to .* on client request")


@dataclass(frozen=True)
class Fault:
    """Something that ended processes of an app, or that its sandbox refused.

    Attributes:
        text: What happened.
        fix: What to do about it; empty when that is not known.
        count: How many times.
    """

    text: str
    fix: str = ""
    count: int = 1

    def __str__(self) -> str:
        return f"{self.text} ({self.count} times)" if self.count > 1 else self.text


def faults(journal: str, log: ServerLog) -> list[Fault]:
    """Everything of this kind in a journal: for a look at an app that runs."""
    refused = Counter(
        (found.error, remedy(found.words, found.code)) for found in failure_journal.read(journal, log).tracebacks
    )
    return [
        *deaths(journal, log),
        *late_workers(journal, log),
        *(Fault(error, fix, count) for (error, fix), count in refused.items() if "release_" in fix),
    ]


def deaths(journal: str, log: ServerLog) -> list[Fault]:
    """The signals that ended processes of an app, the most frequent first."""
    lines = journal.splitlines()
    memory = any(_OUT_OF_MEMORY.search(line) for line in lines)
    stopped = any(_STOPPED_BY_SYSTEMD.search(line) for line in lines)
    counts = Counter(
        (who, signal)
        for who, signal in _ended(lines, log, _late(journal, log))
        if signal in _FATAL and not (stopped and signal in ("SIGABRT", "SIGKILL"))
    )
    if memory and not any(signal == "SIGKILL" for _who, signal in counts):
        counts["a process", "SIGKILL"] += 1
    return [_death(who, signal, count, memory) for (who, signal), count in counts.most_common()]


def late_workers(journal: str, log: ServerLog) -> list[Fault]:
    """Workers that the server ended because they did not answer in time."""
    late = len(_late(journal, log))
    text = "a worker exceeded the server's time limit for a request"
    return [Fault(text, log.late_fix, late)] if late else []


def missing_places(journal: str) -> list[Fault]:
    """Places that a unit opens to an app, and that the host does not have."""
    counts = Counter(found["path"] for found in map(_NO_PLACE.search, journal.splitlines()) if found)
    fix = "create it, or take it out of release_writable_paths, or of release_unit_extra"
    return [Fault(f"{path} is not there, and the app's unit names it", fix, count) for path, count in counts.items()]


def _late(journal: str, log: ServerLog) -> set[str]:
    found = (log.search(log.worker_late, line) for line in journal.splitlines())
    return {late["pid"] for late in found if late}


def _ended(lines: Iterable[str], log: ServerLog, late: set[str]) -> Iterator[tuple[str, str]]:
    """Who was ended by which signal, but for the server's late workers."""
    for line in lines:
        if found := log.search(log.worker_ended, line):
            if found.groupdict().get("pid") not in late:
                yield "a worker", _name(found["signal"])
        elif found := _KILLED.search(line) or _TERMINATED.search(line):
            yield "the process", f"SIG{found['signal']}"
        elif (found := _SHELL_STATUS.search(line) or _EXIT_STATUS.search(line)) and found["status"] in _SHELL:
            yield "the command", _SHELL[found["status"]]


def _name(signal: str) -> str:
    """The name of a signal; some servers tell its number."""
    return signals.Signals(int(signal)).name if signal.isdecimal() else signal


def _death(who: str, signal: str, count: int, memory: bool) -> Fault:
    why = " because memory ran out" if memory and signal == "SIGKILL" else ""
    return Fault(f"{who} was ended by {signal}{why}", remedy(signal), count)
