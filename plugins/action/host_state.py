# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller's half of host_state: what the host cannot give to an app is that app's failure."""

from __future__ import annotations

from typing import Any

from ansible_collections.webops.wsgi.plugins.action.app_certificates import Call, signature
from ansible_collections.webops.wsgi.plugins.plugin_utils.app_failures import FailuresOfApps

PHASES = ("placeholder", "issued")


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
        settled = result.pop("certificates_settled", False)
        signatures = {phase: signature(options) for phase, options in calls.items()} if settled else {}
        return {**result, "certificates_in_place": signatures}
