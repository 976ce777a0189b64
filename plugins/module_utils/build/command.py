# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running a program inside the sandbox of a build.

This module has no imports beyond the standard library: its text is sent into the sandbox.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


def attempt(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], together: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, without input; how it ended is the caller's to judge.

    Args:
        command: The program and its arguments.
        folder: Where it runs.
        environment: All variables that it gets.
        together: Whether standard error is kept in its place among the output.

    Raises:
        OSError: It cannot be run.
    """
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if together else subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
        umask=0o022,
    )
