# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: server_files
short_description: The files that the servers of apps need
version_added: 0.1.0
author: webops.wsgi contributors (@webops)
description:
  - Each server says itself which files a release needs of it, and from which templates of its role they are made.
options:
  _input:
    description: Resolved apps.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
files: "{{ __wsgi_apps | webops.wsgi.server_files }}"
"""

RETURN = r"""
_value:
  description: Entries for O(webops.wsgi.config_tree#module:files).
  type: list
  elements: dict
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import plain
from ansible_collections.webops.wsgi.plugins.plugin_utils.servers.model import tree_files


def server_files(value: Any) -> Any:
    """The files that the servers of apps need."""
    return tree_files(plain(value))


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"server_files": server_files}
