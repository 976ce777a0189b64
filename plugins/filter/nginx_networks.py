# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: nginx_networks
short_description: Networks of trusted proxies, names of lists replaced by what is in them
version_added: 0.1.0
author: webops.wsgi contributors (@webops)
description:
  - For the templates of the role M(webops.wsgi.nginx_proxy), which are to stay readable.
options:
  _input:
    description: Addresses, networks and names of lists.
    type: list
    required: true
"""

EXAMPLES = r"""
networks: "{{ ['192.0.2.0/24', 'cloudflare'] | webops.wsgi.nginx_networks }}"
"""

RETURN = r"""
_value:
  description: Addresses and networks.
  type: list
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import plain
from ansible_collections.webops.wsgi.plugins.plugin_utils.nginx import site


def nginx_networks(value: Any) -> Any:
    """Networks of trusted proxies, names of lists replaced by what is in them."""
    return site.expanded(plain(value), "trusted_proxies")


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"nginx_networks": nginx_networks}
