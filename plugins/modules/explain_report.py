#!/usr/bin/python
# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of webops.wsgi.explain_report; the work is done by the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: explain_report
short_description: Say where a request breaks
version_added: 0.2.0
description:
  - Prints one screen for each host, with the request's way, the cause, what shows it and what to do.
  - Fails when something breaks the request, with the cause as its message.
  - Runs on the controller only.
author: webops.wsgi contributors (@webops)
extends_documentation_fragment: [webops.wsgi.reads]
options:
  request:
    description: What M(webops.wsgi.explain_request) returned.
    type: dict
    required: true
  looks:
    description: What M(webops.wsgi.explain_host) returned, of each host.
    type: list
    elements: dict
    required: true
  apps:
    description: The resolved apps, by host.
    type: dict
    required: true
  format:
    description: For people or for machines.
    type: str
    choices: [text, json]
    default: text
"""

EXAMPLES = r"""
- name: Say where it breaks
  webops.wsgi.explain_report:
    request: "{{ __wsgi_request }}"
    looks: ["{{ __wsgi_look }}"]
    apps: "{{ {inventory_hostname: __wsgi_apps} }}"
"""

RETURN = r"""#"""
