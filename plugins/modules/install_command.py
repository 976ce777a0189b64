#!/usr/bin/python
# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: install_command
short_description: Run a shell command whose environment holds a secret, such as the password of a package index
version_added: 0.1.0
author: webops.wsgi contributors (@webops)
extends_documentation_fragment: [webops.wsgi.outgoing]
description:
  - Ansible's C(environment) keyword makes variables a part of the command that it runs on the host, where every local
    user sees it in the list of processes, and sudo writes it into its log. Here they go to the command alone.
options:
  command:
    description: The command, run by C(/bin/sh).
    type: str
    required: true
  creates:
    description: The file that the command makes; where it exists nothing is run.
    type: path
    required: true
  environment:
    description: Environment variables of the command; those without a value are left out.
    type: dict
    default: {}
  replaces:
    description: Patterns of paths that are removed when the command has run, but for the one that O(creates) is in.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Says whether the command would run.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
  idempotent:
    description: A file that is there is not made again.
    support: full
  platform:
    description: Target systems.
    support: full
    platforms: posix
seealso:
  - module: ansible.builtin.shell
"""

EXAMPLES = r"""
- name: Install a program from a private index
  webops.wsgi.install_command:
    command: python3 -m pip install --target /opt/wsgi/uv uv==0.9.0
    creates: /opt/wsgi/uv/bin/uv
    environment: {PIP_INDEX_URL: "{{ python_app_index_url }}"}
"""

RETURN = r"""
"""

import glob
import os

from ansible_collections.webops.wsgi.plugins.module_utils.host.files import remove_tree
from ansible_collections.webops.wsgi.plugins.module_utils.host.outgoing import OPTIONS, outgoing
from ansible_collections.webops.wsgi.plugins.module_utils.quiet_module import QuietModule


def replaced(patterns: list[str], made: str) -> list[str]:
    """The paths of some patterns that what was made is not in."""
    found = sorted(path for pattern in patterns for path in glob.glob(pattern))
    return [path for path in found if not f"{made}/".startswith(f"{path}/")]


def main() -> None:
    module = QuietModule(
        argument_spec={
            "command": {"type": "str", "required": True},
            "creates": {"type": "path", "required": True},
            "environment": {"type": "dict", "default": {}, "no_log": True},
            "replaces": {"type": "list", "elements": "str", "default": []},
            **OPTIONS,
        },
        supports_check_mode=True,
    )
    if os.path.exists(module.params["creates"]):
        module.exit_json(changed=False)
    if not module.check_mode:
        out = outgoing(module.params["proxy"], module.params["no_proxy"])
        module.mask(out.secrets)
        given = {name: str(value) for name, value in module.params["environment"].items() if value}
        environment = out.variables() | given
        code, told, err = module.run_command(["/bin/sh", "-c", module.params["command"]], environ_update=environment)
        if code:
            module.fail_json(msg=f"the command ended with {code}:\n{(err or told).strip()}", rc=code)
        for path in replaced(module.params["replaces"], module.params["creates"]):
            remove_tree(path)
    module.exit_json(changed=True)


if __name__ == "__main__":
    main()
