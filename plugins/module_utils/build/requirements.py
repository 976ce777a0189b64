# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is installed for a build, in which runs of the installer.

This module has no imports beyond the standard library and those of its kind: its text is sent into the sandbox of a
build.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import Path

from ansible_collections.webops.wsgi.plugins.module_utils.build.inputs import (
    BUILD_FORMAT,
    BuildError,
    BuildInputs,
    without_credentials,
)
from ansible_collections.webops.wsgi.plugins.module_utils.build.project import PROJECT, is_settled, project_runs
from ansible_collections.webops.wsgi.plugins.module_utils.build.reuse import recipe


def environment_recipe(runs: list[list[str]], inputs: BuildInputs) -> str:
    """What names the virtual environment of a build; empty for one that no other build can take over.

    The server is part of it even where the app brings its own, which nobody knows before it is installed.
    """
    if inputs.installer != "uv":  # the scripts in an environment that pip fills know their place
        return ""
    server = [[inputs.server]] if inputs.server else []
    return recipe([*runs, *server], *_made_with(inputs))


def locked_recipe(lock: Path, folder: Path, inputs: BuildInputs) -> str:
    """The same for a build with a lock."""
    if inputs.installer != "uv" or not is_settled(folder, lock, inputs):
        return ""
    texts = [lock.read_text(errors="replace"), (folder / PROJECT).read_text(errors="replace")]
    beside = [[requirement] for requirement in (*inputs.packages, inputs.server) if requirement]
    return recipe(beside, *texts, *inputs.extras, "", *inputs.groups, *_made_with(inputs))


def _made_with(inputs: BuildInputs) -> list[str]:
    indexes = map(without_credentials, (inputs.index_url, *inputs.extra_index_urls))
    variables = (f"{name}={value}" for name, value in sorted(inputs.environment.items()))
    return [str(BUILD_FORMAT), inputs.python, inputs.interpreter, *indexes, *variables]


def requirement_sets(decides: Path | None, folder: Path, inputs: BuildInputs) -> list[list[str]]:
    """The arguments of each installer run without a lock, but for those of C(further).

    Args:
        decides: The file that says what is installed.
        folder: The app's own directory.
        inputs: What to build.

    Raises:
        BuildError: The file has no extras or groups, and some are asked for.
    """
    if decides and decides.suffix in (".toml", ".py", ".cfg"):
        if decides.name == PROJECT:
            return project_runs(decides, folder, inputs)
        place = os.path.relpath(decides.parent, folder)
        return [[f"./{place}[{','.join(inputs.extras)}]" if inputs.extras else f"./{place}"]]
    if inputs.extras or inputs.groups:
        name = decides.name if decides else "no file"
        raise BuildError(
            f'app "{inputs.app}": python.extras or python.groups is set, but {name} decides what is installed, and '
            "that has neither; remove them, or name a pyproject.toml or a lock with python.requirements"
        )
    return [["-r", str(decides)]] if decides else []


def further(inputs: BuildInputs) -> list[list[str]]:
    """What is installed after the app's own requirements, which come first and alone.

    A file with hashes admits no requirement without one.
    """
    extra = [*inputs.packages, *([inputs.source["package"]] if "package" in inputs.source else [])]
    return [extra] if extra else []


def lacks_server(inputs: BuildInputs, installed: Collection[str]) -> bool:
    """Whether the app has not brought a server; any of the server's packages is one."""
    packages = inputs.server_packages or [requirement_name(inputs.server)]
    return bool(inputs.server) and not any(package in installed for package in packages)


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
