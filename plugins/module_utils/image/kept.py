# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The image that a build has with an engine: whether it is still there, and its removal.

Every run looks at this, so it needs nothing that a run without images would have to load.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

ENGINE = "engine"  # file of a build that says which engine has its image


def has_image(build: Path) -> bool:
    """Whether the engine still has the image of a build, or it needs none: a person may have removed unused ones."""
    engine, image = _noted(build)
    if not engine:
        return True
    return bool(shutil.which(engine)) and _run(engine, "image", "inspect", image) == 0


def forget_image(build: Path) -> None:
    """Remove the image of a build that nobody needs any more, unless another build has it too."""
    engine, image = _noted(build)
    others = (other.parent for other in build.parents[2].glob(f"*/builds/*/{ENGINE}"))
    if engine and not any(other != build and _noted(other) == (engine, image) for other in others):
        # One that still runs, or that a person has named, stays.
        _run(engine, "rmi", image)


def _noted(build: Path) -> tuple[str, str]:
    """The engine of a build and its image; empty for a build without one."""
    note = build / ENGINE
    engine, _space, image = note.read_text().strip().partition(" ") if note.exists() else ("", "", "")
    return engine, image


def _run(*command: str) -> int:
    return subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL).returncode
