# SPDX-License-Identifier: GPL-3.0-or-later
"""The page as text: what stands on it, that nothing on it is code, and how it gets to its place."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from a_day import NOW, day
from ansible_collections.webops.wsgi.plugins.plugin_utils.page import page, words

Row = Callable[..., dict[str, Any]]
HOSTILE = "\"><script>alert(1)</script><img src=x onerror='alert(2)'>' onload=alert(3) {{ 7 * 7 }} </title></style>"


class Elements(HTMLParser):
    """All elements and attributes of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_what_a_person_looks_for_is_there(row: Row) -> None:
    text = Elements(page.render([row(), row(app="shop", health="answered 502")], NOW, ["web3"])).text
    for wanted in (
        "2 to look at",
        "web3 could not be reached",
        "is not healthy: answered 502",
        "ansible-playbook webops.wsgi.explain -e app=shop",
        "60 days left",
        "81 MB of 400 MB",
        "1/s",
        "90 ms",
        "86,400 requests",
        "2026-11-28 11:00:00 UTC",
        "ada@laptop",
        "deployed release 5",
        "deployed 3 hours ago by ada@laptop",
        "2 on 1 host, as of 2026-11-28 14:00 UTC",
    ):
        assert wanted in text.replace("\n", ""), wanted


def test_all_well(row: Row) -> None:
    text = Elements(page.render([row()], NOW)).text
    assert "all well" in text
    assert "Needs attention" not in text


def test_whatever_an_app_is_called_and_a_client_sends_is_text(row: Row) -> None:
    failing = [{"method": HOSTILE, "path": HOSTILE, "status": 502, "count": 900}]
    errors = [0] * 143 + [900]
    line = dict.fromkeys(("who", "action", "from", "to", "source", "outcome"), HOSTILE)
    nasty = row(
        **dict.fromkeys(("host", "app", "release", "source", "state", "health", "shortage", "rotation"), HOSTILE),
        certificate_problem=HOSTILE,
        url=f"javascript:{HOSTILE}",
        beside={HOSTILE: HOSTILE},
        previous=[HOSTILE],
        faults=[{"process": HOSTILE, "text": HOSTILE, "count": 1, "fix": HOSTILE}],
        history=[{**line, "time": "2026-11-28T11:00:00Z", "reasons": [HOSTILE]}, {"time": HOSTILE}],
        traffic=day(server_errors=errors, failing=failing),
    )
    found = Elements(page.render([nasty, row(host=HOSTILE, traffic=None, uncounted=HOSTILE)], NOW, [HOSTILE]))
    assert not found.tags & {"script", "img", "iframe", "object", "embed", "form", "base"}
    assert not [name for name, _value in found.attributes if name.startswith("on") or name == "src"]
    links = [value for name, value in found.attributes if name in ("href", "xlink:href")]
    assert all(link == "data:," or re.fullmatch(r"#app-\d+|https://api\.example\.com/", link) for link in links), links
    assert "49" not in found.text.replace("2026", "")
    assert HOSTILE in found.text


def test_what_was_deployed_lately_is_told_once_for_all_hosts(row: Row) -> None:
    line = {"who": "ada@laptop", "action": "deploy", "to": "5", "source": "reports==1.4.2", "outcome": "ok"}
    first = {**line, "time": "2026-11-28T11:00:00Z"}
    later = {**line, "time": "2026-11-28T13:00:00Z", "source": "reports==1.5", "outcome": "failed"}
    old = {**line, "time": "2026-11-20T11:00:00Z"}
    rows = [row(history=[old, first]), row(host="web2", history=[first, later]), row(app="new", history=[])]
    places = {(one["host"], one["app"]): f"app-{one['host']}" for one in rows}
    latest, before = page.lately(rows, places, NOW)
    assert (latest.app, latest.hosts, latest.change.outcome, latest.change.ago) == (
        "api",
        ("web2",),
        "failed",
        "1 hour ago",
    )
    assert (before.hosts, before.change.source, before.place) == (("web1", "web2"), "reports==1.4.2", "app-web1")
    many = [row(app=f"app{number}", history=[{**first, "source": str(number)}]) for number in range(50)]
    places = {(one["host"], one["app"]): "" for one in many}
    assert len(page.lately(many, places, NOW)) == page.LATELY


def test_it_is_told_why_there_are_no_plots(row: Row) -> None:
    text = Elements(page.render([row(traffic=None, uncounted="nginx_proxy_access_log is off")], NOW)).text
    assert "No plots: nginx_proxy_access_log is off." in text


def test_a_log_that_is_not_there_is_not_a_day_without_requests(row: Row) -> None:
    text = Elements(page.render([row(traffic=None, uncounted="")], NOW)).text
    assert "No plots: it has no access log on the host." in text


def test_an_app_that_never_served(row: Row) -> None:
    never = row(release="", source="", state="absent", health="does not run", history=[], certificate_days=None)
    assert "no release serves" in Elements(page.render([never], NOW)).text


def test_it_is_told_what_was_not_counted(row: Row) -> None:
    text = Elements(page.render([row(traffic=day(since=NOW - 3600, closed=7))], NOW)).text
    assert "There was only the time to count the log since 13:00 UTC." in text
    assert "7 requests met the maintenance page" in text


def test_what_was_recorded_on_a_host(recorded: list[dict[str, Any]]) -> None:
    found = Elements(page.render(recorded, recorded[0]["traffic"]["start"] + 86400 + 30))
    assert "svg" in found.tags
    assert len(page.render(recorded, NOW)) < 120_000


def test_it_is_written_in_one_step(tmp_path: Path) -> None:
    folder = tmp_path / "of" / "status"
    assert page.write("first", str(folder)) == folder / "index.html"
    page.write("second", str(folder))
    assert [file.name for file in folder.iterdir()] == ["index.html"]
    assert (folder / "index.html").read_text() == "second"
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        page.write("third", str(tmp_path / "file"))


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.123, "0.12"), (3, "3"), (42.4, "42"), (1234.5, "1,234"), (86400, "86,400")]
)
def test_numbers(value: float, text: str) -> None:
    assert words.number(value) == text


def test_durations_and_latencies() -> None:
    assert [words.duration(seconds) for seconds in (5, 60, 7300, 200000)] == [
        "less than a minute",
        "1 minute",
        "2 hours",
        "2 days",
    ]
    assert [words.milliseconds(value) for value in (None, 3.09, 297, 1500)] == ["-", "3.1 ms", "300 ms", "1.5 s"]
