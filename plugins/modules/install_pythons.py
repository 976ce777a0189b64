#!/usr/bin/python
# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: install_pythons
short_description: Install Python interpreters that a host lacks, by uv
version_added: 0.1.0
description:
  - Installs builds of python-build-standalone below C(/opt/wsgi/pythons), for all builds of apps. They are root's.
  - The action of M(webops.wsgi.app_build) runs this where an app asks for a Python that the host does not have.
author: webops.wsgi contributors (@webops)
extends_documentation_fragment: [webops.wsgi.outgoing]
attributes:
  check_mode:
    description: Can run in check mode and return changed status prediction without modifying target.
    support: none
    details: Which patch version would be installed is known to uv alone.
  diff_mode:
    description: Will return details on what has changed, or would change, when in diff mode.
    support: none
options:
  versions:
    description: Major and minor versions, each installed in the newest patch version that uv knows.
    type: list
    elements: str
    required: true
  uv:
    description: Path of the uv program.
    type: path
    required: true
  mirror:
    description: Address that stands for that of python-build-standalone's releases.
    type: str
    default: ""
  ca_bundle:
    description: CA bundle on the host that downloads are verified with.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Install an interpreter
  webops.wsgi.install_pythons:
    versions: ["3.12"]
    uv: /opt/wsgi/uv/bin/uv
"""

RETURN = r"""
pythons:
  description: Path of each interpreter.
  returned: success
  type: dict
  sample: {"3.12": /opt/wsgi/pythons/cpython-3.12.16-linux-x86_64-gnu/bin/python3.12}
refused:
  description: Why others could not be installed.
  returned: success
  type: dict
"""

from ansible_collections.webops.wsgi.plugins.module_utils.host import pythons
from ansible_collections.webops.wsgi.plugins.module_utils.host.outgoing import OPTIONS, outgoing
from ansible_collections.webops.wsgi.plugins.module_utils.quiet_module import QuietModule


def main() -> None:
    module = QuietModule(
        argument_spec={
            "versions": {"type": "list", "elements": "str", "required": True},
            "uv": {"type": "path", "required": True},
            "mirror": {"type": "str", "default": ""},  # uv shows no password of it
            "ca_bundle": {"type": "str", "default": ""},
            **OPTIONS,
        }
    )
    out = outgoing(module.params["proxy"], module.params["no_proxy"])
    module.mask(out.secrets)
    given = module.params["uv"], module.params["mirror"], module.params["ca_bundle"]
    installer = pythons.Installer(*given, out.variables())
    made: dict[str, str] = {}
    refused: dict[str, str] = {}
    for version in module.params["versions"]:
        try:
            made[version] = pythons.install(version, installer)
        except pythons.PythonError as error:
            refused[version] = str(error)
    module.exit_json(changed=bool(made), pythons=made, refused=refused)


if __name__ == "__main__":
    main()
