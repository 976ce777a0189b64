# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program git: the environment it gets, the protocols it may speak, and its end when it takes too long."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Mapping

from ansible_collections.webops.wsgi.plugins.plugin_utils.sources.model import SourceError, without_credentials

FETCH_TIMEOUT = 600  # seconds for all of a repository
# What git may speak. Other transports start any program (ext), read descriptors that nobody has opened (fd) or are
# helpers that happen to be installed. http is as weak as git; with a full commit as version, neither can be forged.
GIT_PROTOCOLS = ("https", "http", "ssh", "git", "file")
# Git sets these for its hooks: every git that a hook starts then works on the repository of the hook, whatever its
# arguments say. Others change what git finds in a repository, or keep it from finding one.
GIT_SURROUNDINGS = re.compile(
    r"GIT_(DIR|WORK_TREE|IMPLICIT_WORK_TREE|INDEX_FILE|COMMON_DIR|OBJECT_DIRECTORY|ALTERNATE_OBJECT_DIRECTORIES"
    r"|QUARANTINE_PATH|NAMESPACE|PREFIX|CEILING_DIRECTORIES|ATTR_SOURCE|GRAFT_FILE|SHALLOW_FILE|REPLACE_REF_BASE"
    r"|CONFIG.*|.*_PATHSPECS)"
)
# What neither a person nor a machine has set.
NO_SETTINGS = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_ATTR_NOSYSTEM": "1"}


def git(
    arguments: list[str], url: str, limit: int = FETCH_TIMEOUT, surroundings: Mapping[str, str] | None = None
) -> str:
    try:
        return _run(["git", *arguments], limit, {**git_environment(), **(surroundings or {})})
    except FileNotFoundError:
        raise SourceError("a git source needs the program git on the controller: install it") from None
    except subprocess.TimeoutExpired:
        raise SourceError(f"source.git {without_credentials(url)} did not answer git within {limit} s") from None
    except subprocess.CalledProcessError as error:
        reason = without_credentials(error.stderr.decode(errors="replace").strip())
        raise SourceError(f"source.git {without_credentials(url)}: {reason}") from None


def _run(command: list[str], limit: int, environment: Mapping[str, str]) -> str:
    """Run git, and end it with every program it has started when it takes too long."""
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(
        command, stdin=nothing, stdout=pipe, stderr=pipe, env=environment, start_new_session=True
    ) as process:
        try:
            output, errors = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            # ssh and git-remote-https hold the pipes too, and would be waited for.
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, output, errors)
    return output.decode()


def git_environment() -> dict[str, str]:
    """The environment of every git: nothing in it says which repository, and nothing waits for a person."""
    kept = {name: value for name, value in os.environ.items() if not GIT_SURROUNDINGS.fullmatch(name)}
    return {
        **kept,
        "LC_ALL": "C",  # some answers are told apart by their words
        "GIT_OPTIONAL_LOCKS": "0",  # nothing is written to a person's repository
        "GIT_NO_REPLACE_OBJECTS": "1",  # a commit is what its name says
        "GIT_ALLOW_PROTOCOL": ":".join(GIT_PROTOCOLS),
        # Nobody sits at this terminal: a question for a password would wait for ever.
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_SSH_COMMAND": kept.get("GIT_SSH_COMMAND", "ssh -o BatchMode=yes"),
    }


def git_protocol(url: str) -> str:
    """The protocol that git would speak to a repository.

    See https://git-scm.com/docs/git-clone#_git_urls and https://git-scm.com/docs/gitremote-helpers.
    """
    named = re.match(r"([A-Za-z0-9][A-Za-z0-9+.-]*)(::|://)", url)
    if named:
        return re.sub(r"^(git\+ssh|ssh\+git)$", "ssh", named.group(1))  # two old spellings of git's
    return "ssh" if re.match(r"[^/]*:", url) else "file"
