# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller's half of app_status: says how each app is asked for its health."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean
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
            "traffic": boolean(self._task.args.get("traffic", False)),
            "samples": {app["name"]: app["nginx"]["access_log_sample"] for app in apps if not _uncounted(app)},
            "host": (task_vars or {}).get("inventory_hostname", ""),
        }
        result.update(
            self._execute_module(module_name="webops.wsgi.app_status", module_args=options, task_vars=task_vars)
        )
        check_terminal(result, options["host"])
        if options["traffic"] and "apps" in result:
            notes = {app["name"]: _uncounted(app) for app in apps}
            result["apps"] = [{**row, "uncounted": notes[row["app"]]} for row in result["apps"]]
        return result


def _uncounted(app: dict[str, Any]) -> str:
    """Why an app has no log file of nginx's; empty when it has one."""
    if not app["domains"] and not app["below"]:
        return "nginx does not serve it"
    where = app["nginx"]["access_log"]
    return "" if where == "file" else f"nginx_proxy_access_log is {where}, and only files are counted"
