# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is installed for a build, in which runs of the installer.

This module has no imports beyond the standard library and those of its kind: its text is sent into the sandbox of a
build.
"""

from __future__ import annotations

import re
from pathlib import Path

from ansible_collections.webops.wsgi.plugins.module_utils.build_inputs import (
    BUILD_FORMAT,
    BuildError,
    BuildInputs,
    without_credentials,
)
from ansible_collections.webops.wsgi.plugins.module_utils.environment_reuse import recipe


def environment_recipe(runs: list[list[str]], inputs: BuildInputs) -> str:
    """What names the virtual environment of a build; empty for one that no other build can take over.

    The server is part of it even where the app brings its own, which nobody knows before it is installed.
    """
    if inputs.installer != "uv":  # the scripts in an environment that pip fills know their place
        return ""
    indexes = map(without_credentials, (inputs.index_url, *inputs.extra_index_urls))
    server = [[inputs.server]] if inputs.server else []
    return recipe([*runs, *server], str(BUILD_FORMAT), inputs.python, inputs.interpreter, *indexes)


def requirement_sets(source: Path, inputs: BuildInputs) -> list[list[str]]:
    """The arguments of each installer run, but for the server's.

    The app's own requirements come first and alone, because a file with hashes admits no requirement without one.
    """
    runs: list[list[str]] = []
    named = requirements_file(source, inputs)
    if named and named.name == "pyproject.toml":
        runs.append([f"./{named.parent.relative_to(source)}"])
    elif named:
        runs.append(["-r", str(named)])
    extra = list(inputs.packages)
    if "package" in inputs.source:
        extra.append(inputs.source["package"])
    if extra:
        runs.append(extra)
    return runs


def requirements_file(source: Path, inputs: BuildInputs) -> Path | None:
    """The file that names the app's requirements, or None when it has none.

    Raises:
        BuildError: The named file does not exist in the source.
    """
    if inputs.requirements:
        named = source / inputs.requirements
        if not named.is_file():
            raise BuildError(
                f'app "{inputs.app}": python.requirements is "{inputs.requirements}", which {inputs.label} '
                "does not hold; name a file of the source"
            )
        return named
    for name in ("requirements.txt", "pyproject.toml"):
        if (source / name).is_file():
            return source / name
    return None


def installed_packages(venv: Path) -> dict[str, str]:
    """Name and version of every distribution in a virtual environment."""
    found = {}
    for info in venv.glob("lib/python*/site-packages/*.dist-info"):
        name, _dash, version = info.name.removesuffix(".dist-info").rpartition("-")
        found[requirement_name(name)] = version
    return found


def requirement_name(requirement: str) -> str:
    """The normalised project name of a requirement such as C(Flask[async]>=3)."""
    name = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)", requirement)
    return re.sub(r"[-_.]+", "-", name.group(1)).lower() if name else ""
