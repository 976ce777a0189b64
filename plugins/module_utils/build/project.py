# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a project's own files say: which of them decides what is installed, and whether the project is a package.

This module has no imports beyond the standard library and those of its kind: its text is sent into the sandbox of a
build.
"""

from __future__ import annotations

import ast
import os
import re
import sys
import tomllib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.build.inputs import BuildError, BuildInputs

UV, POETRY, PDM, PIPENV, PYLOCK = "uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "pylock.toml"
LOCKS = (UV, POETRY, PDM, PIPENV, PYLOCK)
PROJECT = "pyproject.toml"
SETUP_CFG = "setup.cfg"
# Without a lock, the first of these decides.
OPEN = ("requirements.txt", PROJECT, "setup.py", SETUP_CFG)
# https://packaging.python.org/en/latest/specifications/pylock-toml/#file-name
_NAMED_PYLOCK = re.compile(r"pylock\.[^.]+\.toml")


def deciding_file(source: Path, inputs: BuildInputs) -> Path | None:
    """The file that says what is installed, or None when there is none.

    A lock comes before what it was made from, and one that C(python.requirements) names before all others.

    Args:
        source: The whole source tree.
        inputs: What to build.

    Raises:
        BuildError: The named file does not exist in the source, or several locks contradict one another.
    """
    folder = source / inputs.subdirectory
    if inputs.requirements:
        named = folder / inputs.requirements
        if not named.is_file():
            raise BuildError(
                f'app "{inputs.app}": python.requirements is "{inputs.requirements}", which {inputs.label} '
                "does not hold; name a file of the source"
            )
        return named
    locks = [folder / name for name in LOCKS if (folder / name).is_file()]
    if len(locks) > 1:
        names = " and ".join(lock.name for lock in locks)
        raise BuildError(
            f'app "{inputs.app}": {inputs.label} has {names}, and one of them must decide what is installed; '
            "remove the others, or name the right one with python.requirements"
        )
    found = [*locks, *_lock_of_workspace(source, folder, inputs), *(folder / name for name in OPEN)]
    return next((path for path in found if path.is_file()), None)


def _lock_of_workspace(source: Path, folder: Path, inputs: BuildInputs) -> list[Path]:
    """The uv.lock of the workspace that a project is a member of: it lies in a directory above it."""
    if folder == source or not (folder / PROJECT).is_file():
        return []
    above = [path for path in folder.parents if path == source or source in path.parents]
    return [path / UV for path in above if (path / UV).is_file() and _locked_project(path / UV, folder, inputs)][:1]


def lock_kind(path: Path) -> str:
    """Which of C(LOCKS) a file is; empty for one that is no lock."""
    if _NAMED_PYLOCK.fullmatch(path.name):
        return PYLOCK
    return path.name if path.name in LOCKS else ""


def read(path: Path, inputs: BuildInputs) -> dict[str, Any]:
    """A TOML file; empty where there is none.

    Raises:
        BuildError: It is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise BuildError(f'app "{inputs.app}": {path.name} of {inputs.label} cannot be read: {error}') from None


def _table(data: dict[str, Any], *keys: str) -> dict[str, Any]:
    """A table within a table; empty where there is none, or something else."""
    for key in keys:
        found = data.get(key)
        data = found if isinstance(found, dict) else {}
    return data


def _locked_project(lock: Path, folder: Path, inputs: BuildInputs) -> dict[str, Any]:
    """The source of a project in a uv.lock; empty where it is none of its members."""
    place = os.path.relpath(folder, lock.parent)
    for package in read(lock, inputs).get("package", []):
        origin = _table(package, "source")
        if place in (origin.get("editable"), origin.get("virtual"), origin.get("directory")):
            return origin
    return {}


def is_package(folder: Path, lock: Path, inputs: BuildInputs) -> bool:
    """Whether the tool that made a lock installs the project itself, not its dependencies alone."""
    kind, project = lock_kind(lock), read(folder / PROJECT, inputs)
    if kind == UV:
        return "virtual" not in _locked_project(lock, folder, inputs)
    if kind == POETRY:
        return _table(project, "tool", "poetry").get("package-mode") is not False
    if kind == PDM:
        return bool(_table(project, "tool", "pdm").get("distribution", "build-system" in project))
    return kind == PYLOCK and "build-system" in project


def is_settled(folder: Path, lock: Path, inputs: BuildInputs) -> bool:
    """Whether a lock and the project's file settle an environment to the last file: nothing in it is of the source."""
    if lock_kind(lock) != UV or is_package(folder, lock, inputs):
        return False
    place = os.path.relpath(folder, lock.parent)
    origins = [_table(package, "source") for package in read(lock, inputs).get("package", [])]
    return all("registry" in origin or origin.get("virtual") == place for origin in origins)


def project_runs(file: Path, folder: Path, inputs: BuildInputs) -> list[list[str]]:
    """The arguments of the installer runs for a project without a lock; relative paths count from the app's directory.

    A project without a build back end is a list of dependencies, as C(uv init) makes it, unless something says that it
    is a package: installers would build it with setuptools, which refuses any directory that it does not expect.

    Raises:
        BuildError: Only Poetry knows what to install.
    """
    data, place = read(file, inputs), os.path.relpath(file.parent, folder)
    project, poetry = _table(data, "project"), _table(data, "tool", "poetry")
    groups = [["--group", f"{file}:{name}"] for name in inputs.groups]
    extras = f"[{','.join(inputs.extras)}]" if inputs.extras else ""
    if poetry.get("package-mode") is False and "dependencies" not in project:
        raise BuildError(
            f'app "{inputs.app}": the pyproject.toml of {inputs.label} has package-mode = false, so that only Poetry '
            "can tell what it needs; commit its poetry.lock too, made by `poetry lock`"
        )
    virtual = poetry.get("package-mode") is False or _table(data, "tool", "uv").get("package") is False
    if not virtual and _has_package(file.parent, data):
        return [[f"./{place}{extras}"], *groups]
    if _table(data, "tool", "uv", "sources"):
        if inputs.installer != "uv":
            raise BuildError(
                f'app "{inputs.app}": the pyproject.toml of {inputs.label} has tool.uv.sources, which pip does not '
                "read; set python.installer to uv"
            )
        named = [part for extra in inputs.extras for part in ("--extra", extra)]
        return [["-r", str(file), *named], *groups]
    optional = _table(project, "optional-dependencies")
    for extra in inputs.extras:
        if extra not in optional:
            raise BuildError(
                f'app "{inputs.app}": python.extras has "{extra}", which the pyproject.toml of {inputs.label} does '
                f"not define; it defines {', '.join(sorted(optional)) or 'none'}"
            )
    wanted = [*project.get("dependencies", []), *(line for extra in inputs.extras for line in optional[extra])]
    return [*([wanted] if wanted else []), *groups]


def _has_package(folder: Path, data: dict[str, Any]) -> bool:
    project = _table(data, "project")
    signs = ("dynamic", "scripts", "gui-scripts", "entry-points")
    return (
        "build-system" in data
        or "setuptools" in _table(data, "tool")
        or any(sign in project for sign in signs)
        or any((folder / name).exists() for name in ("setup.py", "setup.cfg", "src"))
    )


def foreign_imports(source: Path, server: str) -> list[str]:
    """The modules that a tree imports, always and not in tests, and that neither it nor its server nor Python has."""
    files = [path for path in source.rglob("*.py") if not _is_test(path.relative_to(source))]
    own = {path.stem for path in files} | {path.parent.name for path in files} | {server, "__main__"}
    found = {name for path in files for name in _imports(path)}
    return sorted(found - own - sys.stdlib_module_names)


def _is_test(path: Path) -> bool:
    return path.name.startswith(("test_", "conftest.")) or bool({"tests", "test", "docs"}.intersection(path.parts[:-1]))


def _imports(path: Path) -> Iterator[str]:
    """The top-level names that a file imports whenever it is imported itself."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            statements = ast.parse(path.read_bytes()).body
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):  # a template of Python code
        return
    for statement in statements:
        if isinstance(statement, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom) and not statement.level and statement.module:
            yield statement.module.partition(".")[0]
