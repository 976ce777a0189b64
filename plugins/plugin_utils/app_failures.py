# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of a play when some of its apps fail: by default the others go on, and the play fails at its end."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.webops.wsgi.plugins.plugin_utils.terminal import check_terminal

FACT = "wsgi_failed"  # among a host's facts: what failed in this play, a message by app
_APP = re.compile(r'app "([^"]*)"')


class ReportedError(AnsibleActionFail):
    """A failure whose report is shown once: in the error, while the task's result only names the apps.

    ansible-core before 2.19 shows the result alone, and has the report in it.
    """

    @property
    def result_contribution(self) -> Mapping[str, Any]:
        apps = re.findall(r'^app "([^"]*)"', self.message, re.MULTILINE)
        return (
            {**super().result_contribution, "msg": f"failed: {', '.join(apps)}"}
            if apps
            else super().result_contribution
        )


class FailuresOfApps(ActionBase):
    """Runs the module of the same name, and settles the C(failures) of apps that it returns."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        result.update(self._execute_module(task_vars=task_vars))
        if result.get("failed"):
            check_terminal(result, (task_vars or {}).get("inventory_hostname", ""))
            return result
        settle(self, result, by_app(result.pop("failures", [])), task_vars or {})
        if result.get("failed"):
            raise ReportedError(result.pop("msg"), result=result)
        return result


def by_app(messages: Iterable[str]) -> dict[str, str]:
    """Messages by the app that each of them begins with; one that names none is everybody's, under an empty name."""
    found: dict[str, str] = {}
    for message in messages:
        named = _APP.match(message)
        app = named.group(1) if named else ""
        found[app] = f"{found[app]}\n{message}" if app in found else message
    return found


def remember(result: dict[str, Any], task_vars: Mapping[str, Any]) -> dict[str, Any]:
    """A task's result; when the task has failed, and so the host's part of the play ends, with what failed before."""
    earlier = earlier_failures(task_vars)
    if result.get("failed") and earlier:
        result["msg"] = "\n".join([str(result.get("msg", "")), "Earlier in this run:", *earlier.values()])
    return result


def earlier_failures(task_vars: Mapping[str, Any]) -> dict[str, str]:
    """What has failed on the host in this play so far, a message by app."""
    return (task_vars.get("ansible_facts") or {}).get(FACT) or {}


def settle(
    action: ActionBase, result: dict[str, Any], failures: Mapping[str, str], task_vars: Mapping[str, Any]
) -> dict[str, Any]:
    """A task's result with the failures of some apps in it.

    In a play that collects failures (C(__wsgi_failures) is C(collect)) they become a fact of the host: the play leaves
    these apps out from then on and reports them at its end. In any other play the task fails.

    Args:
        action: The action that runs the task.
        result: The result of the task, which is returned.
        failures: A message by app.
        task_vars: The task's variables.
    """
    if not failures:
        return result
    if action._templar.template(task_vars.get("__wsgi_failures", "stop")) != "collect" or "" in failures:
        result.update(failed=True, msg="\n".join(failures.values()))
        return result
    host = task_vars.get("inventory_hostname")
    for app in failures:
        Display().warning(f'{host}: app "{app}" failed. The others go on; why it failed is reported at the end')
    result.setdefault("ansible_facts", {})[FACT] = {**earlier_failures(task_vars), **failures}
    for name in ("failed", "msg", "exception", "rc"):
        result.pop(name, None)
    return result
