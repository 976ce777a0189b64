# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller's half of compose_status: says where clients find each app."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import plain
from ansible_collections.webops.wsgi.plugins.plugin_utils.nginx.site import url


class ActionModule(ActionBase):
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        apps = [plain(app) for app in self._task.args["apps"] if app["state"] == "present"]
        told = [{"name": app["name"], "url": url(app) if app["domains"] else ""} for app in apps]
        options = {**self._task.args, "apps": told}
        name = "webops.wsgi.compose_status"
        result.update(self._execute_module(module_name=name, module_args=options, task_vars=task_vars))
        return result
