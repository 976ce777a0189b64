# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that run in images, as files: a module of this collection and all that it imports of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import collection_root

PACKAGE = "ansible_collections.webops.wsgi."
STAGE = f"{PACKAGE}plugins.module_utils.image.stage"
HEALTH = f"{PACKAGE}plugins.module_utils.release.health"
MAIN = f"import sys\n\nfrom {STAGE} import main\n\nmain(sys.argv[1:])\n"


def program() -> dict[str, str]:
    """That of the build stage; a directory with its files is run by C(python3 DIRECTORY)."""
    return {"__main__.py": MAIN, **modules(STAGE)}


def modules(first: str) -> dict[str, str]:
    """The files, by name, of a module and of all that it imports."""
    found: dict[str, str] = {}
    waiting = [first]
    while waiting:
        module = waiting.pop()
        name = f"{module.replace('.', '/')}.py"
        if name not in found:
            found[name] = _file(module).read_text(encoding="utf-8")
            waiting.extend(_imported(found[name]))
    return dict(sorted(found.items()))


def _file(module: str) -> Path:
    return Path(collection_root(), *module.removeprefix(PACKAGE).split(".")).with_suffix(".py")


def _imported(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(PACKAGE):
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            modules = [name for name in inner if _file(name).is_file()]
            yield from modules
            if _file(node.module).is_file():
                yield node.module
