# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status of all apps as one HTML page that needs nothing from elsewhere."""

from __future__ import annotations

import os
import tempfile
import time
import typing as t
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import jinja2
from ansible_collections.webops.wsgi.plugins.plugin_utils.page import words
from ansible_collections.webops.wsgi.plugins.plugin_utils.page.attention import Item, attention, memory_used
from ansible_collections.webops.wsgi.plugins.plugin_utils.page.plots import (
    HEIGHT,
    WIDTH,
    Plot,
    last_rate,
    plots,
    seconds,
    spark,
)

Row = Mapping[str, t.Any]

TEMPLATE = "status.html.j2"
NAME = "index.html"
HISTORY = 10  # deployments of an app that are shown
LATELY, LATELY_DAYS = 5, 7  # deployments of all apps that are shown above them, and of how many days


@dataclass(frozen=True)
class Change:
    """A deployment, or a return to an earlier release."""

    when: str
    ago: str
    who: str
    what: str
    source: str
    why: str
    outcome: str


@dataclass(frozen=True)
class Deployment:
    """The same change on one or more hosts.

    Attributes:
        change: What it was, on the first of them.
        app: Of which app.
        hosts: Where.
        place: Where that is on the page.
    """

    change: Change
    app: str
    hosts: tuple[str, ...]
    place: str


@dataclass(frozen=True)
class Card:
    """An app on a host.

    Attributes:
        name: The app.
        host: The host.
        place: Where it is on the page.
        level: C(bad), C(warn) or C(good).
        word: Its state in a word or two.
        word_level: The level of that alone.
        url: Where clients find it; empty when that is nowhere.
        release: The number of its release.
        source: What that was made from.
        since: For how long it has run.
        by: Who deployed it.
        facts: Other things to know, as label and value.
        memory: What it uses of how much.
        memory_share: The same as a share of its limit, in percent; None without one.
        certificate: Days left and what is wrong.
        line: The requests of the day as a small line; empty when they were not counted.
        rate: Requests a second in the last step.
        p99: Of the day.
        errors: Answers of 5xx in the day.
        plots: The day.
        note: What is to be known of the plots, or why there are none.
        failing: What failed most often, with how often.
        changes: What was deployed, the latest first.
    """

    name: str
    host: str
    place: str
    level: str
    word: str
    word_level: str
    url: str
    release: str
    source: str
    since: str
    by: str
    facts: tuple[tuple[str, str], ...]
    memory: str
    memory_share: float | None
    certificate: str
    line: str
    rate: str
    p99: str
    errors: str
    plots: tuple[Plot, ...]
    note: str
    failing: tuple[tuple[str, str], ...]
    changes: tuple[Change, ...]


def render(rows: Iterable[Row], now: float, missing: Iterable[str] = ()) -> str:
    """The page.

    Args:
        rows: The apps, as C(app_status) reads them.
        now: When that was, in seconds since 1970.
        missing: Hosts that should have been looked at and were not.
    """
    shown = list(rows)
    items = attention(shown, missing)
    places = {(row["host"], row["app"]): f"app-{place}" for place, row in enumerate(shown, start=1)}
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(TEMPLATE).render(
        items=items,
        lately=lately(shown, places, now),
        places=places,
        cards=[_card(row, items, places[row["host"], row["app"]], now) for row in shown],
        hosts=len({row["host"] for row in shown}),
        when=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now)),
        width=WIDTH,
        height=HEIGHT,
    )


def lately(rows: Iterable[Row], places: Mapping[tuple[str, str], str], now: float) -> list[Deployment]:
    """What was deployed in the last days, the latest first: whoever looks for a cause asks for that."""
    found: dict[tuple[str, ...], list[tuple[str, Row, Mapping[str, t.Any]]]] = {}
    for row in rows:
        for line in row["history"]:
            if seconds(line.get("time", "")) > now - LATELY_DAYS * 86400:
                same = (
                    row["app"],
                    *(str(line.get(name)) for name in ("who", "action", "source", "outcome", "reasons")),
                )
                day = line["time"][:10]
                found.setdefault((*same, day), []).append((line["time"], row, line))
    groups = sorted(found.values(), key=_latest, reverse=True)[:LATELY]
    return [
        Deployment(
            _change(group[0][2], now),
            group[0][1]["app"],
            tuple(dict.fromkeys(row["host"] for _time, row, _line in group)),
            places[group[0][1]["host"], group[0][1]["app"]],
        )
        for group in (sorted(group, key=lambda one: one[0], reverse=True) for group in groups)
    ]


def _latest(group: Iterable[tuple[str, Row, Mapping[str, t.Any]]]) -> str:
    """When the last of them was."""
    return max(time for time, _row, _line in group)


def write(text: str, directory: str) -> Path:
    """Put the page into a directory, in one step: whoever looks at it meanwhile sees the old one or the new one."""
    folder = Path(directory).expanduser().absolute()
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{NAME}.", dir=folder)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(name, 0o666 & ~mask)
        os.replace(name, folder / NAME)
    except BaseException:
        os.unlink(name)
        raise
    return folder / NAME


def _card(row: Row, items: Iterable[Item], place: str, now: float) -> Card:
    mine = [item for item in items if (item.host, item.app) == (row["host"], row["app"])]
    changes = tuple(_change(line, now) for line in reversed(row["history"][-HISTORY:]))
    day, most, used = row.get("traffic"), row["memory_max_bytes"], memory_used(row)
    memory = f"{words.megabytes(used)} of {words.megabytes(most)}" if most else words.megabytes(used)
    level = "bad" if any(item.urgent for item in mine) else "warn" if mine else "good"
    word, word_level = _word(row, level)
    serving = [line for line in row["history"] if line.get("to") == row["release"] and line.get("outcome") == "ok"]
    return Card(
        name=row["app"],
        host=row["host"],
        place=place,
        level=level,
        word=word,
        word_level=word_level,
        url=row["url"] if str(row.get("url", "")).startswith(("https://", "http://")) else "",
        release=row["release"] or "-",
        source=row["source"] or "-",
        since=_ago(serving[-1].get("time", ""), now) if serving else "",
        by=serving[-1].get("who", "") if serving else "",
        facts=tuple(_facts(row)),
        memory=memory,
        memory_share=min(100.0, 100 * used / most) if used and most else None,
        certificate=_certificate(row),
        line=spark(day) if day else "",
        rate=f"{words.number(last_rate(day))}/s" if day else "-",
        p99=words.milliseconds(day["day_p99"]) if day else "-",
        errors=words.number(sum(day["server_errors"])) if day else "-",
        plots=tuple(plots(day, row["history"])) if day else (),
        note=_note(row),
        failing=tuple(
            (f"{one['method']} {one['path']}", f"{one['status']}, {words.number(one['count'])} times")
            for one in (day or {}).get("failing", [])
        ),
        changes=changes,
    )


def _word(row: Row, level: str) -> tuple[str, str]:
    """The state in a word or two, and its level."""
    if row["maintenance"]:
        return "closed for maintenance", "warn"
    if not row["release"]:
        return "not deployed", "bad"
    if row["health"]:
        return "not healthy", "bad"
    return ("needs attention", level) if level == "bad" else ("healthy", "good")


def _certificate(row: Row) -> str:
    days = row["certificate_days"]
    if days is None:
        return row.get("certificate_problem") or "-"
    return f"{days} day{'' if days == 1 else 's'} left"


def _facts(row: Row) -> t.Iterator[tuple[str, str]]:
    yield "State", row["state"]
    yield "Health", row["health"] or "good"
    yield "Workers", str(row["workers"])
    if row["beside"]:
        yield "Beside it", ", ".join(f"{name}: {state}" for name, state in row["beside"].items())
    yield "Restarts", str(row["restarts"])
    yield "Disk", words.megabytes(row["disk_bytes"])
    yield "To go back to", ", ".join(row["previous"]) or "nothing"
    if "rotation" in row:
        yield "Balancers", row["rotation"] or "-"


def _note(row: Row) -> str:
    day = row.get("traffic")
    if not day:
        return f"No plots: {row.get('uncounted') or 'it has no access log on the host'}."
    notes = []
    if day["since"] > day["start"]:
        since = time.strftime("%H:%M UTC", time.gmtime(day["since"]))
        notes.append(f"There was only the time to count the log since {since}.")
    if day["closed"]:
        notes.append(f"{words.number(day['closed'])} requests met the maintenance page and are not among them.")
    return " ".join(notes)


def _change(line: Mapping[str, t.Any], now: float) -> Change:
    verb = {"deploy": "deployed", "rollback": "went back to"}.get(line.get("action", ""), line.get("action", "-"))
    return Change(
        when=words.moment(line.get("time", "-")),
        ago=_ago(line.get("time", ""), now),
        who=line.get("who", "-"),
        what=f"{verb} release {line.get('to') or '-'}",
        source=line.get("source") or "-",
        why=", ".join(line.get("reasons", [])),
        outcome=line.get("outcome", "-"),
    )


def _ago(moment: str, now: float) -> str:
    when = seconds(moment)
    return f"{words.duration(now - when)} ago" if 0 < when <= now else ""
