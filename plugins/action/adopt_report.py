# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prints or writes the inventory of a host that was set up by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.webops.wsgi.plugins.plugin_utils.adopt.inventory import inventory
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import plain

CONNECTION = ("ansible_host", "ansible_port", "ansible_user")


class ActionModule(ActionBase):
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        known = task_vars or {}
        host = str(known.get("inventory_hostname", "host"))
        variables = {name: plain(known[name]) for name in CONNECTION if known.get(name) not in (None, "")}
        taken = plain(self._task.args.get("taken") or [])
        text = inventory(host, plain(self._task.args["apps"]), variables, set(taken))
        output = self._task.args.get("output")
        if not output:
            self._display.display(text)
        else:
            _write(text, Path(output).expanduser().absolute())
            self._display.display(f"The inventory is {output}; read its comments first")
        result["changed"] = False
        return result


def _write(text: str, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise AnsibleActionFail(f"output is {path}, which exists; write -e output=FILE for a new one") from None
    except OSError as error:
        raise AnsibleActionFail(f"cannot write {path}: {error}; write -e output=FILE for another file") from None
