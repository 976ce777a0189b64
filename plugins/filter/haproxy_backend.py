# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: haproxy_backend
short_description: How HAProxy spreads the requests of an app over its servers
version_added: 0.1.0
author: webops.wsgi contributors (@webops)
description:
  - For the templates of the role M(webops.wsgi.balancer), which are to stay readable.
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
backend: "{{ app | webops.wsgi.haproxy_backend(['web2']) }}"
"""

RETURN = r"""
_value:
  description: The method, and the servers with their parameters.
  type: dict
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.webops.wsgi.plugins.plugin_utils.fleet import haproxy
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import plain


def haproxy_backend(value: Any, drained: Any = ()) -> Any:
    """How HAProxy spreads the requests of an app over its servers."""
    return haproxy.backend(plain(value), plain(drained))


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"haproxy_backend": haproxy_backend}
