#!/usr/bin/python
# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: adopt_host
short_description: Find the apps of a host that was set up by hand
version_added: 0.2.0
description:
  - Reads units of systemd and programs of Supervisor that start gunicorn, uWSGI, uvicorn, Waitress or Granian, and what
    belongs to them - nginx' server blocks, certificates of certbot, files of variables, virtual environments, clones of
    git, cron jobs.
  - Values of variables that may be secrets stay on the host; their names are returned, with the file that they are in.
author: webops.wsgi contributors (@webops)
extends_documentation_fragment: [webops.wsgi.reads]
options:
  secrets:
    description: Whether the values of variables that may be secrets are returned too. Use C(no_log) then.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Look at the host
  webops.wsgi.adopt_host:
  register: __wsgi_found
"""

RETURN = r"""
apps:
  description: The apps that were found.
  returned: success
  type: list
  elements: dict
secrets:
  description: For each of RV(apps) the values that it has not; empty without O(secrets).
  returned: success
  type: list
  elements: dict
left:
  description: What of the host, and of no app, could not be carried over.
  returned: success
  type: list
  elements: str
taken:
  description: Names of users, groups and directories of the host that no app can have beside them.
  returned: success
  type: list
  elements: str
"""

from ansible_collections.webops.wsgi.plugins.module_utils.adopt.host import Host, taken
from ansible_collections.webops.wsgi.plugins.module_utils.quiet_module import QuietModule


def main() -> None:
    options = {"secrets": {"type": "bool", "default": False, "no_log": False}}
    module = QuietModule(argument_spec=options, supports_check_mode=True)
    host = Host()
    apps = host.found()
    secrets = host.secrets if module.params["secrets"] else []
    module.exit_json(changed=False, apps=apps, secrets=secrets, taken=taken(), left=host.left)


if __name__ == "__main__":
    main()
