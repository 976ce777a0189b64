#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Put a set of rendered templates on a host as one validated transaction."""

from __future__ import annotations

DOCUMENTATION = r"""
module: config_tree
short_description: Put a whole tree of configuration files on a host as one transaction
version_added: "0.1.0"
author:
  - The webops.wsgi contributors (@webops)
description:
  - Renders a set of templates on the controller and puts them on the host with one remote call.
  - O(root) becomes a symlink to an immutable directory, a generation. A change writes a complete new generation,
    has it validated as a whole, and goes live with one rename of that symlink. Files that are no longer listed are
    gone with the old generation.
  - A run killed at any instant leaves a valid tree in place, and the next run completes the work.
  - With O(reload) the program is reloaded when the tree changed, and also when O(running) shows that it serves
    another generation than the one on disk, for instance because an earlier run was interrupted before its reload.
    When the reload fails the previous generation is put back and reloaded, and the task fails with the evidence.
  - The text C(@GENERATION@) in a file is replaced by the name of the generation.
options:
  files:
    description: The files of the tree, all of them.
    type: list
    elements: dict
    required: true
    suboptions:
      dest:
        description: Path relative to O(root).
        type: str
        required: true
      template:
        description:
          - Template to render on the controller, found, and its blocks trimmed, as with M(ansible.builtin.template).
        type: str
      content:
        description: Text of the file, instead of O(files[].template).
        type: str
      vars:
        description: Variables for this template only.
        type: dict
      each:
        description:
          - Render the file once for each of these dictionaries.
          - In O(files[].dest) and O(files[].owner), C({key}) stands for the value of that key.
        type: list
        elements: dict
      as:
        description: Name of the variable that holds the current dictionary of O(files[].each).
        type: str
        default: item
      mode:
        description:
          - Permissions, in octal notation.
          - A diff does not show the contents of a file that others may not read.
        type: str
        default: "0644"
      owner:
        description: Whom the file belongs to, for messages, such as C(app "api").
        type: str
        default: ""
      group:
        description: The file's group, when not that of the user that runs the module.
        type: str
        default: ""
  packed:
    description:
      - The rendered files, compressed. Filled in by the action part of this module; not for users.
    type: str
extends_documentation_fragment:
  - webops.wsgi.tree
attributes:
  check_mode:
    description: Predicts exactly what a run would change, the validator's verdict included.
    support: full
  diff_mode:
    description: One unified diff for each file that differs, in check mode as well.
    support: full
  idempotent:
    description: A second run with the same input changes nothing.
    support: full
  platform:
    description: Target systems.
    support: full
    platforms: posix
  action:
    description: Templates are rendered on the controller.
    support: full
notes:
  - Directories in the tree are C(0755) and files O(files[].mode), owned by the user that runs the module.
seealso:
  - module: ansible.builtin.template
"""

EXAMPLES = r"""
- name: Configure nginx as one tree
  webops.wsgi.config_tree:
    root: /etc/nginx/wsgi
    files:
      - dest: nginx.conf
        template: nginx.conf.j2
      - dest: sites/{name}.conf
        template: site.conf.j2
        each: "{{ apps }}"
        as: app
        owner: app "{name}"
    links:
      /etc/nginx/nginx.conf: wsgi/nginx.conf
    validate: nginx -t -c {preview}/nginx.conf
    reload: systemctl reload-or-restart nginx
    running: http://127.0.0.1:80/generation
    running_host: generation.internal
    journal: nginx.service
    logs: [/var/log/nginx/error.log]

- name: A tree that other tasks read, with nothing to validate or reload
  webops.wsgi.config_tree:
    root: /etc/wsgi
    files:
      - {dest: api/gunicorn.conf.py, template: gunicorn.conf.py.j2, vars: {app: "{{ api }}"}}
      - {dest: api/start, template: start.j2, vars: {app: "{{ api }}"}, mode: "0755"}
    keep: {reports: the app "reports"}
"""

RETURN = r"""
generation:
  description: Name of the generation that is, or in check mode would be, live.
  returned: success
  type: str
  sample: 3f2a9c0d11e4b7a6
digests:
  description: SHA-256 of each top-level directory or file of the tree, in check mode as well.
  returned: success
  type: dict
  sample: {"api": "3f2a9c0d11e4b7a6…"}
reloaded:
  description: Whether the program was, or in check mode would be, reloaded.
  returned: success
  type: bool
file:
  description: Path (relative to O(root)) of the file that the validator refused.
  returned: when the validator names one
  type: str
line:
  description: Line in that file; 0 when the validator gives none.
  returned: when the validator names a file
  type: int
owner:
  description: Label of that file.
  returned: when the validator names a file
  type: str
stderr:
  description: What the validator or the reload command said.
  returned: when one of them failed
  type: str
log:
  description: Lines that the program logged during the failed reload.
  returned: when the reload failed
  type: list
  elements: str
"""

from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.apply import apply
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.files import TreeError, TreeFile, unpack
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.spec import Spec
from ansible_collections.webops.wsgi.plugins.module_utils.quiet_module import QuietModule

FILE_OPTIONS = {
    "dest": {"type": "str", "required": True},
    "template": {"type": "str"},
    "content": {"type": "str"},
    "vars": {"type": "dict"},
    "each": {"type": "list", "elements": "dict"},
    "as": {"type": "str", "default": "item"},
    "mode": {"type": "str", "default": "0644"},
    "owner": {"type": "str", "default": ""},
    "group": {"type": "str", "default": ""},
}

ARGUMENTS = {
    "root": {"type": "path", "required": True},
    "files": {"type": "list", "elements": "dict", "required": True, "options": FILE_OPTIONS},
    "keep": {"type": "dict", "default": {}},
    "links": {"type": "dict", "default": {}},
    "validate": {"type": "str", "default": ""},
    "reload": {"type": "str", "default": ""},
    "running": {"type": "str", "default": ""},
    "running_host": {"type": "str", "default": ""},
    "timeout": {"type": "float", "default": 10},
    "journal": {"type": "str", "default": ""},
    "logs": {"type": "list", "elements": "path", "default": []},
    "readers": {"type": "str", "default": ""},
    "private_logs": {"type": "list", "elements": "path", "default": []},
    "private_logs_owner": {"type": "str", "default": ""},
    "private_logs_group": {"type": "str", "default": ""},
    "in_place": {"type": "str", "default": ""},
    "packed": {"type": "str"},
}


def files_of(module: QuietModule) -> list[TreeFile]:
    """The rendered files: packed by the action, or given as plain content."""
    if module.params["packed"]:
        return unpack(module.params["packed"])
    return [
        TreeFile(item["dest"], item["content"] or "", int(item["mode"], 8), item["owner"], item["group"])
        for item in module.params["files"]
    ]


def main() -> None:
    module = QuietModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    given = module.params
    try:
        spec = Spec(
            root=given["root"],
            files=files_of(module),
            keep=given["keep"],
            links=given["links"],
            validate=given["validate"],
            reload=given["reload"],
            running=given["running"],
            running_host=given["running_host"],
            timeout=given["timeout"],
            journal=given["journal"],
            logs=given["logs"],
            readers=given["readers"],
            private_logs=given["private_logs"],
            private_logs_owner=given["private_logs_owner"],
            private_logs_group=given["private_logs_group"],
        )
        outcome = apply(spec, check=module.check_mode)
    except TreeError as error:
        module.fail_json(msg=str(error), **error.details)
    except OSError as error:
        module.fail_json(msg=f"{given['root']}: {error}")
    for warning in outcome.warnings:
        module.warn(warning)
    result = {
        "changed": outcome.changed,
        "generation": outcome.generation,
        "digests": outcome.digests,
        "reloaded": outcome.reloaded,
    }
    if module._diff:
        result["diff"] = outcome.diff
    module.exit_json(**result)


if __name__ == "__main__":
    main()
