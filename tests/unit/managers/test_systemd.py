# SPDX-License-Identifier: GPL-3.0-or-later
"""Environment files and unit states."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.managers import model, systemd
from ansible_collections.webops.wsgi.plugins.module_utils.managers.systemd import Systemd, UnitState, environment_file


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


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What journalctl prints."""
    printed, program = tmp_path / "printed", tmp_path / "journalctl"
    program.write_text(f"#!/bin/sh\ncat {printed}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return printed


def test_journal_with_bytes_that_are_no_text(journal: Path) -> None:
    journal.write_bytes(b"caf\xe9 is closed\n\n")
    assert Systemd().journal("api@1.service", 10) == "caf\N{REPLACEMENT CHARACTER} is closed"


def test_journal_with_endless_lines_is_short(journal: Path) -> None:
    journal.write_text(f"{'x' * 10**6}\nthe reason\n")
    first, second = Systemd().journal("api@1.service", 10).splitlines()
    assert len(first) == model.LINE_LENGTH + 2
    assert second == "the reason"


def test_journal_that_cannot_be_read_is_no_failure_of_its_own(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd, "COMMAND_TIMEOUT", 0)
    assert Systemd().journal("api@1.service", 10).startswith("(it cannot be read: journalctl --unit api@1.service")
