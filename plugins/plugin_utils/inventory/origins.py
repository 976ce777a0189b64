# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a value of the inventory is written, which is where a person counts a relative path from."""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

try:
    from ansible._internal._datatag._tags import Origin
except ImportError:  # ansible-core 2.18
    Origin = None

BESIDE_AN_INVENTORY = ("group_vars", "host_vars")


def written_in(value: t.Any) -> str:
    """The file that a value was read from; empty where Ansible does not know."""
    if Origin is None:
        return str((getattr(value, "ansible_pos", None) or ("",))[0])
    found = Origin.get_tag(value)
    return str(found.path or "") if found else ""


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
