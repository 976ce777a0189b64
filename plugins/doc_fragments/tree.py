# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """Options of modules that put a tree of files on a host."""

    DOCUMENTATION = r"""
options:
  root:
    description:
      - Absolute path of the tree. It becomes a symlink into the directory of the same name with C(.d) appended.
      - Anything else found there is refused, an empty directory excepted.
    type: path
    required: true
  keep:
    description:
      - What is carried over from the tree that is live, when it has it and the files that are wanted do not. Paths
        relative to O(root), files or directories, with C(*) for any characters, and whose each is, for messages.
    type: dict
    default: {}
  links:
    description:
      - Symlinks outside the tree that lead into it, as a mapping of absolute path to target.
      - They are made, by rename, once the tree is live. A file found in such a place is kept below C(replaced) beside
        the generations, and comes back when the first activation fails.
    type: dict
    default: {}
  validate:
    description:
      - Command that must accept the tree before it goes live, run without a shell.
      - C({preview}) in it stands for a directory that shows the parent directory of O(root) as it will be.
      - In check mode, a program that is not on the host yet is skipped with a warning.
    type: str
    default: ""
  reload:
    description: Command that makes the program use the tree, run without a shell.
    type: str
    default: ""
  running:
    description:
      - Plain HTTP address on the host that answers the name of the generation in service.
      - Asked before anything is decided, and after O(reload) until it answers the new one.
    type: str
    default: ""
  running_host:
    description: Host header for O(running).
    type: str
    default: ""
  timeout:
    description: Seconds that O(running) may take to answer the new generation.
    type: float
    default: 10
  journal:
    description: Unit whose journal lines are shown when the reload fails.
    type: str
    default: ""
  logs:
    description: Log files whose new lines are shown when the reload fails.
    type: list
    elements: path
    default: []
  readers:
    description:
      - Group whose members may look into the tree beside the user that runs the module; empty for everybody.
      - The directory of the generations is then C(0750).
    type: str
    default: ""
  private_logs:
    description:
      - Logs of the program that are to be C(0640). Those that are missing are made before the program makes them for
        everybody to read. Of other files in their directories, such as rotated logs, others lose their access.
    type: list
    elements: path
    default: []
  private_logs_owner:
    description: Owner of O(private_logs), when not the user that runs the module.
    type: str
    default: ""
  private_logs_group:
    description: Group of O(private_logs), when not that of the user that runs the module.
    type: str
    default: ""
  in_place:
    description:
      - Name of the generation that M(webops.wsgi.host_state) has found untouched and in service, empty for none.
      - When the wanted files are those of that generation the host is not asked again.
    type: str
    default: ""
"""
