# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel says of processes: what they have started, and how much memory is theirs."""

from __future__ import annotations

from pathlib import Path

PROC = Path("/proc")


def children(process: int, proc: Path = PROC) -> list[int]:
    """The processes that a process has started."""
    try:
        return list(map(int, (proc / str(process) / "task" / str(process) / "children").read_text().split()))
    except OSError:
        return []


def family(process: int, proc: Path = PROC) -> list[int]:
    """A process, what it has started, and what these have started."""
    return [process, *(member for child in children(process, proc) for member in family(child, proc))]


def proportional(process: int, proc: Path = PROC) -> int:
    """Bytes of a process, its share of what it has in common with others included; 0 where that is not known."""
    try:
        text = (proc / str(process) / "smaps_rollup").read_text()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:"))
