# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller's half of explain_host: says how the app is asked, and where its logs are."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.webops.wsgi.plugins.action.app_release import health_options
from ansible_collections.webops.wsgi.plugins.plugin_utils.explain.request import Request, location
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import plain
from ansible_collections.webops.wsgi.plugins.plugin_utils.nginx.site import merged_locations
from ansible_collections.webops.wsgi.plugins.plugin_utils.servers.model import server
from ansible_collections.webops.wsgi.plugins.plugin_utils.terminal import check_terminal


class ActionModule(ActionBase):
    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = plain(self._task.args)
        wanted = arguments["request"]
        host = (task_vars or {}).get("inventory_hostname", "")
        app = next((app for app in arguments["apps"] if app["name"] == wanted["app"]), None)
        if app is None or app["state"] != "present":
            result.update(changed=False, skipped=True, msg=f'{host} does not have the app "{wanted["app"]}"')
            return result
        options = {**_question(app, wanted), "tree": arguments["tree"], "host": host}
        asked = time.time()
        result.update(
            self._execute_module(module_name="webops.wsgi.explain_host", module_args=options, task_vars=task_vars)
        )
        if "seen" in result:
            result["seen"].update(asked=asked, answered=time.time())
        check_terminal(result, host)
        return result


def _question(app: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    request = Request(**wanted["request"])
    health = health_options(app)
    settings = merged_locations(app["nginx"])[location(app, request.path)]
    below = {"SCRIPT_NAME": app["path"]} if app["path"] != "/" else {}
    return {
        "app": app["name"],
        "domain": request.domain,
        "path": request.path,
        "scheme": request.scheme,
        "port": app["nginx"][f"{request.scheme}_port"],
        "ports": [app["nginx"]["http_port"], app["nginx"]["https_port"]],
        "tls": app["tls"] != "off",
        "health": health,
        "inside": {
            **health,
            "path": request.path,
            "host": request.domain,
            "statuses": ["100-599"],
            "body": "",
            "headers": below,
            "timeout": wanted["limit"],
        },
        "log": asdict(server(app["server"]["name"]).log),
        "access_log": f"/var/log/nginx/{app['name']}.access.log" if settings["access_log"] == "file" else "",
        "logs_all": app["nginx"]["access_log_sample"] == 1,
        "identity": wanted["outside"]["identity"],
        "limit": wanted["limit"],
    }
