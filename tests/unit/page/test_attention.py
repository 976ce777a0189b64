# SPDX-License-Identifier: GPL-3.0-or-later
"""What the page puts on its top, and what it leaves out of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.webops.wsgi.plugins.plugin_utils.page.attention import attention

Row = Callable[..., dict[str, Any]]
FAILED = {"time": "2026-11-28T11:00:00Z", "who": "ada@laptop", "to": "6", "source": "reports==1.5", "outcome": "failed"}


def test_an_app_that_is_well_needs_none(row: Row) -> None:
    assert attention([row(), row(host="web2", rotation="in service")]) == []


@pytest.mark.parametrize(
    ("changes", "words", "urgent"),
    [
        ({"health": "answered 502, expected 200"}, "is not healthy: answered 502, expected 200", True),
        ({"health": "does not run", "state": "failed"}, "does not run (failed)", True),
        ({"release": "", "state": "absent", "history": []}, "has never been deployed", True),
        ({"maintenance": True}, "is closed for maintenance", False),
        ({"restarts": 3}, "restarted by itself 3 times", False),
        ({"beside": {"celery": "failed", "mail": "active"}}, "celery, which runs beside the server, is failed", True),
        ({"rotation": "lb1: failing, lb2: in service"}, "balancers send it no requests", True),
        ({"rotation": "drained"}, "drained", False),
        ({"certificate_problem": "20 % of its life left", "certificate_days": 18}, "20 % of its life left", False),
        ({"certificate_problem": "expired on 2026-11-27", "certificate_days": -1}, "expired on", True),
        ({"certificate_problem": "none that can be used", "certificate_days": None}, "none that can be used", True),
        ({"memory_bytes": 390_000_000}, "uses 390 MB of the 400 MB of its limit", False),
        ({"memory_bytes": None, "worker_memory_bytes": 190_000_000}, "uses 380 MB of the 400 MB", False),
        ({"shortage": "2 processes would need too much"}, "2 processes would need too much", False),
        ({"release": "", "state": "absent", "history": [FAILED]}, "no release serves yet", True),
        ({"history": [FAILED]}, "the last deployment failed (reports==1.5, ada@laptop", False),
        (
            {"faults": [{"process": "celery", "text": "was ended by SIGSEGV", "count": 3, "fix": "update it"}]},
            "celery: was ended by SIGSEGV (3 times)",
            False,
        ),
    ],
)
def test_each_thing_that_may_be_wrong(row: Row, changes: dict[str, Any], words: str, urgent: bool) -> None:
    (item,) = attention([row(**changes)])
    assert words in item.text
    assert (item.urgent, item.host, item.app) == (urgent, "web1", "api")


def errors(row: Row, count: int, ago: int = 1) -> dict[str, Any]:
    made = row()
    made["traffic"]["server_errors"][-ago] = count
    made["traffic"]["failing"] = [{"method": "GET", "path": "/items", "status": 502, "count": count}]
    return made


def test_errors_of_the_last_hour(row: Row) -> None:
    assert not attention([errors(row, 4), errors(row, 30), errors(row, 3000, ago=7)])
    (some,) = attention([errors(row, 60)])
    assert some.text == "failed 60 of 3,600 requests of the last hour; of the day most often GET /items 502 (60 times)"
    (many,) = attention([errors(row, 500)])
    assert (some.urgent, many.urgent) == (False, True)


def test_a_host_that_could_not_be_reached_comes_first(row: Row) -> None:
    first, second = attention([row(restarts=1)], ["web3"])
    assert (first.host, first.app, first.urgent, second.app) == ("web3", "", True, "api")


def test_hosts_with_different_versions(row: Row) -> None:
    (item,) = attention([row(), row(host="web2", source="reports==1.3")])
    assert "reports==1.4.2 on web1; reports==1.3 on web2" in item.text


def test_a_host_whose_logs_were_not_counted_has_no_errors(row: Row) -> None:
    assert not attention([row(traffic=None)])
