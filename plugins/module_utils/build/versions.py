# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Projects that ask git for their version: a build has no repository, so their tools are told it, each in its own way.

This module has no imports beyond the standard library and those of its kind: its text is sent into the sandbox of a
build.
"""

from __future__ import annotations

import configparser
import re
import tomllib
from pathlib import Path
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.build.requirements import requirement_name

FILES = ("pyproject.toml", "setup.cfg", "setup.py")
# By what a project needs to be built: the variable with its version.
VARIABLES = {
    "hatch-vcs": "SETUPTOOLS_SCM_PRETEND_VERSION",  # it does not tell setuptools-scm whose version it wants
    "pbr": "PBR_VERSION",
    "pdm-backend": "PDM_BUILD_SCM_VERSION",
    "poetry-dynamic-versioning": "POETRY_DYNAMIC_VERSIONING_BYPASS",
    "uv-dynamic-versioning": "UV_DYNAMIC_VERSIONING_BYPASS",
}
SETUPTOOLS_SCM = "setuptools-scm"
_OLD_SETUPTOOLS_SCM = re.compile(r"use_scm_version|setuptools[_-]scm")


def version_variables(source: Path, version: str) -> dict[str, str]:
    """The variables that tell the projects in a source tree their version; none where git knows of none."""
    folders = {path.parent for name in FILES for path in source.rglob(name)} if version else ()
    names = {name for folder in folders for name in _variables(folder)}
    return dict.fromkeys(sorted(names), version)


def _variables(folder: Path) -> set[str]:
    project, configuration = _toml(folder / "pyproject.toml"), _ini(folder / "setup.cfg")
    needs = {requirement_name(str(need)) for need in _list(_table(project, "build-system"), "requires")}
    found = {variable for tool, variable in VARIABLES.items() if tool in needs}
    old = "".join(_text(folder / name) for name in ("setup.py", "setup.cfg"))
    if SETUPTOOLS_SCM in needs or _OLD_SETUPTOOLS_SCM.search(old):
        name = str(_table(project, "project").get("name") or configuration.get("metadata", "name", fallback=""))
        own = f"_FOR_{re.sub(r'[-_.]+', '_', name).upper()}" if name else ""
        found.add(f"SETUPTOOLS_SCM_PRETEND_VERSION{own}")
    return found


def _toml(path: Path) -> dict[str, Any]:
    """A file that may be a template or a test's broken one, and that its tool will complain of if it matters."""
    try:
        return tomllib.loads(_text(path))
    except tomllib.TOMLDecodeError:
        return {}


def _ini(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(_text(path))
    except configparser.Error:
        parser.clear()
    return parser


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _table(data: dict[str, Any], key: str) -> dict[str, Any]:
    found = data.get(key)
    return found if isinstance(found, dict) else {}


def _list(data: dict[str, Any], key: str) -> list[Any]:
    found = data.get(key)
    return found if isinstance(found, list) else []
