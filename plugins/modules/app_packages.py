#!/usr/bin/python
# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: app_packages
short_description: Find the apps whose Debian packages cannot be installed
version_added: 0.1.0
description:
  - After an installation for all apps of a host has failed, finds out by simulation whose packages apt does not
    install, so that these apps fail and the others are deployed.
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
    description: The apps.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The app's name.
        type: str
        required: true
      system_packages:
        description: Debian packages that it needs while it runs.
        type: list
        elements: str
        default: []
      build_packages:
        description: Debian packages that its build needs.
        type: list
        elements: str
        default: []
  others:
    description: Packages that no single app wants. Where these cannot be installed, no app is to blame.
    type: list
    elements: str
    default: []
  error:
    description: What the installation has said, for the case that no app is to blame.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Find the apps whose packages cannot be installed
  webops.wsgi.app_packages:
    apps: [{name: api, system_packages: [libpq5], build_packages: [libpq-dev]}]
    others: [nginx]
    error: "{{ ansible_failed_result.msg }}"
"""

RETURN = r"""
failures:
  description: A message for each app; the action plugin makes them a fact of the host or fails the task.
  returned: success
  type: list
  elements: str
"""

from ansible_collections.webops.wsgi.plugins.module_utils.host import packages
from ansible_collections.webops.wsgi.plugins.module_utils.quiet_module import QuietModule, visible

APP_OPTIONS = {
    "name": {"type": "str", "required": True},
    "system_packages": {"type": "list", "elements": "str", "default": []},
    "build_packages": {"type": "list", "elements": "str", "default": []},
}


def main() -> None:
    module = QuietModule(
        argument_spec={
            "apps": {"type": "list", "elements": "dict", "required": True, "options": APP_OPTIONS},
            "others": {"type": "list", "elements": "str", "default": []},
            "error": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    others = module.params["others"]
    nobody = bool(others and packages.refusal(others))
    failures = [] if nobody else packages.failures(module.params["apps"])
    if not failures:
        module.fail_json(msg=module.params["error"])
    module.exit_json(changed=False, failures=[visible(text) for text in failures])


if __name__ == "__main__":
    main()
