"""Runs ``load.py`` on the host under test and makes numbers of what it recorded."""

from __future__ import annotations

import statistics
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import ROOT, WORK, BenchError

TOOLS = "/var/tmp"  # on the host; survives a restart of the container, and the app's user may read there
ORDINARY = ("get", "get-new", "post", "post-new")  # kinds whose answer takes no time by itself
GOOD = ("ok", "repeated")

# A switch is felt from the start of the new instance, which takes processor time, to the end of the old one, which
# comes once nobody is connected to it (release_drain); the longest requests of the load take three seconds.
BEFORE, AFTER = 2.0, 3.0  # seconds
CALM = 5.0  # seconds after that to compare with: the same run has ended and the next has not begun


@dataclass(frozen=True)
class Request:
    """One request, or with the kind C(switch) a release that went live.

    Attributes:
        start: When it was due, in seconds since the epoch.
        ms: Milliseconds until its answer had come whole.
        kind: One of the kinds of C(load.py).
        outcome: What became of it.
    """

    start: float
    ms: float
    kind: str
    outcome: str


@contextmanager
def tool(container: str, name: str, command: list[str], user: str = "root") -> Iterator[Path]:
    """Run one of the tools that end with their standard input on the host; yields the file its output goes to.

    Raises:
        BenchError: It failed.
    """
    WORK.mkdir(parents=True, exist_ok=True)
    records, errors = WORK / f"{name}.tsv", WORK / f"{name}.err"
    called = ["docker", "exec", "--interactive", "--user", user, container, "python3", f"{TOOLS}/{command[0]}"]
    with records.open("w") as output, errors.open("w") as messages:
        running = subprocess.Popen([*called, *command[1:]], stdin=subprocess.PIPE, stdout=output, stderr=messages)
        try:
            yield records
        finally:
            running.communicate(timeout=60)
    if running.returncode or errors.stat().st_size:
        raise BenchError(f"{command[0]} failed ({running.returncode}):\n{errors.read_text()[-2000:]}")


def install(container: str, *files: Path) -> None:
    """Copy tools and what they need to the host."""
    for file in files:
        subprocess.run(["docker", "cp", str(file), f"{container}:{TOOLS}/{file.name}"], check=True, capture_output=True)
    readable = ["docker", "exec", container, "chmod", "0644", *(f"{TOOLS}/{file.name}" for file in files)]
    subprocess.run(readable, check=True)


def read(records: Path) -> tuple[list[Request], list[Request]]:
    """Requests and switches, in the order of their start."""
    lines = (line.split("\t") for line in records.read_text().splitlines())
    seen = [Request(float(start), float(ms), kind, outcome) for start, ms, kind, outcome in lines]
    switches = [request for request in seen if request.kind == "switch"]
    return [request for request in seen if request.kind != "switch"], switches


def summary(requests: list[Request], moments: list[float]) -> dict[str, Any]:
    """What clients noticed; ``moments`` are those of the switches, in seconds since the epoch."""
    failed = Counter(f"{request.kind}: {request.outcome}" for request in requests if request.outcome not in GOOD)
    ordinary = [request for request in requests if request.kind in ORDINARY]
    during = [request.ms for request in ordinary if is_during(request, moments)]
    without = [request.ms for request in ordinary if not is_during(request, moments)]
    seconds = max(request.start for request in requests) - min(request.start for request in requests)
    return {
        "requests": len(requests),
        "seconds": round(seconds, 1),
        "switches": len(moments),
        "failed": failed.total(),
        "failures": dict(failed.most_common()),
        "short": sum(count for failure, count in failed.items() if failure.endswith(": short")),
        "repeated": sum(request.outcome == "repeated" for request in requests),
        "uploads": sum(request.kind == "upload" for request in requests),
        "streams": sum(request.kind == "stream" for request in requests),
        "slow": sum(request.kind == "slow" for request in requests),
        "median_ms": round(statistics.median(request.ms for request in ordinary), 1),
        "p99_without_ms": p99(without),
        "p99_during_ms": p99(during),
        "p99_ratio": round(p99(during) / p99(without), 2),
        "p99_paired_ratio": round(statistics.median(paired_ratios(ordinary, moments)), 2),
        "slowest_ms": max(request.ms for request in ordinary),
    }


def is_during(request: Request, moments: list[float]) -> bool:
    """Whether a request was due while a release was being switched."""
    return any(moment - BEFORE <= request.start <= moment + AFTER for moment in moments)


def paired_ratios(ordinary: list[Request], moments: list[float]) -> Iterator[float]:
    """The 99th percentile during each switch, as a multiple of that of the seconds right after it.

    The median of these says more than one ratio over the whole run when other work comes and goes on the machine.
    """
    for moment in moments:
        times = (moment - BEFORE, moment + AFTER), (moment + AFTER, moment + AFTER + CALM)
        during, after = (p99([each.ms for each in ordinary if begin <= each.start < end]) for begin, end in times)
        yield during / after


def p99(values: list[float]) -> float:
    """What 99 of 100 values do not exceed.

    Raises:
        BenchError: There are too few of them.
    """
    if len(values) < 100:
        raise BenchError(f"{len(values)} requests are too few for a 99th percentile")
    return round(statistics.quantiles(values, n=100)[98], 1)


def command(name: str, port: int) -> list[str]:
    """The load, over HTTPS through nginx or, with port 8000, straight to the app."""
    over = ["--name", name, "--ca", f"{TOOLS}/ca.pem"] if port == 443 else []
    return ["load.py", *over, "--port", str(port), "--watch", "/srv/api/current"]


TOOL_FILES = (ROOT / "bench" / "load.py", ROOT / "bench" / "memory.py")
