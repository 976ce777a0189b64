# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: nginx_longer_than
short_description: Regular expression of texts that are longer than a size
version_added: 0.1.0
author: webops.wsgi contributors (@webops)
description:
  - For the templates of the role M(webops.wsgi.nginx_proxy), which are to stay readable.
options:
  _input:
    description: The size as nginx takes it, in bytes or with C(k) or C(m).
    type: str
    required: true
"""

EXAMPLES = r"""
pattern: "{{ '8k' | webops.wsgi.nginx_longer_than }}"
"""

RETURN = r"""
_value:
  description: The regular expression.
  type: str
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import plain
from ansible_collections.webops.wsgi.plugins.plugin_utils.nginx import site


def nginx_longer_than(value: Any) -> str:
    """Regular expression of texts that are longer than a size."""
    return site.longer_than(plain(value))


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"nginx_longer_than": nginx_longer_than}
