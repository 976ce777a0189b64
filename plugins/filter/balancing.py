# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: balancing
short_description: How a balancer spreads the requests of an app over its servers
version_added: 0.1.0
author: webops.wsgi contributors (@webops)
description:
  - For the templates of the role M(webops.wsgi.nginx_proxy), which are to stay readable.
positional: _input, drained
options:
  _input:
    description: A resolved app.
    type: dict
    required: true
  drained:
    description: Hosts that get no new requests.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
balancing: "{{ app | webops.wsgi.balancing(['web2']) }}"
"""

RETURN = r"""
_value:
  description: The method, and the servers with their parameters.
  type: dict
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import plain
from ansible_collections.webops.wsgi.plugins.plugin_utils.nginx import balancing as upstream


def balancing(value: Any, drained: Any = ()) -> Any:
    """How a balancer spreads the requests of an app over its servers."""
    return upstream.balancing(plain(value), plain(drained))


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"balancing": balancing}
