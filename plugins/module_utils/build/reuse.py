# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Virtual environments that a build takes over from an earlier one with the same requirements.

A deployment of changed code alone installs nothing then: the files of the environment are linked, not copied. All of
them are root's, and no build can change them.

This module has no imports beyond the standard library: its text is sent into the sandbox of a build.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

# name==version, with extras and a marker if need be; a version such as 1.* is not one version.
PINNED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\s*(\[[^\]]*\])?\s*==\s*[^\s;,*]+\s*(;.*)?")


def recipe(runs: Iterable[Sequence[str]], *made_with: str) -> str:
    """Digest of everything that shapes an environment; empty where the requirements leave it open what that is.

    Args:
        runs: The arguments of each installer run, as C(build.requirement_sets) gives them.
        made_with: Whatever else shapes it, such as the interpreter.
    """
    requirements: list[list[str]] = []
    for arguments in runs:
        named = [Path(arguments[1]).read_text(errors="replace")] if arguments[0] == "-r" else list(arguments)
        if not all(is_pinned(line) for text in named for line in lines(text)):
            return ""
        requirements.append(named)
    return hashlib.sha256(json.dumps([requirements, made_with]).encode()).hexdigest()[:16]


def lines(text: str) -> list[str]:
    """The requirements of a requirements file, without comments and hashes.

    The format is that of https://pip.pypa.io/en/stable/reference/requirements-file-format/.
    """
    whole = re.sub(r"\\\n", " ", text)
    bare = (re.sub(r"(^|\s)#.*|\s--hash=\S+", "", line).strip() for line in whole.splitlines())
    return [line for line in bare if line]


def is_pinned(requirement: str) -> bool:
    """Whether a requirement has one version; options, paths and addresses have none."""
    return PINNED.fullmatch(requirement) is not None


def earlier(builds: Path, wanted: str) -> Path | None:
    """The environment of a complete build that was made by a recipe; None where there is none."""
    return recipes(builds).get(wanted)


def recipes(builds: Path) -> dict[str, Path]:
    """The environments of complete builds that others can take over, by recipe."""
    found: dict[str, Path] = {}
    for description in sorted(builds.glob("*/build.json")):
        try:
            made = json.loads(description.read_text()).get("recipe")
        except ValueError:
            continue
        if made and (description.parent / "venv").is_dir():
            found.setdefault(made, description.parent / "venv")
    return found


def take_over(environment: Path, venv: Path) -> None:
    """Link every file of an environment, which nobody writes to, to a new place."""
    shutil.copytree(environment, venv, symlinks=True, copy_function=os.link)
