"""Playbooks do the same whatever a person's ansible.cfg says."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from roles import ROOT

PLAYBOOKS = sorted([*(ROOT / "playbooks").glob("*.yml"), *(ROOT / "playbooks" / "plays").glob("*.yml")])


@pytest.mark.parametrize("file", PLAYBOOKS, ids=lambda file: file.name)
def test_hosts_wait_for_each_other(file: Path) -> None:
    """With the strategy free, the others would not wait for the host that goes first."""
    for play in yaml.safe_load(file.read_text(encoding="utf-8")):
        assert "ansible.builtin.import_playbook" in play or play["strategy"] == "linear"
