# SPDX-License-Identifier: GPL-3.0-or-later
"""A day as module_utils/traffic counts it."""

from __future__ import annotations

from typing import Any

NOW = 1795874400.0  # 2026-11-28 14:00 UTC
STEPS = 144


def day(**changes: Any) -> dict[str, Any]:
    """A day on which nothing went wrong."""
    return {
        "start": NOW - 86400,
        "until": NOW,
        "step": 600,
        "since": NOW - 86400,
        "requests": [600] * STEPS,
        "client_errors": [0] * STEPS,
        "server_errors": [0] * STEPS,
        "closed": 0,
        "p50": [10.0] * STEPS,
        "p99": [90.0] * STEPS,
        "day_p50": 10.0,
        "day_p99": 90.0,
        "failing": [],
        **changes,
    }
