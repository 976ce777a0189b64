# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows where a request breaks, and fails when it does."""

from __future__ import annotations

import json
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.webops.wsgi.plugins.module_utils.explain.model import Outside, Seen, from_data
from ansible_collections.webops.wsgi.plugins.plugin_utils.explain.case import Case
from ansible_collections.webops.wsgi.plugins.plugin_utils.explain.request import Request, location
from ansible_collections.webops.wsgi.plugins.plugin_utils.explain.screen import data, screen
from ansible_collections.webops.wsgi.plugins.plugin_utils.explain.verdict import findings, verdict
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import plain
from ansible_collections.webops.wsgi.plugins.plugin_utils.nginx.site import merged_locations

FORMATS = ("text", "json")


class ActionModule(ActionBase):
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = plain(self._task.args)
        wanted = arguments.get("format", "text")
        if wanted not in FORMATS:
            raise AnsibleActionFail(f'format is "{wanted}"; write -e format=text or -e format=json')
        cases = _cases(arguments)
        found = [(case, findings(case)) for case in cases]
        if wanted == "json":
            self._display.display(json.dumps([data(case, every) for case, every in found], indent=2))
        else:
            self._display.display("\n\n".join(screen(case, every) for case, every in found))
        causes = [cause for _case, every in found if (cause := verdict(every)) and cause.breaks]
        result.update(changed=False, failed=bool(causes))
        if causes:
            result["msg"] = causes[0].cause
        return result


def _cases(arguments: dict[str, Any]) -> list[Case]:
    asked = arguments["request"]
    request, outside = Request(**asked["request"]), from_data(Outside, asked["outside"])
    looks = [(from_data(Seen, look["seen"]), look) for look in arguments["looks"] if "seen" in look]
    arrived = any(seen.traffic.arrived for seen, _look in looks)
    cases = []
    for seen, look in looks:
        app = next(app for app in arguments["apps"][look["host"]] if app["name"] == asked["app"])
        settings = merged_locations(app["nginx"])[location(app, request.path)]
        cases.append(Case(request, app, settings, outside, seen, arrived))
    return cases
