# SPDX-License-Identifier: GPL-3.0-or-later
"""What an app says that it needs, as far as the controller can see it before a build."""

from __future__ import annotations

import os
import re
import typing as t
from pathlib import Path

from ansible_collections.webops.wsgi.plugins.module_utils.build.project import lock_kind
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import App


def declared(app: App) -> tuple[set[str], str] | None:
    """The packages that an app asks for, as ``requirement_names`` gives them, and who asks; None where nobody knows.

    What git and archives hold is not known yet, and what a lock has is known to the tool that made it.
    """
    source, python = app.data["source"], app.data["python"]
    if not app.usable("source", "python.packages", "python.requirements"):
        return None
    own = requirement_names(python.get("packages") or [])
    if source.get("kind") == "package":
        return own | requirement_names([source["package"]]), f"package {source['package']}"
    tree, requirements = tree_at_hand(app), python.get("requirements") or ""
    if source.get("kind") != "path" or not tree:
        return None
    if any(lock_kind(Path(name)) for name in (*os.listdir(tree), requirements)):
        return None
    found, where = declared_packages(tree, requirements or "requirements.txt")
    return own | found, where


def tree_at_hand(app: App) -> str:
    """The app's own source tree when it is a directory on the controller, otherwise an empty string."""
    source = app.data["source"]
    path = source.get("path", "") if app.usable("source") and source.get("kind") == "path" else ""
    tree = os.path.join(path, source["subdirectory"]) if source.get("subdirectory") else path
    return tree if os.path.isdir(tree) else ""


def requirement_names(requirements: t.Iterable[str]) -> set[str]:
    """Normalised names of packages in requirement lines, of their extras, and both together, as ``name[extra]``."""
    names: set[str] = set()
    for line in requirements:
        match = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[([^\]]*)\])?", str(line))
        if match:
            found = [match.group(1), *(match.group(2) or "").split(",")]
            name, *extras = [re.sub(r"[-_.]+", "-", name.strip()).lower() for name in found]
            names.update([name, *extras, *(f"{name}[{extra}]" for extra in extras)])
    return names - {""}


def declared_packages(tree: str, requirements: str) -> tuple[set[str], str]:
    """Packages that a tree's requirements file or ``pyproject.toml`` asks for, and the file that says so."""
    path = os.path.join(tree, requirements)
    if os.path.isfile(path):
        return requirement_names(_requirement_lines(path, set())), requirements
    path = os.path.join(tree, "pyproject.toml")
    if os.path.isfile(path):
        return requirement_names(_pyproject_dependencies(path)), "pyproject.toml"
    return set(), tree


def _requirement_lines(path: str, seen: set[str]) -> list[str]:
    """Requirement lines of a file and of the files it includes with ``-r``; options and comments are left out."""
    real = os.path.realpath(path)
    if real in seen or not os.path.isfile(real):
        return []
    seen.add(real)
    with open(real, encoding="utf-8", errors="replace") as stream:
        text = stream.read()
    lines: list[str] = []
    for line in text.replace("\\\n", " ").splitlines():
        line = re.sub(r"(^|\s)#.*$", "", line).strip()
        include = re.match(r"(?:-r|--requirement)[\s=]*(\S+)", line)
        if include:
            lines.extend(_requirement_lines(os.path.join(os.path.dirname(path), include.group(1)), seen))
        elif line and not line.startswith("-"):
            lines.append(line)
    return lines


def _pyproject_dependencies(path: str) -> list[str]:
    import tomllib

    try:
        with open(path, "rb") as stream:
            project = tomllib.load(stream).get("project", {})
    except (OSError, ValueError):
        return []
    found = project.get("dependencies", []) if isinstance(project, dict) else []
    return [str(item) for item in found] if isinstance(found, list) else []
