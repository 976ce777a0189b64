# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests here import `trees` from beside them."""

from __future__ import annotations

from pathlib import Path

import pytest
from trees import git, make_tree


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = make_tree(tmp_path / "repository", {"app.py": "one = 1\n"})
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "one")
    git(root, "tag", "-a", "v1", "-m", "v1")
    return root
