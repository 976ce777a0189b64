# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plots of a day as SVG: shapes only, stretched to whatever width there is. Words are beside them, in HTML."""

from __future__ import annotations

import calendar
import math
import time
import typing as t
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.webops.wsgi.plugins.plugin_utils.page.words import milliseconds, number

WIDTH, HEIGHT = 720, 100
HOUR = 3600
CLOCK_HOURS = 6  # between two marks of the time
FASTEST = 1.0  # milliseconds at the bottom of the latencies, whose scale is logarithmic

Day = Mapping[str, t.Any]
Values = Sequence[float | None]


@dataclass(frozen=True)
class Shape:
    """One path of a plot.

    Attributes:
        kind: What it shows, which gives it its colour.
        path: As SVG's attribute C(d) has it.
    """

    kind: str
    path: str


@dataclass(frozen=True)
class Label:
    """A word beside a plot, and how far it is from the left or the top, in percent."""

    place: float
    text: str


@dataclass(frozen=True)
class Part:
    """What a pointer over an hour of a plot shows."""

    x: float
    width: float
    text: str


@dataclass(frozen=True)
class Plot:
    """A plot.

    Attributes:
        title: What it shows.
        key: Its curves by kind, and what they are.
        shapes: Its curves.
        scale: Values, from the top.
        times: Hours, from the left.
        marks: Deployments, from the left.
        parts: What is told of each hour.
        summary: The same for who cannot see it.
    """

    title: str
    key: tuple[tuple[str, str], ...]
    shapes: tuple[Shape, ...]
    scale: tuple[Label, ...]
    times: tuple[Label, ...]
    marks: tuple[Label, ...]
    parts: tuple[Part, ...]
    summary: str


def plots(day: Day, history: Iterable[Mapping[str, t.Any]]) -> list[Plot]:
    """Requests, latencies and errors of an app's day.

    Args:
        day: What C(traffic.day) counted.
        history: What was deployed.
    """
    shared = {"times": tuple(_times(day)), "marks": tuple(_marks(day, history)), "parts": tuple(_parts(day))}
    return [_requests(day, shared), _latencies(day, shared), _errors(day, shared)]


def spark(day: Day) -> str:
    """The requests of the day as one small line."""
    values = _rates(day)
    return _line(_from_zero(values, max(values, default=0)))


def _requests(day: Day, shared: dict[str, t.Any]) -> Plot:
    rates = _rates(day)
    top = _round_up(max(rates, default=0))
    line = _line(_from_zero(rates, top))
    area = f"{line}L{WIDTH} {HEIGHT}L0 {HEIGHT}Z"
    return Plot(
        title="Requests per second",
        key=(),
        shapes=(Shape("area", area), Shape("requests", line)),
        scale=(Label(0, number(top)), Label(50, number(top / 2))),
        summary=f"{number(sum(day['requests']))} requests, at most {number(max(rates, default=0))} a second",
        **shared,
    )


def _latencies(day: Day, shared: dict[str, t.Any]) -> Plot:
    slowest = max((value for value in day["p99"] if value), default=FASTEST)
    decades = max(1, math.ceil(math.log10(max(slowest, FASTEST) / FASTEST)))

    def height(value: float | None) -> float | None:
        if value is None:
            return None
        return HEIGHT * (1 - math.log10(max(value, FASTEST) / FASTEST) / decades)

    scale = [Label(100 * (1 - power / decades), milliseconds(FASTEST * 10**power)) for power in range(1, decades + 1)]
    return Plot(
        title="Time until the whole answer",
        key=(("p50", "p50"), ("p99", "p99")),
        shapes=(
            Shape("p50", _line([height(value) for value in day["p50"]])),
            Shape("p99", _line([height(value) for value in day["p99"]])),
        ),
        scale=tuple(scale),
        summary=f"half within {milliseconds(day['day_p50'])}, 99 of 100 within {milliseconds(day['day_p99'])}",
        **shared,
    )


def _errors(day: Day, shared: dict[str, t.Any]) -> Plot:
    client, server = day["client_errors"], day["server_errors"]
    top = _round_up(max((one + other for one, other in zip(client, server, strict=True)), default=0), whole=True)
    return Plot(
        title="Errors in ten minutes",
        key=(("server", "5xx"), ("client", "4xx")),
        shapes=(
            Shape("client", _bars(client, server, top)),
            Shape("server", _bars(server, [0] * len(server), top)),
        ),
        scale=(Label(0, number(top)),),
        summary=f"{number(sum(server))} answers of 5xx, {number(sum(client))} of 4xx",
        **shared,
    )


def _rates(day: Day) -> list[float]:
    rates = [count / day["step"] for count in day["requests"]]
    return [*rates[:-1], last_rate(day)]


def last_rate(day: Day) -> float:
    """Requests a second in the last step, which is not over yet."""
    over = day["until"] - day["start"] - day["step"] * (len(day["requests"]) - 1)
    rate: float = day["requests"][-1] / max(1.0, over)
    return rate


def _from_zero(values: Iterable[float], top: float) -> list[float | None]:
    return [HEIGHT * (1 - value / top) if top else HEIGHT for value in values]


def _line(heights: Sequence[float | None]) -> str:
    """A line through the middles of the steps; it breaks where there is no value."""
    step, path, drawing = WIDTH / max(1, len(heights)), [], False
    for place, height in enumerate(heights):
        if height is None:
            drawing = False
            continue
        path.append(f"{'L' if drawing else 'M'}{(place + 0.5) * step:.1f} {height:.1f}")
        if not drawing:  # a value between two that are none is a dot
            path.append("h0.1")
        drawing = True
    return "".join(path)


def _bars(values: Sequence[int], below: Sequence[int], top: float) -> str:
    step = WIDTH / max(1, len(values))
    return "".join(
        f"M{place * step + 0.5:.1f} {HEIGHT * (1 - under / top):.1f}v{-HEIGHT * value / top:.1f}h{step - 1:.1f}"
        f"v{HEIGHT * value / top:.1f}z"
        for place, (value, under) in enumerate(zip(values, below, strict=True))
        if value and top
    )


def _round_up(value: float, whole: bool = False) -> float:
    """The next number with one digit that is easy to read."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    rounded = next(power * factor for factor in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if power * factor >= value * 0.999)
    return max(1.0, rounded) if whole else rounded


def _times(day: Day) -> Iterator[Label]:
    length = day["step"] * len(day["requests"])
    first = math.ceil(day["start"] / (CLOCK_HOURS * HOUR)) * CLOCK_HOURS * HOUR
    for when in range(int(first), int(day["start"] + length), CLOCK_HOURS * HOUR):
        yield Label(100 * (when - day["start"]) / length, time.strftime("%H:%M", time.gmtime(when)))


def _marks(day: Day, history: Iterable[Mapping[str, t.Any]]) -> Iterator[Label]:
    length = day["step"] * len(day["requests"])
    for line in history:
        place = 100 * (seconds(line.get("time", "")) - day["start"]) / length
        if 0 <= place <= 100:
            clock = line["time"][11:16]
            yield Label(place, f"{clock} release {line.get('to') or '-'}, {line.get('outcome', '')}")


def seconds(moment: str) -> float:
    """A moment of an app's history in seconds since 1970; 0 when it is none."""
    try:
        return float(calendar.timegm(time.strptime(moment, "%Y-%m-%dT%H:%M:%SZ")))
    except (TypeError, ValueError):
        return 0.0


def _parts(day: Day) -> Iterator[Part]:
    steps, of_hour = len(day["requests"]), HOUR // day["step"]
    for first in range(0, steps, of_hour):
        here = slice(first, first + of_hour)
        began = time.strftime("%H:%M", time.gmtime(day["start"] + first * day["step"]))
        ended = time.strftime("%H:%M", time.gmtime(day["start"] + min(first + of_hour, steps) * day["step"]))
        slow = max((value for value in day["p99"][here] if value is not None), default=None)
        text = (
            f"{began} to {ended} UTC: {number(sum(day['requests'][here]) / HOUR)} requests/s, p99 up to "
            f"{milliseconds(slow)}, {number(sum(day['server_errors'][here]))} of 5xx, "
            f"{number(sum(day['client_errors'][here]))} of 4xx"
        )
        yield Part(WIDTH * first / steps, WIDTH * of_hour / steps, text)
