# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands that a configuration tree is validated and reloaded with, and what they print."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess

from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.files import TreeError

COMMAND_TIMEOUT = 120.0


def run(command: str, umask: int = -1) -> subprocess.CompletedProcess[str]:
    """Run a command line without a shell.

    :param umask: permissions that files which the command makes do not get; those of this process by default.
    :raises TreeError: its program does not exist, or it does not end within COMMAND_TIMEOUT seconds.
    """
    environment = {**os.environ, "PATH": search_path(), "LC_ALL": "C.UTF-8", "LANG": "C.UTF-8"}
    try:
        return subprocess.run(
            shlex.split(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMMAND_TIMEOUT,
            env=environment,
            umask=umask,
            check=False,
        )
    except FileNotFoundError as error:
        raise TreeError(f"`{command}`: there is no program {shlex.split(command)[0]} on this host") from error
    except subprocess.TimeoutExpired as error:
        raise TreeError(f"`{command}` did not end within {COMMAND_TIMEOUT:.0f} s") from error


def search_path() -> str:
    """PATH with the system directories, which an unprivileged user's sudo may leave out."""
    return os.environ.get("PATH", os.defpath) + ":/usr/local/sbin:/usr/sbin:/sbin"


def has_program(command: str) -> bool:
    """Whether the program a command line starts with can be found."""
    return shutil.which(shlex.split(command)[0], path=search_path()) is not None


def tidy(line: str) -> str:
    """A line of nginx's log without its time and process id."""
    return re.sub(r"^(nginx: )?(?:\d{4}/\d\d/\d\d [\d:]+ )?(\[\w+\]) (?:\d+#\d+: )?(?:\*\d+ )?", r"\1\2 ", line)
