# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller's half of app_status: says how each app is asked for its health."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.webops.wsgi.plugins.action.app_release import health_options
from ansible_collections.webops.wsgi.plugins.plugin_utils.nginx.site import url
from ansible_collections.webops.wsgi.plugins.plugin_utils.servers.model import server
from ansible_collections.webops.wsgi.plugins.plugin_utils.terminal import check_terminal


class ActionModule(ActionBase):
    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        apps = [app for app in self._task.args["apps"] if app["state"] == "present"]
        options = {
            "checks": {app["name"]: health_options(app) for app in apps},
            "domains": {app["name"]: app["domains"] for app in apps if app["tls"] != "off"},
            "logs": {app["name"]: asdict(server(app["server"]["name"]).log) for app in apps},
            "urls": {app["name"]: url(app) for app in apps if app["domains"]},
            "https_port": (apps[0]["nginx"] if apps else {}).get("https_port", 443),
            "host": (task_vars or {}).get("inventory_hostname", ""),
        }
        result.update(
            self._execute_module(module_name="webops.wsgi.app_status", module_args=options, task_vars=task_vars)
        )
        check_terminal(result, options["host"])
        return result
