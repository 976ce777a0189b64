# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Says at the end of a play which of its apps have failed."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.webops.wsgi.plugins.plugin_utils.app_failures import ReportedError
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import plain


class ActionModule(ActionBase):
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        failures = plain(self._task.args["failures"])
        if failures:
            raise ReportedError("\n".join(failures.values()), result=result)
        result["changed"] = False
        return result
