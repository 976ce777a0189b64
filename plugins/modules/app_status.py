#!/usr/bin/python
# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: app_status
short_description: Read what the apps of a host are doing
version_added: 0.1.0
description:
  - Reads release, state, health, workers, memory, restarts, disk and certificate of every app in one call.
author: webops.wsgi contributors (@webops)
attributes:
  check_mode:
    description: Can run in check mode and return changed status prediction without modifying target.
    support: full
    details: Only reads.
  diff_mode:
    description: Will return details on what has changed, or would change, when in diff mode.
    support: none
    details: Nothing is changed.
options:
  apps:
    description: The apps as the action M(webops.wsgi.app_settings) resolves them.
    type: list
    elements: dict
  checks:
    description: What a healthy instance answers, by app; the action plugin makes this from O(apps).
    type: dict
    default: {}
  host:
    description: Name of the host in the table; the action plugin sets this.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Look at the apps
  webops.wsgi.app_status:
    apps: "{{ __wsgi_apps }}"
  register: __wsgi_status
"""

RETURN = r"""
apps:
  description: One entry for each app.
  returned: success
  type: list
  elements: dict
  sample:
    - app: api
      release: "5"
      source: reports==1.4.2
      state: active
      health: ""
      workers: 2
      beside: {celery: active}
      memory_bytes: 81000000
      restarts: 0
      previous: ["4", "3"]
      failed: []
      disk_bytes: 61000000
      certificate_days: 60
      since: Sun 2026-11-22 14:00:00 UTC
      history: []
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.webops.wsgi.plugins.module_utils import status
from ansible_collections.webops.wsgi.plugins.module_utils.health import Health
from ansible_collections.webops.wsgi.plugins.module_utils.release_layout import Paths
from ansible_collections.webops.wsgi.plugins.module_utils.systemd import Systemd, SystemdError


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "apps": {"type": "list", "elements": "dict"},
            "checks": {"type": "dict", "default": {}},
            "host": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    checks = {
        app: Health(**{**check, "statuses": tuple(check["statuses"])}) for app, check in module.params["checks"].items()
    }
    try:
        rows = status.read(Paths(), checks, Systemd().properties, Path("/etc/nginx/tls"))
    except SystemdError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, apps=[{"host": module.params["host"], **row} for row in rows])


if __name__ == "__main__":
    main()
