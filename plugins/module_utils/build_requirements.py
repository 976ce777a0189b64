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
    """What names the virtual environment of a build; empty for one that no other build can take over."""
    if inputs.installer != "uv":  # the scripts in an environment that pip fills know their place
        return ""
    indexes = map(without_credentials, (inputs.index_url, *inputs.extra_index_urls))
    return recipe(runs, str(BUILD_FORMAT), inputs.python, inputs.interpreter, *indexes)


def requirement_sets(source: Path, inputs: BuildInputs) -> list[list[str]]:
    """The arguments of each installer run.

    The app's own requirements come first and alone, because a file with hashes admits no requirement without one.
    The server is added only where the app does not bring it, so that the app's own pin wins.
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
    if inputs.server and not _brings(inputs.server, named, extra):
        extra.append(inputs.server)
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


def _brings(server: str, named: Path | None, extra: list[str]) -> bool:
    name = requirement_name(server)
    if any(requirement_name(requirement) == name for requirement in extra):
        return True
    if named is None:
        return False
    text = named.read_text(errors="replace")
    if named.name == "pyproject.toml":
        return bool(re.search(rf"""["']{name}\b(?!-)""", text, re.IGNORECASE))
    return any(requirement_name(line) == name for line in text.splitlines())


def requirement_name(requirement: str) -> str:
    """The normalised project name of a requirement such as C(Flask[async]>=3)."""
    name = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)", requirement)
    return re.sub(r"[-_.]+", "-", name.group(1)).lower() if name else ""
