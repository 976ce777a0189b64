# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a configuration tree: what they are, their digests, and their way to the host."""

from __future__ import annotations

import base64
import hashlib
import json
import posixpath
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TOKEN = "@GENERATION@"
NAME_LENGTH = 16


class TreeError(Exception):
    """The tree cannot be put in place. ``str()`` is the whole message for a person.

    ``details`` holds what a program may want: ``file``, ``line``, ``owner``, ``rc``, ``stderr``.
    """

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.details = details


@dataclass(frozen=True)
class TreeFile:
    """One file of the tree: path relative to root, text, permission bits and the label of whom it belongs to.

    ``group`` is the name of the file's group, the process's own when empty.
    """

    dest: str
    content: str
    mode: int = 0o644
    owner: str = ""
    group: str = ""


def as_bytes(text: str) -> bytes:
    """UTF-8; bytes of a kept file that were no text come through unchanged."""
    return text.encode(errors="surrogateescape")


def stamped(item: TreeFile, generation: str) -> bytes:
    """Bytes to write: the text with the token replaced by the generation's name."""
    return as_bytes(item.content.replace(TOKEN, generation))


def directories_of(files: Mapping[str, Any]) -> frozenset[str]:
    """All directories (relative) that the files need."""
    found: set[str] = set()
    for dest in files:
        above = posixpath.dirname(dest)
        while above:
            found.add(above)
            above = posixpath.dirname(above)
    return frozenset(found)


def digest_of(files: Mapping[str, TreeFile]) -> str:
    """SHA-256 (hex) over paths, modes and contents, independent of order."""
    total = hashlib.sha256()
    for dest in sorted(files):
        item = files[dest]
        content = as_bytes(item.content)
        group = f"{item.group}\0" if item.group else ""
        total.update(f"{dest}\0{item.mode:o}\0{group}{len(content)}\0".encode())
        total.update(content)
    return total.hexdigest()


def generation_of(files: Mapping[str, TreeFile]) -> str:
    """Name of the generation that has these files."""
    return digest_of(files)[:NAME_LENGTH]


def is_numbered(generation: str, name: str) -> bool:
    """Whether a generation has a name, or that name and a number: the name was taken by one edited by hand."""
    return generation == name or (generation.startswith(name + "-") and generation[len(name) + 1 :].isdecimal())


def digests_by_top(files: Mapping[str, TreeFile]) -> dict[str, str]:
    """One digest for each top-level directory or file of the tree."""
    groups: dict[str, dict[str, TreeFile]] = {}
    for dest, item in files.items():
        groups.setdefault(dest.split("/")[0], {})[dest] = item
    return {top: digest_of(group) for top, group in sorted(groups.items())}


def pack(files: Sequence[TreeFile]) -> str:
    """Files as one short text: configuration files resemble each other, so they compress well."""
    rows = [[item.dest, item.content, item.mode, item.owner, item.group] for item in files]
    return base64.b64encode(zlib.compress(json.dumps(rows).encode(), 6)).decode()


def unpack(text: str) -> list[TreeFile]:
    """The reverse of :func:`pack`."""
    return [TreeFile(*row) for row in json.loads(zlib.decompress(base64.b64decode(text)))]
