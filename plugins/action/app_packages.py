# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller's half of app_packages: packages that cannot be installed are the failure of the app that wants them."""

from __future__ import annotations

from typing import Any

from ansible_collections.webops.wsgi.plugins.plugin_utils.app_failures import FailuresOfApps

KEYS = ("name", "system_packages", "build_packages")


class ActionModule(FailuresOfApps):
    """Runs the module of the same name, with as much of the apps as it needs."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        self._task.args["apps"] = [{key: app[key] for key in KEYS} for app in self._task.args["apps"]]
        return super().run(tmp, task_vars)
