#!/usr/bin/python
# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: balancer_drain
short_description: Note on a balancer which app hosts get no new requests
version_added: 0.1.0
description:
  - A drained host is noted in a file, so that it stays drained whatever is reloaded. The configuration of nginx has to
    follow, with the role M(webops.wsgi.nginx_proxy).
  - Refuses to drain a host when an app would be left with too few healthy ones.
author: webops.wsgi contributors (@webops)
attributes:
  check_mode:
    description: Can run in check mode and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Will return details on what has changed, or would change, when in diff mode.
    support: none
options:
  apps:
    description: The apps, as M(webops.wsgi.app_settings) resolves them for a balancer.
    type: list
    elements: dict
    required: true
  host:
    description: Name of the app host. Empty only looks.
    type: str
    default: ""
  state:
    description:
      - V(drained) for no new requests, V(served) to put the host back, when it is healthy. V(idle) waits until nothing
        is in progress there.
    type: str
    choices: [drained, served, idle, looked]
    default: looked
  by_run:
    description:
      - Whether a run drains the host that will put it back itself. If it is killed, the next C(site.yml) does that.
    type: bool
    default: false
  min_hosts:
    description: Healthy hosts that each app must keep.
    type: int
    default: 1
  timeout:
    description: Seconds that what is in progress gets, and a host that is to be put back.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Drain a host
  webops.wsgi.balancer_drain:
    apps: "{{ __wsgi_apps }}"
    host: web2
    state: drained
"""

RETURN = r"""
drained:
  description: Hosts that are drained, and whether a C(person) or a C(run) has done it.
  returned: success
  type: dict
  sample: {web2: person}
faults:
  description: What is wrong with each app on each host, by app and host; an empty text for a healthy one.
  returned: when O(state=looked)
  type: dict
left:
  description: Connections that were still open when the time was over.
  returned: when O(state=idle)
  type: int
"""

import time
from pathlib import Path
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.balancer import drain, drained
from ansible_collections.webops.wsgi.plugins.module_utils.quiet_module import QuietModule
from ansible_collections.webops.wsgi.plugins.module_utils.release.health import Health


def _app(told: dict[str, Any]) -> drain.App:
    health = Health(**{**told["health"], "statuses": tuple(told["health"]["statuses"])})
    return drain.App(told["name"], health, [drain.Server(**server) for server in told["servers"]])


def _tables() -> list[str]:
    """Connections as the kernel has them, over IPv4 and, where the host has it, IPv6."""
    return [table.read_text() for table in map(Path, ("/proc/net/tcp", "/proc/net/tcp6")) if table.exists()]


def _wait_healthy(apps: list[drain.App], host: str, seconds: int) -> str:
    """Wait until every app of a host answers well; what is wrong when it does not in time."""
    own = [drain.App(app.name, app.health, [server for server in app.servers if server.host == host]) for app in apps]
    ends = time.monotonic() + seconds
    while True:
        told = ((app, fault) for app, found in drain.faults(own).items() for fault in found.values())
        wrong = [f'app "{app}": {fault}' for app, fault in told if fault]
        if not wrong or time.monotonic() > ends:
            return "\n".join(wrong)
        time.sleep(0.5)


def main() -> None:
    module = QuietModule(
        argument_spec={
            "apps": {"type": "list", "elements": "dict", "required": True},
            "host": {"type": "str", "default": ""},
            "state": {"type": "str", "choices": ["drained", "served", "idle", "looked"], "default": "looked"},
            "by_run": {"type": "bool", "default": False},
            "min_hosts": {"type": "int", "default": 1},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    given = module.params
    host, state, dry = given["host"], given["state"], module.check_mode
    apps = list(map(_app, given["apps"]))
    out = drained.drained()
    result: dict[str, Any] = {"changed": False}
    if state == "drained" and host not in out:
        try:
            drain.check(host, apps, out, given["min_hosts"])
        except drain.DrainError as error:
            module.fail_json(msg=str(error))
    if state == "drained":
        result["changed"] = drained.put(host, drained.RUN if given["by_run"] else drained.PERSON, dry=dry)
    elif state == "served" and host in out and not (given["by_run"] and out[host] == drained.PERSON):
        wrong = "" if dry else _wait_healthy(apps, host, given["timeout"])
        if wrong:
            module.fail_json(msg=f"{host} stays drained, since it is not healthy:\n{wrong}")
        result["changed"] = drained.take_back(host, dry=dry)
    elif state == "idle" and not dry:
        servers = {server.host: server for app in apps for server in app.servers if server.host == host}
        result["left"] = drain.wait(list(servers.values()), given["timeout"], _tables)
        if result["left"]:
            module.warn(f"{result['left']} requests are still in progress on {host} after {given['timeout']} seconds")
    elif state == "looked":
        result["faults"] = drain.faults(apps)
    module.exit_json(**result, drained=drained.drained())


if __name__ == "__main__":
    main()
