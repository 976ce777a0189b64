#!/usr/bin/python
# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: compose_status
short_description: Read what the apps of a Compose project are doing
version_added: 0.1.0
description:
  - Reads release, state, health, maintenance, workers, memory, restarts and disk of every app of a Compose project.
author: webops.wsgi contributors (@webops)
extends_documentation_fragment: [webops.wsgi.reads]
options:
  directory:
    description: Directory of the project.
    type: str
    required: true
  project:
    description: Name of the project.
    type: str
    required: true
  apps:
    description: The resolved apps.
    type: list
    elements: raw
    required: true
  host:
    description: Name of the host in the inventory, for the table.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Look at the apps of the project
  webops.wsgi.compose_status:
    directory: /srv/compose
    project: wsgi
    apps: "{{ __wsgi_apps }}"
    host: "{{ inventory_hostname }}"
  register: __compose_status
"""

RETURN = r"""
apps:
  description: One entry for each app, as M(webops.wsgi.app_status) has them.
  returned: success
  type: list
  elements: dict
"""

from pathlib import Path

from ansible_collections.webops.wsgi.plugins.module_utils.compose.engine import ComposeError, Engine
from ansible_collections.webops.wsgi.plugins.module_utils.compose.layout import Paths
from ansible_collections.webops.wsgi.plugins.module_utils.compose.status import read
from ansible_collections.webops.wsgi.plugins.module_utils.quiet_module import QuietModule


def main() -> None:
    module = QuietModule(
        argument_spec={
            "directory": {"type": "str", "required": True},
            "project": {"type": "str", "required": True},
            "apps": {"type": "list", "elements": "raw", "required": True},
            "host": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    asked = module.params
    paths = Paths(Path(asked["directory"]))
    engine = Engine(paths.root, asked["project"])
    try:
        engine.check()
        rows = read(paths, engine, {app["name"]: app["url"] for app in asked["apps"]})
    except (ComposeError, OSError) as error:
        module.fail_json(msg=str(error))
        return
    module.exit_json(changed=False, apps=[{"host": asked["host"], **row} for row in rows])


if __name__ == "__main__":
    main()
