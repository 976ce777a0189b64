# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read on a host, but for what needs one."""

from __future__ import annotations

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.explain.look import written_since


@pytest.mark.parametrize(
    ("before", "after", "new"),
    [
        ([], ["a"], ["a"]),
        (["a", "b"], ["a", "b"], []),
        (["a", "b"], ["a", "b", "c"], ["c"]),
        (["a", "b", "c"], ["c", "d", "e"], ["d", "e"]),  # only the last lines are read
        (["a", "a"], ["a", "a", "a"], ["a"]),
        (["a"], ["x", "y"], ["x", "y"]),
    ],
)
def test_written_since(before: list[str], after: list[str], new: list[str]) -> None:
    assert written_since(before, after) == new
