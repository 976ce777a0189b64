# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller's half of balancer_drain: says how each app is asked for its health, and of which hosts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.webops.wsgi.plugins.action.app_release import health_options
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import plain

PATIENCE = 5  # seconds for an answer; a host that takes longer is not fit to take over


def described(app: Mapping[str, Any]) -> dict[str, Any]:
    """What a balancer needs to ask an app's hosts."""
    health = health_options(app)
    return {
        "name": app["name"],
        "health": {**health, "path": app["path"].rstrip("/") + health["path"], "timeout": PATIENCE},
        "servers": [{name: server[name] for name in ("host", "address", "port")} for server in app["servers"]],
    }


class ActionModule(ActionBase):
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        given = plain(self._task.args)
        apps = [app for app in given.pop("apps") if app["state"] == "present" and app["domains"]]
        options = {**given, "apps": [described(app) for app in apps]}
        result.update(
            self._execute_module(module_name="webops.wsgi.balancer_drain", module_args=options, task_vars=task_vars)
        )
        return result
