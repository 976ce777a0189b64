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
  - Reads release, state, health, maintenance, workers, memory, restarts, disk and certificate of every app in one call.
  - The journal of the release in service is searched for processes that a signal ended and what its sandbox refused.
  - For each domain the certificate on the wire is compared with the one on disk.
  - Where O(traffic) asks for it, the access logs of the last day are counted, with their rotated files, for no longer
    than 20 seconds and at a low priority.
author: webops.wsgi contributors (@webops)
extends_documentation_fragment: [webops.wsgi.reads]
options:
  apps:
    description: The apps as the action M(webops.wsgi.app_settings) resolves them.
    type: list
    elements: dict
  checks:
    description: What a healthy instance answers, by app; the action plugin makes this from O(apps).
    type: dict
    default: {}
  domains:
    description: Names that each app serves over TLS; the action plugin makes this from O(apps).
    type: dict
    default: {}
  logs:
    description: How the server of each app writes to the journal; the action plugin makes this from O(apps).
    type: dict
    default: {}
  urls:
    description: Where clients find each app; the action plugin makes this from O(apps).
    type: dict
    default: {}
  https_port:
    description: Port at which nginx serves them; the action plugin sets this.
    type: int
    default: 443
  traffic:
    description: Whether to count the requests, latencies and errors of the last day from the access logs.
    type: bool
    default: false
  samples:
    description: Share of the requests that is logged, by app with a log file; the action plugin makes it from O(apps).
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
      maintenance: false
      workers: 2
      beside: {celery: active}
      worker_memory_bytes: 34000000
      memory_max_bytes: 400000000
      shortage: ""
      memory_bytes: 81000000
      restarts: 0
      faults:
        - process: ""
          text: a worker was ended by SIGSEGV
          count: 3
          fix: a compiled package crashed; ...
      previous: ["4", "3"]
      failed: []
      disk_bytes: 61000000
      certificate_days: 60
      certificate_problem: ""
      url: https://api.example.com/
      since: Sun 2026-11-22 14:00:00 UTC
      history: []
      traffic: # with O(traffic) only; steps of ten minutes, latencies in milliseconds
        start: 1795787700.0
        until: 1795874065.2
        step: 600
        since: 1795787700.0
        requests: [812, 790]
        client_errors: [3, 0]
        server_errors: [0, 0]
        closed: 0
        p50: [8.2, 8.1]
        p99: [61.0, 60.2]
        day_p50: 8.2
        day_p99: 60.9
        failing: []
"""

import datetime
import os
import time
import typing as t
from pathlib import Path

from ansible_collections.webops.wsgi.plugins.module_utils.certificates import status as certificate_status
from ansible_collections.webops.wsgi.plugins.module_utils.certificates import store
from ansible_collections.webops.wsgi.plugins.module_utils.failures.server_log import ServerLog
from ansible_collections.webops.wsgi.plugins.module_utils.managers.host import Managers
from ansible_collections.webops.wsgi.plugins.module_utils.managers.model import ManagerError
from ansible_collections.webops.wsgi.plugins.module_utils.quiet_module import QuietModule
from ansible_collections.webops.wsgi.plugins.module_utils.release import status
from ansible_collections.webops.wsgi.plugins.module_utils.release.health import Health
from ansible_collections.webops.wsgi.plugins.module_utils.release.layout import Paths
from ansible_collections.webops.wsgi.plugins.module_utils.traffic.day import days

NICENESS = 10  # of counting; the host has other work


def main() -> None:
    module = QuietModule(
        argument_spec={
            "apps": {"type": "list", "elements": "dict"},
            "checks": {"type": "dict", "default": {}},
            "domains": {"type": "dict", "default": {}},
            "logs": {"type": "dict", "default": {}},
            "urls": {"type": "dict", "default": {}},
            "https_port": {"type": "int", "default": 443},
            "traffic": {"type": "bool", "default": False},
            "samples": {"type": "dict", "default": {}},
            "host": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    checks = {
        app: Health(**{**check, "statuses": tuple(check["statuses"])}) for app, check in module.params["checks"].items()
    }
    logs = {app: ServerLog(**log) for app, log in module.params["logs"].items()}
    try:
        paths = Paths()
        rows = status.read(paths, checks, Managers(paths), Path("/etc/nginx/tls"), logs)
    except ManagerError as error:
        module.fail_json(msg=str(error))
    wrong = certificate_status.problems(
        store.Host(run=_run_nothing, port=module.params["https_port"]),
        module.params["domains"],
        datetime.datetime.now(datetime.UTC),
    )
    for row in rows:
        row.update(
            host=module.params["host"],
            certificate_problem=wrong.get(row["app"], ""),
            url=module.params["urls"].get(row["app"], ""),
        )
    if module.params["traffic"]:
        _count(rows, paths, module.params["samples"])
    module.exit_json(changed=False, apps=rows)


def _count(rows: list[dict[str, t.Any]], paths: Paths, samples: dict[str, float]) -> None:
    """Add to each row what its access log says of the last day."""
    os.nice(NICENESS)
    logs = {app: (paths.access_logs(app), float(sample)) for app, sample in samples.items()}
    # One that is not there has counted nothing, which is not the same as no requests.
    found = days({app: (files, sample) for app, (files, sample) in logs.items() if files}, time.time())
    for row in rows:
        row["traffic"] = found.get(row["app"])


def _run_nothing(_command: t.Sequence[str], _environment: t.Mapping[str, str]) -> store.Completed:
    return store.Completed(1, "status runs no programs")


if __name__ == "__main__":
    main()
