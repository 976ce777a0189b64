# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: nginx_host
short_description: What nginx.conf needs to know of all apps
version_added: 0.1.0
author: webops.wsgi contributors (@webops)
description:
  - For the templates of the role M(webops.wsgi.nginx_proxy), which are to stay readable.
options:
  _input:
    description: Resolved apps.
    type: list
    required: true
"""

EXAMPLES = r"""
host: "{{ apps | webops.wsgi.nginx_host }}"
"""

RETURN = r"""
_value:
  description: >-
    The longest time an answer may take (seconds), how many files stay open, the password files, and the app whose
    certificate clients of an address get.
  type: dict
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import plain
from ansible_collections.webops.wsgi.plugins.plugin_utils.nginx import site


def nginx_host(value: Any) -> Any:
    """What nginx.conf needs to know of all apps."""
    return site.host(plain(value))


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"nginx_host": nginx_host}
