"""Where a file runs is told by its path: plugin_utils on the controller, module_utils on hosts, or on both."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from roles import ROOT

PLUGINS = ROOT / "plugins"
CONTROLLER = "plugins.plugin_utils"
ON_HOSTS = sorted([*PLUGINS.glob("modules/*.py"), *PLUGINS.glob("module_utils/**/*.py")])


def imported(file: Path) -> set[str]:
    """The modules that a file imports, and the packages of what it imports from them."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("file", ON_HOSTS, ids=lambda file: str(file.relative_to(PLUGINS)))
def test_hosts_need_nothing_of_the_controller_s(file: Path) -> None:
    wrong = sorted(name for name in imported(file) if CONTROLLER in name or name.startswith("ansible.plugins"))
    assert not wrong, f"{file.relative_to(ROOT)} is sent to hosts and imports {wrong}, of the controller"
