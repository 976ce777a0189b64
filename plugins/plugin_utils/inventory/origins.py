# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a value of the inventory is written, which is where a person counts a relative path from."""

from __future__ import annotations

import os
import re
import typing as t
from pathlib import Path

try:
    from ansible._internal._datatag._tags import Origin
except ImportError:  # ansible-core 2.18
    Origin = None

_NUMBER = re.compile(r"[-+.\w:]+")  # in any notation that YAML has for one
BESIDE_AN_INVENTORY = ("group_vars", "host_vars")


def written_in(value: t.Any) -> str:
    """The file that a value was read from; empty where Ansible does not know."""
    if Origin is None:
        return str((getattr(value, "ansible_pos", None) or ("",))[0])
    found = Origin.get_tag(value)
    return str(found.path or "") if found else ""


def number_as_written(value: t.Any) -> str:
    """The text of a number in its file; empty where Ansible does not know, as no version before 2.19 does."""
    found = Origin.get_tag(value) if Origin and type(value) is not bool and isinstance(value, (int, float)) else None
    if not (found and found.path and found.line_num and found.col_num):
        return ""
    try:
        lines = Path(found.path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return ""
    line = lines[found.line_num - 1] if found.line_num <= len(lines) else ""
    text = _NUMBER.match(line, found.col_num - 1)
    return text.group() if text else ""


def home(file: str) -> str:
    """The directory that relative paths in a file count from: its own, or the one that has ``group_vars``."""
    if not file:
        return ""
    folders = Path(file).parents
    above = (folder.parent for folder in folders if folder.name in BESIDE_AN_INVENTORY)
    return str(next(above, folders[0]))


def directories(variables: t.Mapping[str, t.Any]) -> list[str]:
    """The directories that relative paths count from where Ansible does not know the file, the likeliest first.

    Of several inventories, ``inventory_dir`` is the one that names the host.
    """
    sources = [os.path.abspath(str(source)) for source in variables.get("ansible_inventory_sources") or []]
    folders = [source if os.path.isdir(source) else os.path.dirname(source) for source in sources]
    first, last = (str(variables.get(name) or "") for name in ("inventory_dir", "playbook_dir"))
    return list(dict.fromkeys(folder for folder in (first, *folders, last) if folder))
