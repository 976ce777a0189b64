# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds out on the controller what of a host is taken over, and refuses what would lose something."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.webops.wsgi.plugins.plugin_utils.adopt import moves
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import plain
from ansible_collections.webops.wsgi.plugins.plugin_utils.resolved_apps import resolved_apps

DATA = ("", "carried", "left")


class ActionModule(ActionBase):
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        known = task_vars or {}
        apps, found = resolved_apps(self._task.args, known), plain(self._task.args["found"])
        data = str(self._task.args.get("data") or "")
        if data not in DATA:
            raise AnsibleActionFail(f'data is "{data}"; write -e data=carried or -e data=left')
        moved = moves.moves(apps, found)
        host = str(known.get("inventory_hostname", "host"))
        if refused := moves.problems(host, apps, found, moved, bool(data)):
            raise AnsibleActionFail("Nothing was touched:\n" + "\n".join(f"- {text}" for text in refused))
        listed = "".join(f"\n    {move.app['name']}: from {move.found['program']['where']}" for move in moved)
        self._display.display(f"{host} takes over, and until nginx has moved what serves now goes on to serve:{listed}")
        result["changed"] = False
        result["given_up"] = moves.given_up(apps, moved)
        result["programs"] = moves.programs(moved)
        result["questions"] = moves.questions(moved)
        result["lineages"] = moves.lineages(moved)
        return result
