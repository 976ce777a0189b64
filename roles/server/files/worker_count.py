# SPDX-License-Identifier: GPL-3.0-or-later
"""How many processes serve an app, found out where its server starts: C(python worker_count.py auto 150% 400M)."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

# What a process with an ordinary app and its libraries needs; only where there is little memory does it count.
MEMORY = 100_000_000

_CGROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
_SIZES = {"": 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def workers(wanted: str, quota: str = "", memory_max: str = "", each: int = 1, more: int = 0) -> int:
    """How many processes to start.

    E(WEB_CONCURRENCY) of the environment wins, as for many programs.

    Args:
        wanted: A number, or C(auto).
        quota: C(release_cpu_quota) of the app, such as C(150%).
        memory_max: C(release_memory_max) of the app, such as C(400M) or C(50%).
        each: How many C(auto) is for each core.
        more: How many it is beyond that.
    """
    chosen = os.environ.get("WEB_CONCURRENCY") or wanted
    if chosen != "auto":
        return int(chosen)
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    groups = list(own_groups(_OWN, _CGROUPS))
    cores = [float(len(os.sched_getaffinity(0))), percentage(quota), *map(group_cores, groups)]
    memory = [float(total), size(memory_max, total), *map(group_memory, groups)]
    return count(min(cores), min(memory), each, more)


def count(cores: float, memory: float, each: int = 1, more: int = 0) -> int:
    """What C(auto) is with so many cores, parts of one included, and so much memory: two at least, if they fit."""
    wished = max(2, each * max(1, math.ceil(cores)) + more)
    return min(wished, max(1, int(memory // MEMORY)))


def percentage(text: str) -> float:
    """Cores that systemd's C(CPUQuota) grants."""
    return float(text.rstrip("%")) / 100 if text else math.inf


def size(text: str, total: int) -> float:
    """Bytes that systemd's C(MemoryMax) grants on a host with so many."""
    if not text or text == "infinity":
        return math.inf
    if text.endswith("%"):
        return total * percentage(text)
    number = text.rstrip("BKMGT")
    return float(number) * _SIZES[text[len(number) :][:1]]


def own_groups(own: Path, top: Path) -> Iterator[Path]:
    """The control groups that this process is in, and those that they are in: a limit of any of them counts."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _number, controllers, group = line.split(":", 2)
        hierarchy = top / controllers.removeprefix("name=") if controllers else top
        place = Path(group.lstrip("/"))
        for part in (place, *place.parents):
            yield hierarchy / part


def group_cores(group: Path) -> float:
    """Cores that a control group may use."""
    share, _blank, period = _read(group / "cpu.max").partition(" ")  # version 2
    if not share:
        share, period = _read(group / "cpu.cfs_quota_us"), _read(group / "cpu.cfs_period_us")
    return int(share) / int(period) if share.isdigit() and period.isdigit() else math.inf


def group_memory(group: Path) -> float:
    """Bytes that a control group may have."""
    text = _read(group / "memory.max") or _read(group / "memory.limit_in_bytes")
    return int(text) if text.isdigit() else math.inf


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""


if __name__ == "__main__":
    print(workers(*sys.argv[1:4], *map(int, sys.argv[4:])))
