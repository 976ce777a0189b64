"""SECURITY.md names, for every promise, files that show it is kept."""

from __future__ import annotations

import re

import pytest
from roles import ROOT

NAMED = re.findall(r"`((?:molecule|tests)/[^`]+)`", (ROOT / "SECURITY.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", sorted(set(NAMED)))
def test_what_shows_a_promise_is_there(path: str) -> None:
    assert (ROOT / path).is_file()
