# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: probe_names
short_description: Names by which programs can ask for domains
version_added: 0.1.0
author: webops.wsgi contributors (@webops)
description:
  - For templates of programs that connect to domains, since nobody can connect to a wildcard.
options:
  _input:
    description: Domains.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
names: "{{ ['*.example.com', 'api.example.net'] | webops.wsgi.probe_names }}"
# {'*.example.com': 'wildcard.example.com', 'api.example.net': 'api.example.net'}
"""

RETURN = r"""
_value:
  description: By domain the name to ask for.
  type: dict
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.host.dns import probe_name
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import plain


def probe_names(value: Any) -> dict[str, str]:
    """Names by which programs can ask for domains."""
    return {domain: probe_name(domain) for domain in plain(value)}


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"probe_names": probe_names}
