#!/usr/bin/python
# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of webops.wsgi.server_files; the work is done by the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: server_files
short_description: Put the files that the servers of apps need on a host, as one tree
version_added: 0.1.0
description:
  - Each server says itself which files a release needs of it, and from which templates of its role they are made.
  - They are put there as M(webops.wsgi.config_tree) puts any tree.
author: webops.wsgi contributors (@webops)
options:
  apps:
    description: As of M(webops.wsgi.app_build).
    type: list
    elements: dict
extends_documentation_fragment:
  - webops.wsgi.tree
attributes:
  check_mode:
    description: Can run in check mode and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
    support: full
"""

EXAMPLES = r"""
- name: Write the apps' server settings and start commands
  webops.wsgi.server_files:
    apps: "{{ __wsgi_apps }}"
    root: /etc/wsgi
"""

RETURN = r"""
digests:
  description: By app a digest of its files.
  returned: success
  type: dict
"""
