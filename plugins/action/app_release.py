# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller's half of app_release: render the units of every app, then one remote process does the rest."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Mapping
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.webops.wsgi.plugins.action.config_tree import Renderer
from ansible_collections.webops.wsgi.plugins.module_utils.systemd import environment_file

# Option of the module -> template of the role
TEMPLATES = {
    "unit": "app@.service.j2",
    "settings": "release.conf.j2",
    "target": "app.target.j2",
    "runtime": "tmpfiles.conf.j2",
}

NO_BUILD = {"digest": "", "source": ""}  # a rollback has nothing to build


def environment(app: Mapping[str, Any]) -> str:
    """The environment file of an app: what anyone may see and what nobody may, in one file that only root reads."""
    return environment_file({**app["env"], **app["secrets"]})


def health_options(app: Mapping[str, Any]) -> dict[str, Any]:
    """What a healthy instance of the app answers."""
    settings = app["release"]
    return {
        "path": settings["health_path"],
        "statuses": [str(status) for status in settings["health_status"]],
        "host": app["domains"][0] if app["domains"] else "localhost",
        "scheme": "http" if app["tls"] == "off" else "https",
        "timeout": settings["health_timeout"],
        "interval": settings["health_interval"],
        "body": settings["health_body"],
        "headers": settings["health_headers"],
        "successes": settings["health_successes"],
    }


class ActionModule(ActionBase):
    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = self._task.args
        renderer = Renderer(self, task_vars or {})
        builds, configs = arguments.get("builds", {}), arguments.get("configs", {})
        options = {
            "releases": [
                self._release(app, builds.get(app["name"], NO_BUILD), configs.get(app["name"], ""), renderer)
                for app in arguments["apps"]
                if app["state"] == "present"
            ],
            "absent": [
                {"name": app["name"], "purge": app["purge"]} for app in arguments["apps"] if app["state"] == "absent"
            ],
            "rollback": arguments.get("rollback", {}),
            "who": f"{getpass.getuser()}@{socket.gethostname()}",
        }
        result.update(
            self._execute_module(module_name="webops.wsgi.app_release", module_args=options, task_vars=task_vars)
        )
        return result

    def _release(
        self, app: Mapping[str, Any], build: Mapping[str, Any], config: str, renderer: Renderer
    ) -> dict[str, Any]:
        files = {
            option: renderer.render(template, {"app": app, "settings": app["release"]})
            for option, template in TEMPLATES.items()
        }
        return {
            "name": app["name"],
            "build": build["digest"],
            "source": build["source"],
            "config": config,
            **files,
            "environment": environment(app),
            "health": health_options(app),
            "drain": app["release"]["drain"],
            "keep": app["release"]["keep"],
        }
