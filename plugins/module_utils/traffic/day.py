# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an app's access log says of the last day: requests, latencies and errors in steps of ten minutes.

Logs may have gigabytes, and the host has other work. So they are read in blocks, the latest first, and only until the
day or the time is over; what was not reached is said. Of latencies a histogram is kept for each step, never the
latencies. In the format JSON a block is one search of a regular expression.
"""

from __future__ import annotations

import collections
import datetime
import functools
import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.webops.wsgi.plugins.module_utils.explain import logs
from ansible_collections.webops.wsgi.plugins.module_utils.traffic.blocks import latest_first, unpacked

STEP = 600  # seconds
STEPS = 144  # a day of them
SECONDS = 20.0  # for the logs of all apps
FAILING = 5  # of the paths that failed most often, so many are told
KINDS_OF_FAILURES = 300  # that are kept at most while counting
SHARPNESS = 16  # classes of latencies for each doubling: a percentile is right to 4 %
SWITCHING = 101  # such a request lasts as long as its WebSocket

# The beginning, the times and the end of what log_format wsgi_json in roles/nginx_proxy/templates/nginx.conf.j2 writes.
# What a client has sent cannot look like it: nginx puts a backslash before every quote of it.
_JSON = re.compile(
    rb'^\{"@timestamp":"([\dT:-]{16}):\d\d([+-]\d\d:\d\d)","http\.response\.status_code":(\d+),'
    rb'.*"nginx\.request\.time":([\d.]+),.*"nginx\.maintenance":"(\w*)"\}$',
    re.MULTILINE,
)

Clock = Callable[[], float]


class Request(NamedTuple):
    """A request, as far as it is counted.

    Attributes:
        minute: In which it was answered, in seconds since 1970.
        status: What the client got.
        latency: The class of how long it took, see :func:`_class_of`.
        closed: Whether it was refused for maintenance.
        line: The whole line.
    """

    minute: float
    status: int
    latency: int
    closed: bool
    line: bytes


@dataclass
class Step:
    """What was counted in ten minutes."""

    requests: float = 0
    client_errors: int = 0
    server_errors: int = 0
    closed: int = 0
    latencies: collections.Counter[int] = field(default_factory=collections.Counter)

    def add(self, request: Request, sample: float) -> None:
        """Count a request, where that share of the requests without an error is logged."""
        if request.closed:
            self.closed += 1
            return
        self.requests += 1.0 if request.status >= 400 else 1.0 / sample
        self.client_errors += 400 <= request.status < 500
        self.server_errors += request.status >= 500
        if request.status != SWITCHING:
            self.latencies[request.latency] += 1

    def merge(self, other: Step) -> None:
        """Add what was counted elsewhere."""
        self.requests += other.requests
        self.client_errors += other.client_errors
        self.server_errors += other.server_errors
        self.closed += other.closed
        self.latencies.update(other.latencies)


@dataclass
class Day:
    """What was counted of an app.

    Attributes:
        start: When the day begins, in seconds since 1970.
        until: When it was looked at, which is in its last minute.
        sample: Share of the requests without an error that is logged.
        since: From when on all was read: the beginning of the day, unless the time was over before.
        steps: What was counted, step by step.
        failing: How often the app failed, by method, path and status.
    """

    start: float
    until: float
    sample: float = 1.0
    since: float = 0.0
    steps: list[Step] = field(default_factory=lambda: [Step() for _ in range(STEPS)])
    failing: collections.Counter[tuple[str, str, int]] = field(default_factory=collections.Counter)

    def add(self, request: Request) -> None:
        """Count a request, when it is of this day."""
        place = int((request.minute - self.start) // STEP)
        if not 0 <= place < STEPS:
            return
        self.steps[place].add(request, self.sample)
        if request.status >= 500 and not request.closed:
            for entry in logs.entries([request.line.decode(errors="replace")]):
                key = (entry.method, entry.path, entry.status)
                if key in self.failing or len(self.failing) < KINDS_OF_FAILURES:
                    self.failing[key] += 1

    def merge(self, other: Day) -> None:
        """Add what was counted of another part of the same day."""
        for mine, its in zip(self.steps, other.steps, strict=True):
            mine.merge(its)
        self.failing.update(other.failing)

    def told(self) -> dict[str, Any]:
        """All of it in few words, for the controller."""
        everything: collections.Counter[int] = collections.Counter()
        for step in self.steps:
            everything.update(step.latencies)
        return {
            "start": self.start,
            "until": self.until,
            "step": STEP,
            "since": max(self.since, self.start),
            "requests": [round(step.requests) for step in self.steps],
            "client_errors": [step.client_errors for step in self.steps],
            "server_errors": [step.server_errors for step in self.steps],
            "closed": sum(step.closed for step in self.steps),
            "p50": [percentile(step.latencies, 0.5) for step in self.steps],
            "p99": [percentile(step.latencies, 0.99) for step in self.steps],
            "day_p50": percentile(everything, 0.5),
            "day_p99": percentile(everything, 0.99),
            "failing": [
                {"method": method, "path": path, "status": status, "count": count}
                for (method, path, status), count in self.failing.most_common(FAILING)
            ],
        }


def percentile(latencies: Mapping[int, int], share: float) -> float | None:
    """Milliseconds within which that share of the requests was answered; None when there was none."""
    wanted, seen = share * sum(latencies.values()), 0
    for number in sorted(latencies):
        seen += latencies[number]
        if seen >= wanted:
            return float(f"{2 ** ((number + 0.5) / SHARPNESS) - 1:.3g}")
    return None


def days(
    found: Mapping[str, tuple[Iterable[Path], float]],
    now: float,
    seconds: float = SECONDS,
    clock: Clock = time.monotonic,
) -> dict[str, dict[str, Any]]:
    """The last day of each app.

    Args:
        found: By app, its log with what was rotated, and the share of the requests that is logged.
        now: The time.
        seconds: How long all of it may take. The short logs come first, and leave what they do not need to the others.
        clock: What that is measured by.
    """
    end, told = clock() + seconds, {}
    logs_of = {app: (list(files), sample) for app, (files, sample) in found.items()}
    waiting = sorted(logs_of, key=lambda app: sum(map(_size, logs_of[app][0])))
    for place, app in enumerate(waiting):
        share = (end - clock()) / (len(waiting) - place)
        told[app] = day(*logs_of[app], now, clock() + share, clock).told()
    return told


def day(
    files: Iterable[Path], sample: float, now: float, deadline: float = math.inf, clock: Clock = time.monotonic
) -> Day:
    """The last day of one app; it ends with this minute.

    Args:
        files: Its log with what was rotated, in any order.
        sample: Share of the requests without an error that is logged.
        now: The time.
        deadline: When to stop, by the clock.
        clock: What the time is measured by.
    """
    start = now // 60 * 60 + 60 - STEP * STEPS
    whole = Day(start, now, sample, start)
    for path in sorted(files, key=_written, reverse=True):
        if _written(path) < start:
            break
        count = _count_packed if path.suffix == ".gz" else _count_plain
        try:
            in_time = count(path, whole, deadline, clock)
        except OSError:  # rotated meanwhile, or no file
            continue
        if not in_time:
            break
    return whole


def _count_plain(path: Path, whole: Day, deadline: float, clock: Clock) -> bool:
    """Count a file from its end; whether there was the time for all of it."""
    for block in latest_first(path):
        first, last = _count(block, whole)
        if last < whole.start:
            return True
        if clock() > deadline and first > whole.start:
            whole.since = first
            return False
    return True


def _count_packed(path: Path, whole: Day, deadline: float, clock: Clock) -> bool:
    """Count a compressed file, unless there is not the time for all of it: it is read from its beginning."""
    part = Day(whole.start, whole.until, whole.sample)
    for block in unpacked(path):
        _count(block, part)
        if clock() > deadline:
            whole.since = max(whole.start, _written(path))  # the files after it have been read
            return False
    whole.merge(part)
    return True


def _count(block: bytes, into: Day) -> tuple[float, float]:
    """Count the requests of a block; returns when the first and the last one were."""
    first, last = math.inf, math.inf
    for request in _requests(block):
        into.add(request)
        if request.minute != last:
            last = request.minute
            first = min(first, last)
    return first, last


def _requests(block: bytes) -> Iterator[Request]:
    matched = 0
    for found in _JSON.finditer(block):
        matched += 1
        when, zone, status, took, closed = found.groups()
        yield Request(_minute(when + zone), int(status), _class_of_seconds(took), closed == b"on", found.group())
    if matched < block.count(b"\n"):
        for line in block.splitlines():
            if not line.startswith(b"{"):
                yield from _of_plain(line)


def _of_plain(line: bytes) -> Iterator[Request]:
    for entry in logs.entries([line.decode(errors="replace")]):
        minute = entry.when // 60 * 60
        yield Request(minute, entry.status, _class_of(entry.seconds * 1000), entry.maintenance, line)


@functools.lru_cache(4096)
def _minute(text: bytes) -> float:
    try:
        return datetime.datetime.fromisoformat(text.decode()).timestamp()
    except ValueError:
        return 0.0


@functools.lru_cache(4096)
def _class_of_seconds(text: bytes) -> int:
    return _class_of(float(text) * 1000)


def _class_of(milliseconds: float) -> int:
    return int(math.log2(milliseconds + 1) * SHARPNESS)


def _written(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0
