# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the collection importable as Ansible imports it, whatever directory pytest is started in."""

from __future__ import annotations

import os
import pathlib

from ansible.plugins.loader import init_plugin_loader

ROOT = pathlib.Path(__file__).resolve().parent.parent
COLLECTIONS = str(ROOT / "collections")

init_plugin_loader([COLLECTIONS])
# For tests that start Ansible's programs.
os.environ["ANSIBLE_COLLECTIONS_PATH"] = COLLECTIONS
