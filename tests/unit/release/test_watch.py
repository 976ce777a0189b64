# SPDX-License-Identifier: GPL-3.0-or-later
"""Counting what clients got in the proxy's access log, in each of its formats."""

from __future__ import annotations

import pathlib

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.release.watch import AccessLog

TEXT = (
    '203.0.113.9 - - [24/Nov/2026:08:00:00 +0000] "GET / HTTP/2.0" {status} 5 "-" "{agent}" host=a id=b time=0 '
    "app_time=0 maintenance={closed}\n"
)
JSON = (
    '{{"@timestamp":"2026-11-24T08:00:00+00:00","http.response.status_code":{status},"http.response.body.bytes":5,'
    '"user.name":"{agent}","user_agent.original":"{agent}","nginx.maintenance":"{closed}"}}\n'
)


@pytest.mark.parametrize("line", [TEXT, JSON], ids=["text", "json"])
def test_server_errors_of_the_app_count_and_maintenance_does_not(tmp_path: pathlib.Path, line: str) -> None:
    path = tmp_path / "api.access.log"
    path.write_text(line.format(status=500, agent="before", closed=""))
    log = AccessLog(path)
    with path.open("a") as stream:
        stream.write(5 * line.format(status=502, agent="curl", closed=""))
        stream.write(95 * line.format(status=200, agent="curl", closed=""))
        stream.write(50 * line.format(status=503, agent="curl", closed="on"))
    assert log.excess(5) == ""
    assert (log.answers, log.errors) == (100, 5)
    assert "5 of 100" in log.excess(4)


def test_a_client_cannot_write_a_status(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "api.access.log"
    path.write_text("")
    log = AccessLog(path)
    path.write_text(JSON.format(status=200, agent='x\\" 500 ', closed=""))
    log.excess(100)
    assert (log.answers, log.errors) == (1, 0)


def test_answers_that_a_sample_leaves_out_count(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "api.access.log"
    path.write_text("")
    log = AccessLog(path, sample=0.1)
    path.write_text("".join(n * JSON.format(status=s, agent="", closed="") for n, s in ((9, 200), (5, 404), (5, 502))))
    assert log.excess(5.1) == ""
    assert (log.answers, log.errors) == (100, 5)
