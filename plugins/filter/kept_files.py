# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: kept_files
short_description: What a configuration tree keeps of apps that a run leaves alone
version_added: 0.1.0
author: webops.wsgi contributors (@webops)
description:
  - For the option O(webops.wsgi.config_tree#module:keep), patterns with the app that they belong to.
positional: patterns, why
options:
  _input:
    description: Names of apps.
    type: list
    required: true
  patterns:
    description: Paths in the tree, with C({name}) for the name of an app.
    type: list
    required: true
  why:
    description: Why the run leaves these apps alone, and the fix, as a clause about the app.
    type: str
    required: true
"""

EXAMPLES = r"""
keep: "{{ ['reports'] | webops.wsgi.kept_files(['sites/{name}.conf'], 'which failed in this run') }}"
"""

RETURN = r"""
_value:
  description: Patterns, and whose they are.
  type: dict
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import plain


def kept_files(names: Any, patterns: Any, why: str) -> dict[str, str]:
    """Patterns, with whose they are."""
    return {
        pattern.replace("{name}", name): f'kept for the app "{name}", {why}'
        for name in plain(names)
        for pattern in plain(patterns)
    }


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"kept_files": kept_files}
