# SPDX-License-Identifier: GPL-3.0-or-later
"""Environment files and unit states."""

from __future__ import annotations

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.systemd import UnitState, environment_file


@pytest.mark.parametrize(
    ("value", "quoted"),
    [
        ("plain", '"plain"'),
        ("two words", '"two words"'),
        ('a"b', '"a\\"b"'),
        ("$HOME `id`", '"\\$HOME \\`id\\`"'),
        ("back\\slash", '"back\\\\slash"'),
        ("two\nlines", '"two\nlines"'),
        ("#no comment", '"#no comment"'),
    ],
)
def test_environment_values_arrive_as_they_are(value: str, quoted: str) -> None:
    assert environment_file({"NAME": value}) == f"NAME={quoted}\n"


def test_environment_file_does_not_depend_on_order() -> None:
    assert environment_file({"B": "2", "A": "1"}) == environment_file({"A": "1", "B": "2"})


@pytest.mark.parametrize(
    ("state", "runs", "broken"),
    [
        (UnitState("active", "running", 0, False), True, False),
        (UnitState("active", "running", 2, False), True, True),
        (UnitState("activating", "auto-restart", 0, False), False, True),
        (UnitState("failed", "failed", 0, False), False, True),
        (UnitState("inactive", "dead", 0, False), False, False),
    ],
)
def test_states(state: UnitState, runs: bool, broken: bool) -> None:
    assert (state.runs, state.broken) == (runs, broken)
