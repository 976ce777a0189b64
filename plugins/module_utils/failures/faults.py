# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ended processes of an app: signals, time limits, want of memory; and what its sandbox refused."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ansible_collections.webops.wsgi.plugins.module_utils.failures import journal as failure_journal
from ansible_collections.webops.wsgi.plugins.module_utils.failures.remedies import remedy

# What a person, systemd or gunicorn ends in good order is no fault.
_FATAL = ("SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGKILL", "SIGSEGV", "SIGSYS", "SIGTRAP", "SIGXCPU")
# A shell reports a signal that ended its command as 128 and its number.
_SHELL = {"132": "SIGILL", "134": "SIGABRT", "135": "SIGBUS", "137": "SIGKILL", "139": "SIGSEGV", "159": "SIGSYS"}

_SENT = re.compile(r"Worker \(pid:(?P<pid>\d+)\) was sent (?P<signal>SIG[A-Z0-9]+)!")
_TIMED_OUT = re.compile(r"WORKER TIMEOUT \(pid:(?P<pid>\d+)\)")
_OUT_OF_MEMORY = re.compile(r"killed by the OOM killer|Failed with result 'oom-kill'")
_KILLED = re.compile(r"Main process exited, code=(?:killed|dumped), status=\d+/(?P<signal>[A-Z]+)")
_SHELL_STATUS = re.compile(r"Main process exited, code=exited, status=(?P<status>\d+)/")
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


def faults(journal: str) -> list[Fault]:
    """Everything of this kind in a journal: for a look at an app that runs."""
    refused = Counter(
        (found.error, remedy(found.words, found.code)) for found in failure_journal.read(journal).tracebacks
    )
    return [
        *deaths(journal),
        *late_workers(journal),
        *(Fault(error, fix, count) for (error, fix), count in refused.items() if "release_" in fix),
    ]


def deaths(journal: str) -> list[Fault]:
    """The signals that ended processes of an app, the most frequent first."""
    lines = journal.splitlines()
    memory = any(_OUT_OF_MEMORY.search(line) for line in lines)
    stopped = any(_STOPPED_BY_SYSTEMD.search(line) for line in lines)
    counts = Counter(
        (who, signal)
        for who, signal in _ended(lines, _late(journal))
        if signal in _FATAL and not (stopped and signal in ("SIGABRT", "SIGKILL"))
    )
    if memory and not any(signal == "SIGKILL" for _who, signal in counts):
        counts["a process", "SIGKILL"] += 1
    return [_death(who, signal, count, memory) for (who, signal), count in counts.most_common()]


def late_workers(journal: str) -> list[Fault]:
    """Workers that the server ended because they did not answer in time."""
    late = len(_late(journal))
    text = "a worker exceeded the server's time limit for a request"
    return [Fault(text, remedy("WORKER TIMEOUT"), late)] if late else []


def _late(journal: str) -> set[str]:
    return {found["pid"] for found in _TIMED_OUT.finditer(journal)}


def _ended(lines: Iterable[str], late: set[str]) -> Iterator[tuple[str, str]]:
    """Who was ended by which signal, but for the server's late workers."""
    for line in lines:
        if found := _SENT.search(line):
            if found["pid"] not in late:
                yield "a worker", found["signal"]
        elif found := _KILLED.search(line):
            yield "the process", f"SIG{found['signal']}"
        elif (found := _SHELL_STATUS.search(line)) and found["status"] in _SHELL:
            yield "the command", _SHELL[found["status"]]


def _death(who: str, signal: str, count: int, memory: bool) -> Fault:
    why = " because memory ran out" if memory and signal == "SIGKILL" else ""
    return Fault(f"{who} was ended by {signal}{why}", remedy(signal), count)
