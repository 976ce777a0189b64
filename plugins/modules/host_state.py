#!/usr/bin/python
# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_state
short_description: Read in one look what the roles need to know of a host
version_added: 0.1.0
description:
  - Reads the Debian release, interpreters, missing packages, users, apps and the programs that hold the web ports.
  - Refuses a host that cannot serve, before anything on it is changed. What it cannot give to an app, or has that bears
    the name of one, is that app's failure.
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
    description: Names of the apps that the inventory gives this host.
    type: list
    elements: str
    default: []
  packages:
    description: Debian packages to look for.
    type: list
    elements: str
    default: []
  ports:
    description: TCP ports that nginx will listen on; another program that holds one is an error.
    type: list
    elements: int
    default: []
  given_up:
    description: What nginx serves by files of a person and need not serve by them any more.
    type: dict
    default: {}
    suboptions:
      names:
        description: Names that it answers to.
        type: list
        elements: str
        default: []
      places:
        description: Where it passes requests on to that name none of these.
        type: list
        elements: str
        default: []
  uv:
    description: Path at which uv would be.
    type: path
  files:
    description: Files to look for.
    type: list
    elements: path
    default: []
  trees:
    description: Trees of M(webops.wsgi.config_tree) to look at.
    type: list
    elements: dict
    default: []
    suboptions:
      root:
        description: Path of the tree.
        type: path
        required: true
      links:
        description: Symlinks outside the tree that lead into it.
        type: dict
        default: {}
      running:
        description: Plain HTTP address on the host that answers the name of the generation in service.
        type: str
        default: ""
      running_host:
        description: Host header for O(trees[].running).
        type: str
        default: ""
      private_logs:
        description: Logs that only their owner and their group may read.
        type: list
        elements: path
        default: []
      private_logs_owner:
        description: Owner of O(trees[].private_logs).
        type: str
        default: ""
      private_logs_group:
        description: Group of O(trees[].private_logs).
        type: str
        default: ""
      readers:
        description: Group that may look into the tree, empty for everybody.
        type: str
        default: ""
  certificates:
    description:
      - Options of M(webops.wsgi.app_certificates) that its calls have in common; then their certificates are looked at
        too.
    type: dict
    default: {}
  wanted:
    description:
      - What the inventory asks of the host and only the host can judge, as M(webops.wsgi.app_settings) returns it in
        C(on_host). What it cannot give is a failure of the app.
    type: dict
    default: {}
    suboptions:
      calendars:
        description: Times of timers, each with C(app), C(setting) and C(value); systemd must take them.
        type: list
        elements: dict
        default: []
      unit_lines:
        description:
          - Lines for the section Service of a unit, each with C(app), C(setting) and C(value); systemd must know them.
        type: list
        elements: dict
        default: []
      listens:
        description: App to the loopback address that it is to have beside nginx; no other program may have it.
        type: dict
        default: {}
      paths:
        description: Paths that apps may write to or nginx shows; where they lead must be nobody else's.
        type: list
        elements: dict
        default: []
  balancer:
    description:
      - Whether the host is a balancer, which runs no apps itself. Then the apps it has are those that nginx serves, and
        nothing on it can be taken for an app's.
    type: bool
    default: false
  address:
    description: Address that the host must have, and whose network interface is wanted.
    type: str
    default: ""
  root:
    description: Directory of all apps.
    type: path
    default: /srv
"""

EXAMPLES = r"""
- name: Look at the host
  webops.wsgi.host_state:
    apps: [api, reports]
    packages: [nginx, certbot]
    ports: [80, 443]
  register: __wsgi_host
"""

RETURN = r"""
release:
  description: Version of Debian.
  returned: success
  type: str
  sample: "13"
python:
  description: Interpreters by version, those that O(uv) has installed for builds included.
  returned: success
  type: dict
  sample: {"3.13": /usr/bin/python3.13}
default_python:
  description: Version of the host's python3.
  returned: success
  type: str
  sample: "3.13"
nginx_version:
  description: Version of nginx, empty where it is not installed.
  returned: success
  type: str
  sample: 1.26.3
nginx_enabled:
  description: Whether nginx starts at boot.
  returned: success
  type: bool
packages_missing:
  description: Those of O(packages) that are not installed.
  returned: success
  type: list
  elements: str
users:
  description: Those of O(apps) that have their user.
  returned: success
  type: list
  elements: str
builds:
  description: Digests of the complete builds of O(apps).
  returned: success
  type: dict
  sample: {api: [3f2a9c51d04be877]}
times:
  description:
    - When the sources of these builds were first seen, in seconds since the epoch. Hosts that get a build later, be it
      from another controller, give its files the same time.
  returned: success
  type: dict
  sample: {9c1f04be77a2d5e8: 1790000000}
orphans:
  description: Apps that this collection put on the host and O(apps) does not name.
  returned: success
  type: list
  elements: str
certificates:
  description: Those of O(apps) that nginx has a certificate for, be it a placeholder.
  returned: success
  type: list
  elements: str
ipv6:
  description: Whether the host has IPv6.
  returned: success
  type: bool
failures:
  description: What the host refuses to apps, as messages; the action plugin makes them a fact or fails the task.
  returned: success
  type: list
  elements: str
files:
  description: Those of O(files) that are there.
  returned: success
  type: list
  elements: path
drained:
  description: Hosts that a balancer sends no new requests to, and whether a C(person) or a C(run) has said so.
  returned: success
  type: dict
interface:
  description: Network interface that has O(address), of a balancer.
  returned: success
  type: str
trees:
  description:
    - By root the generation of each of O(trees) that is untouched and in service, for
      O(webops.wsgi.config_tree#module:in_place).
    - Empty for one that leaves something to do.
  returned: success
  type: dict
  sample: {/etc/wsgi: 3f2a9c0d11e4b7a6}
certificates_in_place:
  description:
    - For each phase of M(webops.wsgi.app_certificates) what stands for the call that would find nothing to do, for
      O(webops.wsgi.app_certificates#module:in_place).
    - Empty when there is something to do.
  returned: success
  type: dict
releases_in_place:
  description:
    - Those of O(apps) whose release is, and runs, as it was last asked for, each with the C(release) and the
      C(signature) of that request, for O(webops.wsgi.app_release#module:in_place).
  returned: success
  type: dict
uv:
  description: O(uv) where that file exists, else empty.
  returned: success
  type: str
"""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from ansible_collections.webops.wsgi.plugins.module_utils.balancer.drained import drained
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.call import settled
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.store import Completed
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.spec import Spec
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.state import in_place
from ansible_collections.webops.wsgi.plugins.module_utils.host import pythons, wishes
from ansible_collections.webops.wsgi.plugins.module_utils.host import state as host
from ansible_collections.webops.wsgi.plugins.module_utils.managers.host import Managers
from ansible_collections.webops.wsgi.plugins.module_utils.quiet_module import QuietModule, visible
from ansible_collections.webops.wsgi.plugins.module_utils.release import asked
from ansible_collections.webops.wsgi.plugins.module_utils.release.layout import Paths

TREE_OPTIONS = {
    "root": {"type": "path", "required": True},
    "links": {"type": "dict", "default": {}},
    "running": {"type": "str", "default": ""},
    "running_host": {"type": "str", "default": ""},
    "private_logs": {"type": "list", "elements": "path", "default": []},
    "private_logs_owner": {"type": "str", "default": ""},
    "private_logs_group": {"type": "str", "default": ""},
    "readers": {"type": "str", "default": ""},
}

GIVEN_UP_OPTIONS = {
    "names": {"type": "list", "elements": "str", "default": []},
    "places": {"type": "list", "elements": "str", "default": []},
}

WANTED_OPTIONS = {
    "calendars": {"type": "list", "elements": "dict", "default": []},
    "unit_lines": {"type": "list", "elements": "dict", "default": []},
    "listens": {"type": "dict", "default": {}},
    "paths": {"type": "list", "elements": "dict", "default": []},
}


def in_place_releases(apps: list[str], root: Path) -> dict[str, dict[str, str]]:
    """What of the apps' releases is as it was asked for."""
    paths = Paths(root=root)
    return asked.in_place(paths, apps, Managers(paths))


def run(command: Sequence[str], environment: Mapping[str, str]) -> Completed:
    """Run a program that tells how things are."""
    surroundings = {**os.environ, "LC_ALL": "C.UTF-8", **environment}
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", env=surroundings, timeout=30, check=False
    )
    return Completed(done.returncode, done.stdout + done.stderr)


def main() -> None:
    module = QuietModule(
        argument_spec={
            "apps": {"type": "list", "elements": "str", "default": []},
            "packages": {"type": "list", "elements": "str", "default": []},
            "ports": {"type": "list", "elements": "int", "default": []},
            "uv": {"type": "path"},
            "files": {"type": "list", "elements": "path", "default": []},
            "trees": {"type": "list", "elements": "dict", "default": [], "options": TREE_OPTIONS},
            "certificates": {"type": "dict", "default": {}},
            "wanted": {"type": "dict", "default": {}, "options": WANTED_OPTIONS},
            "given_up": {"type": "dict", "default": {}, "options": GIVEN_UP_OPTIONS},
            "balancer": {"type": "bool", "default": False},
            "address": {"type": "str", "default": ""},
            "root": {"type": "path", "default": "/srv"},
        },
        supports_check_mode=True,
    )
    release = host.os_release(Path("/etc/os-release").read_text())
    held = host.listeners(module.params["ports"])
    default = host.default_python()
    root = Path(module.params["root"])
    problems = host.problems(release, default, held)
    problems += host.foreign_sites(given_up=module.params["given_up"]) if module.params["ports"] else []
    problems += host.foreign_address(module.params["address"])
    balancer = module.params["balancer"]
    managed = host.served_apps() if balancer else host.managed_apps(root)
    if problems:
        module.fail_json(msg="This host cannot be set up:\n" + "\n".join(f"- {problem}" for problem in problems))
    refused = [] if balancer else [text for app in module.params["apps"] for text in host.foreign(app, root)]
    refused += wishes.problems(module.params["wanted"], {*module.params["apps"], *managed})
    uv = module.params["uv"] or ""
    by_uv = pythons.installed(pythons.Installer(uv)) if uv else {}
    state = {
        "release": release.get("VERSION_ID", ""),
        "python": {**by_uv, **host.interpreters()},
        "default_python": default,
        "nginx_version": host.program_version(["/usr/sbin/nginx", "-v"], r"nginx/([\d.]+)"),
        "nginx_enabled": Path("/etc/systemd/system/multi-user.target.wants/nginx.service").exists(),
        "packages_missing": host.missing_packages(Path("/var/lib/dpkg/status").read_text(), module.params["packages"]),
        "users": host.existing_users(module.params["apps"]),
        "builds": host.builds(module.params["apps"], root),
        "times": host.times(module.params["apps"], root),
        "orphans": sorted(set(managed) - set(module.params["apps"])),
        "certificates": host.with_certificate(module.params["apps"]),
        "ipv6": host.has_ipv6(),
        "interface": host.interface_of(module.params["address"]) if balancer else "",
        "drained": drained(),
        "failures": [visible(text) for text in refused],
        "files": [path for path in module.params["files"] if Path(path).is_file()],
        "trees": {tree["root"]: in_place(Spec(files=(), **tree)) for tree in module.params["trees"]},
        "uv": uv if Path(uv).is_file() else "",
        "releases_in_place": {} if balancer else in_place_releases(module.params["apps"], root),
        "certificates_settled": bool(module.params["certificates"]) and settled(module.params["certificates"], run),
    }
    if state["packages_missing"] and (holder := host.holder_of_apt()):
        module.warn(f"{holder} keeps apt from installing packages; the run waits for it, ten minutes or more")
    module.exit_json(changed=False, **state)


if __name__ == "__main__":
    main()
