# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sizes and shares as systemd, people and Kubernetes write them."""

from __future__ import annotations

import math
import re

_QUANTITY = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)(?P<unit>m|k|Ki|M|Mi|G|Gi|T|Ti)?")
_SYSTEMD = re.compile(r"(?P<number>[0-9]+)(?P<unit>[KMGT]?)B?")
_UNITS = {"": 1.0, "m": 0.001, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_BINARY = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}

# What a process of an app takes; see roles/server/files/worker_count.py.
WORKER_MEMORY = 100_000_000


def quantity(text: str) -> float | None:
    """The number that a quantity of Kubernetes stands for; None when it is none."""
    found = _QUANTITY.fullmatch(text)
    return float(found["number"]) * {**_UNITS, **_BINARY}[found["unit"] or ""] if found else None


def memory(limit: str) -> str | None:
    """C(release_memory_max), in the words of Kubernetes; empty for no limit, None for a share of a host's memory."""
    if limit in ("", "infinity"):
        return ""
    found = _SYSTEMD.fullmatch(limit)
    if not found:
        return None
    return f"{found['number']}{found['unit']}i" if found["unit"] else found["number"]


def processor(quota: str) -> str:
    """C(release_cpu_quota), in the words of Kubernetes; empty for no limit."""
    return f"{round(float(quota.rstrip('%')) * 10)}m" if quota else ""


def workers(cpu_limit: str, cpu_request: str, memory_limit: str) -> int:
    """How many processes serve an app in a pod: one for each core that it may use, two at least, if they fit.

    Without a limit it is by what the node keeps free: its cores are not the pod's.
    """
    cores = quantity(cpu_limit or cpu_request) or 1
    room = quantity(memory_limit) if memory_limit else None
    wished = max(2, math.ceil(cores))
    return min(wished, max(1, int(room // WORKER_MEMORY))) if room else wished
