# SPDX-License-Identifier: GPL-3.0-or-later
"""What is counted of access logs: both formats, rotated files, more than there is time for, what is no log."""

from __future__ import annotations

import datetime
import gzip
import itertools
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.explain import logs
from ansible_collections.webops.wsgi.plugins.module_utils.traffic import blocks, day
from roles import ROOT

NOW = 1795874345.0  # 2026-11-28 13:59:05 UTC
START = NOW + 55 - 86400
TEMPLATE = (ROOT / "roles/nginx_proxy/templates/nginx.conf.j2").read_text(encoding="utf-8")


def _format(name: str) -> str:
    """A log format as the template has it."""
    block = re.search(rf"log_format {name}\b(?: escape=json)?\s+(.*?);\n", TEMPLATE, re.DOTALL)
    assert block
    return "".join(re.findall(r"'([^']*)'", block[1]))


def _line(name: str, when: float, status: int = 200, seconds: float = 0.02, **variables: Any) -> bytes:
    moment = datetime.datetime.fromtimestamp(when, datetime.UTC)
    values: dict[str, Any] = {
        "time_iso8601": moment.isoformat(timespec="seconds"),
        "time_local": moment.strftime("%d/%b/%Y:%H:%M:%S +0000"),
        "status": status,
        "wsgi_status": status,
        "request_time": f"{seconds:.3f}",
        "request_method": "GET",
        "request_uri": "/items?page=2",
        "request": "GET /items?page=2 HTTP/2.0",
        "remote_addr": "192.0.2.7",
        "body_bytes_sent": 10,
        "request_length": 20,
        "upstream_response_time": f"{seconds:.3f}",
        "http_user_agent": "curl/8",
        **variables,
    }

    def value(found: re.Match[str]) -> str:
        text = str(values.get(found[1], ""))
        if name == "wsgi_json":
            return json.dumps(text)[1:-1]
        return text.replace('"', "\\x22")

    return re.sub(r"\$(\w+)", value, _format(name)).encode() + b"\n"


def json_line(when: float, status: int = 200, seconds: float = 0.02, **variables: Any) -> bytes:
    return _line("wsgi_json", when, status, seconds, **variables)


def written(path: Path, lines: Iterable[bytes], ended: float = NOW) -> Path:
    text = b"".join(lines)
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    os.utime(path, (ended, ended))
    return path


@pytest.mark.parametrize("name", ["wsgi", "wsgi_json"])
def test_both_formats_are_counted_as_explain_reads_them(tmp_path: Path, name: str) -> None:
    lines = [
        _line(name, NOW - 120, seconds=0.1),
        _line(name, NOW - 120, 404, 0.001),
        _line(name, NOW - 90, 502, 1.5),
        _line(name, NOW - 90, 503, 0.001, wsgi_maintenance="on"),
        _line(name, START - 60),
    ]
    found = day.day([written(tmp_path / "api.access.log", lines)], 1.0, NOW)
    last = found.steps[-1]
    assert (last.requests, last.client_errors, last.server_errors, last.closed) == (3, 1, 1, 1)
    assert dict(found.failing) == {("GET", "/items", 502): 1}
    assert sum(step.requests for step in found.steps) == 3
    entries = list(logs.entries(line.decode() for line in lines))
    assert [entry.status for entry in entries] == [200, 404, 502, 503, 200]


def test_steps_percentiles_and_the_day(tmp_path: Path) -> None:
    quick = [json_line(START + 300, seconds=0.010) for _ in range(98)]
    slow = [json_line(START + 300, seconds=2.0) for _ in range(2)]
    told = day.day([written(tmp_path / "a.log", [*quick, *slow, json_line(NOW - 700, seconds=0.5)])], 1.0, NOW).told()
    assert (told["start"], told["since"], told["step"]) == (START, START, 600)
    assert (told["requests"][0], told["requests"][-2], sum(told["requests"])) == (100, 1, 101)
    assert told["p50"][0] == pytest.approx(10, rel=0.05)
    assert told["p99"][0] == pytest.approx(2000, rel=0.05)
    assert told["p50"][1] is None
    assert told["day_p50"] == pytest.approx(10, rel=0.05)


def test_websockets_have_no_latency(tmp_path: Path) -> None:
    found = day.day([written(tmp_path / "a.log", [json_line(NOW - 120, 101, 3600)])], 1.0, NOW).told()
    assert (sum(found["requests"]), found["day_p99"]) == (1, None)


def test_of_a_sample_the_requests_are_guessed_and_errors_are_not(tmp_path: Path) -> None:
    lines = [json_line(NOW - 120), json_line(NOW - 120, 500)]
    last = day.day([written(tmp_path / "a.log", lines)], 0.1, NOW).steps[-1]
    assert (last.requests, last.server_errors) == (11, 1)


def test_rotated_files_are_read_as_far_back_as_the_day(tmp_path: Path) -> None:
    files = [
        written(tmp_path / "a.log", [json_line(NOW - 120)]),
        written(tmp_path / "a.log.1", [json_line(NOW - 40000)], NOW - 40000),
        written(tmp_path / "a.log.2.gz", [json_line(START - 5), json_line(START + 5)], START + 5),
        written(tmp_path / "a.log.3.gz", [json_line(START + 5)], START - 50000),  # its time says that it is older
    ]
    found = day.day(files, 1.0, NOW)
    assert [sum(step.requests for step in steps) for steps in (found.steps[:1], found.steps)] == [1, 3]


def test_what_a_client_sends_counts_for_nothing(tmp_path: Path) -> None:
    hostile = '","nginx.request.time":9999,"nginx.maintenance":"on"}\n{"@timestamp":"'
    lines = [json_line(NOW - 120, http_user_agent=hostile, request_uri=hostile), b"\xff\xfe nothing\n", b"{}\n", b"\n"]
    last = day.day([written(tmp_path / "a.log", lines)], 1.0, NOW).steps[-1]
    assert (last.requests, last.closed, sum(last.latencies)) == (1, 0, day._class_of(20))


def test_a_time_that_is_none(tmp_path: Path) -> None:
    line = json_line(NOW - 120, time_iso8601="2026-13-77T99:00:00+00:00")
    assert not sum(day.day([written(tmp_path / "a.log", [line])], 1.0, NOW).told()["requests"])


def test_who_runs_out_of_time_has_the_latest_and_says_since_when(tmp_path: Path) -> None:
    lines = [json_line(START + 60 * minute) for minute in range(1440) for _ in range(20)]
    seconds = itertools.count()
    found = day.day([written(tmp_path / "a.log", lines)], 1.0, NOW, 5, lambda: float(next(seconds)))
    assert START < found.since < NOW - 3600
    first = int((found.since - START) // day.STEP)
    assert not sum(step.requests for step in found.steps[:first])
    assert all(step.requests == 200 for step in found.steps[first + 1 :])


def test_a_compressed_file_counts_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    old = [json_line(START + 60 * minute) for minute in range(720) for _ in range(20)]
    files = [
        written(tmp_path / "a.log", [json_line(NOW - 120)]),
        written(tmp_path / "a.log.2.gz", old, START + 43200),
    ]
    seconds = itertools.count()
    found = day.day(files, 1.0, NOW, 3, lambda: float(next(seconds)))
    assert (found.since, sum(step.requests for step in found.steps)) == (START + 43200, 1)


def test_short_logs_leave_their_time_to_long_ones(tmp_path: Path) -> None:
    asked: list[float] = []
    logs_of = {
        "long": ([written(tmp_path / "long.log", [json_line(NOW - 60)] * 50)], 1.0),
        "short": ([written(tmp_path / "short.log", [json_line(NOW - 60)])], 1.0),
        "none": ([], 1.0),
    }
    told = day.days(logs_of, NOW, 20, lambda: float(len(asked)))
    assert list(told) == ["none", "short", "long"]
    assert sum(told["long"]["requests"]) == 50


def test_what_is_no_file_is_passed_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.log")
    (tmp_path / "a.log.1").symlink_to(written(tmp_path / "elsewhere", [json_line(NOW - 60)]))
    (tmp_path / "a.log.2").mkdir()
    good = written(tmp_path / "a.log.3", [json_line(NOW - 60)])
    found = day.day([*tmp_path.glob("a.log*"), tmp_path / "gone"], 1.0, NOW + 60)
    assert good in list(tmp_path.glob("a.log*"))
    assert sum(step.requests for step in found.steps) == 1


@pytest.mark.parametrize("size", [7, 64, 1 << 20])
def test_blocks_are_whole_lines_whatever_their_size(tmp_path: Path, size: int) -> None:
    lines = [f"{number:05}\n".encode() for number in range(500)]
    path = written(tmp_path / "a.log", lines)
    back = list(blocks.latest_first(path, size))
    assert b"".join(reversed(back)) == b"".join(lines)
    packed = list(blocks.unpacked(written(tmp_path / "a.log.gz", lines), size))
    assert b"".join(packed) == b"".join(lines)
    assert all(block.endswith(b"\n") for block in [*back, *packed])


def test_a_line_without_end_fills_no_memory(tmp_path: Path) -> None:
    path = written(tmp_path / "a.log", [b"x" * 1_000_000 + b"\n", b"good\n"])
    assert next(blocks.latest_first(path, 100)) == b"good\n"
    assert max(map(len, blocks.latest_first(path, 100)), default=0) <= 300
    assert max(map(len, blocks.unpacked(written(tmp_path / "a.gz", [path.read_bytes()]), 100))) <= 300


def test_of_a_broken_compressed_file_what_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.log.gz"
    path.write_bytes(gzip.compress(b"".join(f"{n}\n".encode() for n in range(100_000)))[:-50])
    assert next(blocks.unpacked(path, 1000)).startswith(b"0\n1\n")
    path.write_bytes(b"no gzip")
    assert not list(blocks.unpacked(path))


def test_a_request_of_this_minute_counts(tmp_path: Path) -> None:
    found = day.day([written(tmp_path / "a.log", [json_line(NOW - 2), json_line(NOW + 120)])], 1.0, NOW)
    assert found.steps[-1].requests == 1
