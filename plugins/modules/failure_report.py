#!/usr/bin/python
# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of webops.wsgi.failure_report; the work is done by the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: failure_report
short_description: Fail at the end of a play in which apps have failed
version_added: 0.1.0
description:
  - In a play that lets the other apps go on when one fails, says what failed, all of it at once, and fails.
  - Runs on the controller only.
author: webops.wsgi contributors (@webops)
extends_documentation_fragment: [webops.wsgi.reads]
options:
  failures:
    description: What failed, a message by app.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Report what failed
  webops.wsgi.failure_report:
    failures: "{{ ansible_facts['wsgi_failed'] }}"
  when: ansible_facts['wsgi_failed'] | length > 0
"""

RETURN = r"""#"""
