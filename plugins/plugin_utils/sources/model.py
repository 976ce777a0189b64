# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every kind of source is, and what goes wrong with one."""

from __future__ import annotations

import fcntl
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.webops.wsgi.plugins.module_utils.build import archive as tree_archive

NETWORK_TIMEOUT = 60  # seconds for one answer of a git or archive server


class SourceError(Exception):
    """A source that cannot be read; the message says which, why and what to do."""


@dataclass(frozen=True)
class Source:
    """A source resolved to an exact state.

    Attributes:
        identity: What the build digest is made from; equal identities mean equal code.
        label: The source in a person's words, such as C(git v1.4.2 (1a2b3c4)).
        write: Writes the canonical tar archive to a path; None for a package, which the host installs itself.
        version: What git says of the code, for projects that ask it for their version; empty where there is no git.
    """

    identity: dict[str, str]
    label: str
    write: Callable[[Path], None] | None
    version: Callable[[], str] = str


@contextmanager
def naming(what: str) -> Iterator[None]:
    """Say of what source a tree is that is not taken."""
    try:
        yield
    except tree_archive.TreeError as error:
        raise SourceError(f"{what} {error}; {error.fix}") from None


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock of a cache entry: hosts are served by parallel processes of one controller."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # sources may be private
    with open(path.parent / f"{path.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def without_credentials(text: str) -> str:
    """A URL, or a text with some, without passwords and without queries, which hold the tokens of signed addresses."""
    return re.sub(r"(://[^\s?#'\"]*)\?[^\s#'\"]*", r"\1", re.sub(r"(?<=://)[^/\s]*@", "", text))


def some(names: Collection[str]) -> str:
    """A few of many names."""
    shown = ", ".join(sorted(names)[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown
