#!/usr/bin/python
# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of webops.wsgi.nginx_files; the work is done by the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_files
short_description: Put all of nginx's configuration on a host, as one tree
version_added: 0.1.0
description:
  - The server blocks of the apps, what they share, their password files and the authorities of their clients, made from
    the templates of the role C(nginx_proxy).
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
- name: Configure nginx as one tree
  webops.wsgi.nginx_files:
    root: /etc/nginx/wsgi
    links: {/etc/nginx/nginx.conf: wsgi/nginx.conf}
    validate: nginx -t -c {preview}/nginx.conf
    reload: systemctl reload-or-restart nginx.service
"""

RETURN = r"""
generation:
  description: Name of the generation that is live.
  returned: success
  type: str
reloaded:
  description: Whether nginx has been reloaded.
  returned: success
  type: bool
"""
