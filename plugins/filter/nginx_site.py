# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: nginx_site
short_description: What a server block needs besides its app's settings
version_added: 0.1.0
author: webops.wsgi contributors (@webops)
description:
  - For the templates of the role M(webops.wsgi.nginx_proxy), which are to stay readable.
options:
  _input:
    description: A resolved app.
    type: dict
    required: true
"""

EXAMPLES = r"""
site: "{{ app | webops.wsgi.nginx_site }}"
"""

RETURN = r"""
_value:
  description: Locations with their effective settings, zones of limits, headers.
  type: dict
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import plain
from ansible_collections.webops.wsgi.plugins.plugin_utils.nginx import site as edge


def nginx_site(value: Any) -> Any:
    """What a server block needs besides its app's settings."""
    return edge.site(plain(value))


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"nginx_site": nginx_site}
