# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: python_literal
short_description: Write a value as a Python literal
version_added: 0.1.0
author: webops.wsgi contributors (@webops)
description:
  - For templates of configuration files that are Python, so that no value can break out of its place.
options:
  _input:
    description: Text, numbers, booleans, null, lists and dictionaries of these.
    type: raw
    required: true
"""

EXAMPLES = r"""
timeout: "{{ 'it''s' | webops.wsgi.python_literal }}"
"""

RETURN = r"""
_value:
  description: The literal.
  type: str
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError


def python_literal(value: Any) -> str:
    """The Python expression that gives the value.

    Raises:
        AnsibleFilterError: The value is of a kind that has no literal.
    """
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    if isinstance(value, str):
        # Values from an inventory are subclasses of str; a literal is of the plain type.
        return repr(str.__str__(value))
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{python_literal(key)}: {python_literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(python_literal, value)) + "]"
    raise AnsibleFilterError(f"{value!r} is of type {type(value).__name__}, which has no Python literal")


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"python_literal": python_literal}
