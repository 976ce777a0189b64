#!/usr/bin/python
# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of webops.wsgi.explain_request; the work is done by the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: explain_request
short_description: Send a request to an app as a client does
version_added: 0.2.0
description:
  - Finds the app of the inventory that a URL belongs to, and sends a GET request for it from the controller.
  - Runs on the controller only.
author: webops.wsgi contributors (@webops)
extends_documentation_fragment: [webops.wsgi.reads]
options:
  apps:
    description: The apps of all hosts as the action M(webops.wsgi.app_settings) resolves them.
    type: list
    elements: dict
    required: true
  url:
    description: The URL to explain.
    type: str
    default: ""
  app:
    description: An app whose health page to explain, instead of O(url).
    type: str
    default: ""
  connect_to:
    description: Address, or address and port, to use instead of what the name leads to.
    type: str
    default: ""
  ca:
    description: File on the controller with the authorities to trust instead of its own.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Send the request
  webops.wsgi.explain_request:
    apps: "{{ __wsgi_apps }}"
    url: https://api.example.com/items
  register: __wsgi_request
  run_once: true
"""

RETURN = r"""
app:
  description: The app that serves it.
  returned: success
  type: str
request:
  description: Scheme, domain, port and path.
  returned: success
  type: dict
outside:
  description: What came back.
  returned: success
  type: dict
limit:
  description: Seconds that an answer may take.
  returned: success
  type: float
"""
