# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read of processes, from real ones."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.host.processes import children, family, proportional


@pytest.fixture
def started() -> Iterator[tuple[int, int]]:
    """A shell and what it has started."""
    with subprocess.Popen(["sh", "-c", "sleep 60 & echo $!; wait"], stdout=subprocess.PIPE, text=True) as shell:
        assert shell.stdout
        inner = int(shell.stdout.readline())
        yield shell.pid, inner
        os.kill(inner, 15)


def test_what_a_process_has_started(started: tuple[int, int]) -> None:
    shell, inner = started
    assert shell in children(os.getpid())
    assert children(shell) == [inner]
    assert family(shell) == [shell, inner]
    assert {shell, inner} <= set(family(os.getpid()))


def test_memory_is_a_process_s_share() -> None:
    assert proportional(os.getpid()) > 1_000_000


def test_a_process_that_has_ended_has_nothing() -> None:
    assert (children(0), family(0), proportional(0)) == ([], [0], 0)
