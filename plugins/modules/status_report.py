#!/usr/bin/python
# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of webops.wsgi.status_report; the work is done by the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: status_report
short_description: Show what the apps are doing
version_added: 0.1.0
description:
  - Prints the rows that M(webops.wsgi.app_status) read, as a table for people, as the history of what was
    deployed, or as JSON for machines.
  - C(html) writes one page with plots of the last day, which a browser shows without asking anything else for anything.
  - Runs on the controller only.
author: webops.wsgi contributors (@webops)
extends_documentation_fragment: [webops.wsgi.reads]
options:
  rows:
    description: Rows of one or more hosts.
    type: list
    elements: dict
    required: true
  views:
    description:
      - What each balancer thinks of the hosts, as M(webops.wsgi.balancer_drain) returns it, by balancer. Then the table
        says which of them send requests to a host.
    type: dict
    default: {}
  format:
    description: How to show them.
    type: str
    choices: [table, history, json, html]
    default: table
  output:
    description: Directory for the page, with O(format=html); the page is C(index.html) in it.
    type: path
  missing:
    description: Hosts that could not be looked at; the page says so.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Show the apps of this host
  webops.wsgi.status_report:
    rows: "{{ __wsgi_status.apps }}"
    format: table
"""

RETURN = r"""#"""
