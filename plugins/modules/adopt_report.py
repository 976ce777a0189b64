#!/usr/bin/python
# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of webops.wsgi.adopt_report; the work is done by the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: adopt_report
short_description: Write the inventory of a host that was set up by hand
version_added: 0.2.0
description:
  - Prints what M(webops.wsgi.adopt_host) found as an inventory, or writes it into a file, with comments on what could
    not be carried over.
  - Runs on the controller only.
author: webops.wsgi contributors (@webops)
extends_documentation_fragment: [webops.wsgi.reads]
options:
  apps:
    description: What M(webops.wsgi.adopt_host) returned.
    type: list
    elements: dict
    required: true
  left:
    description: What M(webops.wsgi.adopt_host) returned as C(left).
    type: list
    elements: str
    default: []
  taken:
    description: What M(webops.wsgi.adopt_host) returned as C(taken).
    type: list
    elements: str
    default: []
  output:
    description: File to write; one that exists is left alone, and the task fails. Empty prints the inventory.
    type: str
    default: ""
  secrets:
    description: What M(webops.wsgi.adopt_host) returned as C(secrets).
    type: list
    elements: dict
    default: []
  vault:
    description:
      - File to write O(secrets) into, as variables of the names that the inventory uses, encrypted with the vault
        password that this run was given; without one the task fails. A file that exists is left alone.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Write the inventory
  webops.wsgi.adopt_report:
    apps: "{{ __wsgi_found.apps }}"
    output: "{{ inventory_hostname }}.yml"
"""

RETURN = r"""#"""
