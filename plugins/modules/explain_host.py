#!/usr/bin/python
# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: explain_host
short_description: Look at everything on a host that a request passes
version_added: 0.2.0
description:
  - Reads nginx, the certificate, the release in service, its socket, its health and the logs, and sends the request
    twice, through nginx and straight to the app.
  - M(webops.wsgi.explain_report) says from it where the request breaks.
author: webops.wsgi contributors (@webops)
extends_documentation_fragment: [webops.wsgi.reads]
options:
  request:
    description: What M(webops.wsgi.explain_request) returned.
    type: dict
  apps:
    description: The apps as the action M(webops.wsgi.app_settings) resolves them.
    type: list
    elements: dict
  tree:
    description: Where nginx's configuration is and how it is asked which of it is in service.
    type: dict
    required: true
  app:
    description: The app; the action plugin sets this and what follows from O(request) and O(apps).
    type: str
    default: ""
  domain:
    description: Name in the request.
    type: str
    default: ""
  path:
    description: Path of the request, with its query.
    type: str
    default: /
  scheme:
    description: Scheme of the request.
    type: str
    default: https
  port:
    description: Port at which nginx serves it.
    type: int
    default: 443
  ports:
    description: Ports of nginx.
    type: list
    elements: int
    default: []
  tls:
    description: Whether the app is served over TLS.
    type: bool
    default: true
  health:
    description: What the app's healthy instance answers.
    type: dict
    default: {}
  inside:
    description: How the app is asked for the same path over its socket.
    type: dict
    default: {}
  log:
    description: How the app's server writes to the journal.
    type: dict
    default: {}
  access_log:
    description: The app's access log; empty where there is none.
    type: str
    default: ""
  logs_all:
    description: Whether the access log has each request.
    type: bool
    default: true
  identity:
    description: The X-Request-ID of the request from outside.
    type: str
    default: ""
  limit:
    description: Seconds that an answer may take.
    type: float
    default: 65
  host:
    description: Name of the host in the inventory.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Look at the host
  webops.wsgi.explain_host:
    request: "{{ __wsgi_request }}"
    apps: "{{ __wsgi_apps }}"
    tree: "{{ __nginx_proxy_where }}"
  register: __wsgi_look
"""

RETURN = r"""
host:
  description: Name of the host in the inventory.
  returned: success
  type: str
seen:
  description: What was seen.
  returned: success
  type: dict
"""

import typing as t
from dataclasses import asdict

from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.spec import Spec
from ansible_collections.webops.wsgi.plugins.module_utils.explain.look import Question, look
from ansible_collections.webops.wsgi.plugins.module_utils.failures.server_log import ServerLog
from ansible_collections.webops.wsgi.plugins.module_utils.managers.host import Managers
from ansible_collections.webops.wsgi.plugins.module_utils.managers.model import ManagerError
from ansible_collections.webops.wsgi.plugins.module_utils.quiet_module import QuietModule
from ansible_collections.webops.wsgi.plugins.module_utils.release.health import Health


def main() -> None:
    module = QuietModule(
        argument_spec={
            "request": {"type": "dict"},
            "apps": {"type": "list", "elements": "dict"},
            "tree": {"type": "dict", "required": True},
            "app": {"type": "str", "default": ""},
            "domain": {"type": "str", "default": ""},
            "path": {"type": "str", "default": "/"},
            "scheme": {"type": "str", "default": "https"},
            "port": {"type": "int", "default": 443},
            "ports": {"type": "list", "elements": "int", "default": []},
            "tls": {"type": "bool", "default": True},
            "health": {"type": "dict", "default": {}},
            "inside": {"type": "dict", "default": {}},
            "log": {"type": "dict", "default": {}},
            "access_log": {"type": "str", "default": ""},
            "logs_all": {"type": "bool", "default": True},
            "identity": {"type": "str", "default": ""},
            "limit": {"type": "float", "default": 65},
            "host": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    given = module.params
    question = Question(
        app=given["app"],
        domain=given["domain"],
        path=given["path"],
        scheme=given["scheme"],
        port=given["port"],
        ports=tuple(given["ports"]),
        tls=given["tls"],
        health=_health(given["health"]),
        inside=_health(given["inside"]),
        log=ServerLog(**given["log"]),
        access_log=given["access_log"],
        logs_all=given["logs_all"],
        identity=given["identity"],
        tree=Spec(files=(), **given["tree"]),
        limit=given["limit"],
    )
    try:
        seen = look(question, Managers(question.paths))
    except ManagerError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, host=given["host"], seen={**asdict(seen), "host": given["host"]})


def _health(options: dict[str, t.Any]) -> Health:
    return Health(**{**options, "statuses": tuple(options["statuses"])})


if __name__ == "__main__":
    main()
