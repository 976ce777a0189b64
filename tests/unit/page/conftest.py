# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows as app_status returns them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from a_day import day


@pytest.fixture
def row() -> Callable[..., dict[str, Any]]:
    """Make a row of an app that is well; keyword arguments replace what it says."""

    def make(**changes: Any) -> dict[str, Any]:
        line = {"time": "2026-11-28T11:00:00Z", "who": "ada@laptop", "action": "deploy", "from": "4", "to": "5"}
        good = {
            "host": "web1",
            "app": "api",
            "release": "5",
            "source": "reports==1.4.2",
            "since": "Sat 2026-11-28 11:00:00 UTC",
            "state": "active",
            "health": "",
            "maintenance": False,
            "workers": 2,
            "worker_memory_bytes": 30_000_000,
            "memory_max_bytes": 400_000_000,
            "memory_bytes": 81_000_000,
            "shortage": "",
            "beside": {"celery": "active"},
            "restarts": 0,
            "faults": [],
            "previous": ["4"],
            "failed": [],
            "disk_bytes": 61_000_000,
            "certificate_days": 60,
            "certificate_problem": "",
            "url": "https://api.example.com/",
            "history": [{**line, "source": "reports==1.4.2", "reasons": ["code"], "outcome": "ok"}],
            "traffic": day(),
            "uncounted": "",
        }
        return {**good, **changes}

    return make


@pytest.fixture
def recorded() -> list[dict[str, Any]]:
    """What a host of a lab said after it had been under load: real requests, their times stretched over a day."""
    rows: list[dict[str, Any]] = json.loads(Path(__file__).with_name("recorded.json").read_text(encoding="utf-8"))
    return rows
