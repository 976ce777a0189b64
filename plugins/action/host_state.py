# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller's half of host_state: what the host cannot give to an app is that app's failure, and what it still has of
others is said."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.webops.wsgi.plugins.action.app_certificates import Call, signature
from ansible_collections.webops.wsgi.plugins.plugin_utils.app_failures import FailuresOfApps
from ansible_collections.webops.wsgi.plugins.plugin_utils.resolved_apps import FACT, resolved_apps

PHASES = ("placeholder", "issued")
UNKNOWN = '{} still has {}, which wsgi_apps does not name. Left as it is; to remove an app give it "state: absent"'
MOVED = (
    '{0} still has {1}, which "hosts:" places elsewhere. Left as it is; to remove one there: '
    "webops.wsgi.site --limit {0} -e '{2}'"
)


class ActionModule(FailuresOfApps):
    """Runs the module of the same name, which learns of certificates what their own module would be told."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        common = self._task.args.pop("certificates", None)
        calls: dict[str, dict[str, Any]] = {}
        if common:
            call = Call(self, task_vars or {})
            calls = {phase: call.options({"ensure": phase, "options": common}) for phase in PHASES}
            self._task.args["certificates"] = calls["issued"]  # no private key is needed to look
        result = super().run(tmp, task_vars)
        told = _strangers(result.get("orphans") or (), task_vars or {})
        if told:
            result["warnings"] = [*result.get("warnings", []), *told]
        settled = result.pop("certificates_settled", False)
        signatures = {phase: signature(options) for phase, options in calls.items()} if settled else {}
        return {**result, "certificates_in_place": signatures}


def _strangers(orphans: Iterable[str], task_vars: Mapping[str, Any]) -> list[str]:
    """What is said of apps that the host should not have; a playbook about one app asks for that one alone."""
    host = task_vars.get("inventory_hostname", "")
    named = {app["name"] for app in resolved_apps({}, task_vars)} if FACT in task_vars else set()
    placed = set((task_vars.get("__wsgi_settings") or {}).get("elsewhere", ()))
    moved = [app for app in orphans if app in placed]
    unknown = [app for app in orphans if app not in named | placed]
    told = [UNKNOWN.format(host, ", ".join(unknown))] if unknown else []
    if moved:
        absent = json.dumps({"wsgi_apps": [{"name": moved[0], "state": "absent"}]})
        told.append(MOVED.format(host, ", ".join(moved), absent))
    return told
