# SPDX-License-Identifier: GPL-3.0-or-later
"""What a configuration tree should be, and what could never become one."""

from __future__ import annotations

import posixpath
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.files import TreeError, TreeFile, directories_of


@dataclass(frozen=True)
class Spec:
    """What the tree should be and how to check it. ``timeout`` is in seconds."""

    root: str
    files: Sequence[TreeFile]
    keep: Mapping[str, str] = field(default_factory=dict)  # pattern of paths -> whose they are
    links: Mapping[str, str] = field(default_factory=dict)
    validate: str = ""
    reload: str = ""
    running: str = ""
    running_host: str = ""
    timeout: float = 10.0
    journal: str = ""
    logs: Sequence[str] = ()
    readers: str = ""
    private_logs: Sequence[str] = ()
    private_logs_owner: str = ""
    private_logs_group: str = ""

    @property
    def parent(self) -> str:
        return posixpath.dirname(self.root)

    @property
    def store(self) -> str:
        return self.root + ".d"

    @property
    def base(self) -> str:
        return posixpath.basename(self.root)


def check_spec(spec: Spec) -> None:
    """Refuse what could never become a tree.

    :raises TreeError: root not absolute, a destination outside the tree or given twice, a file that is also a
        directory, a link inside the tree.
    """
    if not _is_absolute(spec.root) or spec.root == "/":
        raise TreeError(f'root: "{spec.root}" must be an absolute, normal path such as /etc/nginx/wsgi')
    _check_files(spec.files)
    for path in spec.keep:
        _check_relative("keep", path.rstrip("/"))
    for path in spec.private_logs:
        if not _is_absolute(path):
            raise TreeError(f'private_logs: "{path}" must be an absolute, normal path')
    for path in spec.links:
        if not _is_absolute(path):
            raise TreeError(f'links: "{path}" must be an absolute, normal path')
        if path == spec.root or path.startswith((spec.root + "/", spec.store + "/")):
            raise TreeError(f'links: "{path}" lies inside the tree {spec.root}')
    if spec.running and urllib.parse.urlsplit(spec.running).scheme != "http":
        raise TreeError(f'running: "{spec.running}" must be a plain http:// address')


def _check_files(files: Sequence[TreeFile]) -> None:
    seen: dict[str, TreeFile] = {}
    for item in files:
        _check_relative("files[].dest", item.dest)
        if item.dest in seen:
            raise TreeError(f'files: "{item.dest}" is given twice{_owners(seen[item.dest], item)}')
        seen[item.dest] = item
    for above in directories_of(seen):
        if above in seen:
            below = next(dest for dest in seen if dest.startswith(above + "/"))
            raise TreeError(f'files: "{above}" is a file and, for "{below}", also a directory')


def _is_absolute(path: str) -> bool:
    return path.startswith("/") and posixpath.normpath(path) == path


def _check_relative(key: str, path: str) -> None:
    if not path or path.startswith("/") or posixpath.normpath(path) != path or path.split("/")[0] in ("..", "."):
        raise TreeError(f'{key}: "{path}" must be a normal path inside the tree, relative to root')


def _owners(*files: TreeFile) -> str:
    labels = [item.owner for item in files if item.owner]
    return f" ({' and '.join(labels)})" if labels else ""
