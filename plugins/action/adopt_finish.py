# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller's half of adopt_finish: tells a person what was stopped, and the way back."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        result.update(self._execute_module(task_vars=task_vars))
        if not result.get("failed"):
            self._display.display(
                message(str((task_vars or {}).get("inventory_hostname", "")), result, self._task.check_mode)
            )
        return result


def message(host: str, done: dict[str, Any], check: bool) -> str:
    """What a person is told at the end."""
    if done["busy"]:
        return (
            f"{host}: nginx serves the apps of this collection. Requests that began before are still answered by "
            "the old set-up, so it was not stopped; run the same again later"
        )
    if not done["stopped"]:
        return f"{host}: everything is taken over, there is nothing left to stop"
    back = "\n".join(f"    {command}" for command in done["back"])
    if check:
        return f"{host}: would stop and disable, not remove: {', '.join(done['stopped'])}"
    return (
        f"{host}: stopped and disabled, not removed: {', '.join(done['stopped'])}\n"
        f"The way back, as root on the host, in this order:\n{back}"
    )
