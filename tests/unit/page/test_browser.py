# SPDX-License-Identifier: GPL-3.0-or-later
"""The page in a real browser: as narrow as a phone, by day and by night, with the network looked at."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webops.wsgi.plugins.plugin_utils.page import page
from browser import Browser, browser
from testbed import errors
from testbed.engine import need

Row = Callable[..., dict[str, Any]]
CHROMIUM = "chromium"
LONG = "a-name-without-a-place-to-break-it-that-is-wider-than-any-phone"
# Of an element that is as high as it is: the luminance of its background and of its text, from 0 to 1.
LIGHT = """(selector => {
  const light = text => { const [r, g, b] = text.match(/[\\d.]+/g).map(Number); return (.21*r + .72*g + .07*b) / 255 };
  const style = getComputedStyle(document.querySelector(selector));
  return [light(style.backgroundColor), light(style.color)];
})"""


@pytest.fixture(scope="module")
def tab() -> Iterator[Browser]:
    """A tab of the browser; it is installed where it is missing."""
    try:
        need(CHROMIUM, CHROMIUM)
    except errors.TestbedError as error:
        pytest.skip(str(error))
    with browser(str(shutil.which(CHROMIUM))) as opened:
        yield opened


@pytest.fixture
def pages(tmp_path: Path, recorded: list[dict[str, Any]], row: Row) -> list[Path]:
    """The page of a host that was recorded, and one of everything that is long and everything that is wrong."""
    end = recorded[0]["traffic"]["start"] + 86400
    fault = {"process": LONG, "text": LONG * 2, "count": 3, "fix": f"/{LONG}" * 3}
    line = dict.fromkeys(("who", "action", "from", "to", "source"), LONG)
    bad = row(
        **dict.fromkeys(("host", "app", "source", "health", "shortage", "certificate_problem", "rotation"), LONG),
        url=f"https://{LONG}.example.com/{LONG}",
        faults=[fault],
        history=[{**line, "time": "2026-11-28T11:00:00Z", "reasons": [LONG, LONG], "outcome": "failed"}],
    )
    bad["traffic"]["failing"] = [{"method": "GET", "path": f"/{LONG}" * 4, "status": 502, "count": 8}]
    bad["traffic"]["server_errors"][-1] = 900
    texts = [page.render(recorded, end), page.render([bad] * 3, end, [LONG])]
    written = []
    for number, text in enumerate(texts):
        written.append(tmp_path / f"{number}.html")
        # What is folded is looked at as well.
        written[-1].write_text(text.replace("<details>", "<details open>"), encoding="utf-8")
    return written


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [320, 768, 1280])
def test_it_is_as_wide_as_the_screen_and_asks_nobody(tab: Browser, pages: list[Path], width: int, dark: bool) -> None:
    for path in pages:
        tab.open(path, width, dark)
        assert tab.value("document.documentElement.scrollWidth") <= width
        assert tab.requests == [path.as_uri()]
        assert tab.complaints == []


@pytest.mark.parametrize("selector", ["body", ".card", ".pill"])
def test_by_day_and_by_night_it_can_be_read(tab: Browser, pages: list[Path], selector: str) -> None:
    for dark in (False, True):
        tab.open(pages[1], 768, dark)
        back, text = tab.value(f"{LIGHT}('{selector}')")
        assert (back < text) == dark
        assert abs(back - text) > 0.3


def test_what_an_app_is_called_does_not_run(tab: Browser, tmp_path: Path, row: Row) -> None:
    nasty = "\"><script>window.ran=1</script><img src='https://example.com/x' onerror='window.ran=1'>"
    path = tmp_path / "nasty.html"
    path.write_text(page.render([row(app=nasty, host=nasty, source=nasty, health=nasty)], 1795874400), encoding="utf-8")
    tab.open(path, 768, dark=False)
    assert tab.value("window.ran") is None
    assert (tab.requests, tab.complaints) == ([path.as_uri()], [])


def test_who_clicks_on_what_needs_attention_gets_to_the_app(tab: Browser, pages: list[Path]) -> None:
    tab.open(pages[1], 768, dark=False)
    tab.value("document.querySelector('.attention a').click()")
    assert tab.value("document.querySelector(location.hash).className") == "card"
