#!/usr/bin/python
# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of webops.wsgi.adopt_plan; the work is done by the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: adopt_plan
short_description: Find out what of a host that was set up by hand is taken over
version_added: 0.2.0
description:
  - Finds for each app that M(webops.wsgi.adopt_host) found the one of the inventory that takes over from it, by a
    domain that both have, or by its name.
  - Fails where there is none, and where data would be left behind.
  - Runs on the controller only.
author: webops.wsgi contributors (@webops)
extends_documentation_fragment: [webops.wsgi.reads]
options:
  found:
    description: What M(webops.wsgi.adopt_host) returned as C(apps).
    type: list
    elements: dict
    required: true
  apps:
    description:
      - The apps as the action M(webops.wsgi.app_settings) resolves them; those of the fact C(__wsgi_apps) without this.
    type: list
    elements: dict
  data:
    description: What became of databases and uploads beside the old code. Empty fails where there are any.
    type: str
    choices: ["", carried, left]
    default: ""
"""

EXAMPLES = r"""
- name: Find out what is taken over
  webops.wsgi.adopt_plan:
    found: "{{ __wsgi_found.apps }}"
  register: __wsgi_move
"""

RETURN = r"""
given_up:
  description: For O(webops.wsgi.host_state#module:given_up).
  returned: success
  type: dict
programs:
  description: For O(webops.wsgi.adopt_finish#module:programs).
  returned: success
  type: list
  elements: dict
questions:
  description: For O(webops.wsgi.adopt_finish#module:questions).
  returned: success
  type: list
  elements: dict
lineages:
  description: For O(webops.wsgi.adopt_finish#module:lineages).
  returned: success
  type: list
  elements: str
"""
