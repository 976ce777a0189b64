# SPDX-License-Identifier: GPL-3.0-or-later
"""Shapes of the plots: where a value comes to lie, where a line breaks, where deployments are."""

from __future__ import annotations

import re
from typing import Any

import pytest
from a_day import NOW, STEPS, day
from ansible_collections.webops.wsgi.plugins.plugin_utils.page import plots


def points(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML]([\d.]+) ([\d.-]+)", path)]


def of(**changes: Any) -> list[plots.Plot]:
    return plots.plots(day(**changes), [])


def test_requests_lie_below_the_top_of_the_scale() -> None:
    requests, _latencies, _errors = of(requests=[0] * (STEPS - 1) + [2400])
    assert [label.text for label in requests.scale] == ["4", "2"]
    found = points(requests.shapes[1].path)
    assert (found[0][1], found[-1][1]) == (plots.HEIGHT, 0)
    assert requests.summary == "2,400 requests, at most 4 a second"


def test_the_last_step_is_not_over_yet() -> None:
    assert plots.last_rate(day(until=NOW - 300)) == 2


def test_latencies_have_a_logarithmic_scale() -> None:
    _requests, latencies, _errors = of(p99=[1000.0] * STEPS, p50=[10.0] * STEPS)
    assert [(label.place, label.text) for label in latencies.scale] == [
        (pytest.approx(66.67, abs=0.01), "10 ms"),
        (pytest.approx(33.33, abs=0.01), "100 ms"),
        (0, "1 s"),
    ]
    assert points(latencies.shapes[1].path)[0][1] == 0
    assert points(latencies.shapes[0].path)[0][1] == pytest.approx(66.7)


def test_a_line_breaks_where_nobody_asked() -> None:
    _requests, latencies, _errors = of(p50=[5.0, None, 5.0, 5.0] * (STEPS // 4))
    assert latencies.shapes[0].path.count("M") == STEPS // 4 + 1


def test_errors_are_stacked() -> None:
    _requests, _latencies, errors = of(client_errors=[6] + [0] * 143, server_errors=[2] + [0] * 143)
    client, server = errors.shapes
    assert client.path.startswith("M0.5 75.0v-75.0")
    assert server.path.startswith("M0.5 100.0v-25.0")


def test_a_day_without_any_request() -> None:
    nothing: list[None] = [None] * STEPS
    for plot in of(requests=[0] * STEPS, p50=nothing, p99=nothing, day_p50=None, day_p99=None):
        assert "nan" not in str(plot)


def test_deployments_and_hours_have_their_place() -> None:
    history = [
        {"time": "2026-11-28T11:00:00Z", "to": "5", "outcome": "ok"},
        {"time": "2026-11-20T11:00:00Z", "to": "4", "outcome": "ok"},
        {"time": "no time", "to": "3"},
    ]
    plot = plots.plots(day(), history)[0]
    assert [(mark.place, mark.text) for mark in plot.marks] == [(87.5, "11:00 release 5, ok")]
    assert [label.text for label in plot.times] == ["18:00", "00:00", "06:00", "12:00"]
    assert len(plot.parts) == 24
    assert plot.parts[-1].text == "13:00 to 14:00 UTC: 1 requests/s, p99 up to 90 ms, 0 of 5xx, 0 of 4xx"
    assert plots.seconds("2026-11-28T14:00:00Z") == NOW
