# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows what app_status read, as lines that no result format wraps or quotes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.webops.wsgi.plugins.module_utils.release.status import history_table, overview
from ansible_collections.webops.wsgi.plugins.plugin_utils.fleet import view
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import plain
from ansible_collections.webops.wsgi.plugins.plugin_utils.page import page

FORMATS: dict[str, Callable[[list[dict[str, Any]]], str]] = {
    "table": overview,
    "history": history_table,
    "json": lambda rows: json.dumps(rows, indent=2),
}


class ActionModule(ActionBase):
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        rows, wanted = plain(self._task.args["rows"]), self._task.args.get("format", "table")
        views = plain(self._task.args.get("views") or {})
        if views:
            rows = [{**row, "rotation": view.rotation(row, views)} for row in rows]
        if wanted == "html":
            self._write_page(rows)
        elif wanted in FORMATS:
            self._display.display(FORMATS[wanted](rows))
        else:
            choice = " or ".join(f"-e format={name}" for name in [*FORMATS, "html"])
            raise AnsibleActionFail(f'format is "{wanted}"; write {choice}')
        if wanted == "table":
            for line in view.skew(rows):
                self._display.warning(line)
        result["changed"] = False
        return result

    def _write_page(self, rows: list[dict[str, Any]]) -> None:
        directory = self._task.args.get("output")
        if not directory:
            raise AnsibleActionFail("output is not set: the directory for the page; write -e output=DIR")
        text = page.render(rows, time.time(), plain(self._task.args.get("missing") or []))
        try:
            path = page.write(text, directory)
        except OSError as error:
            # What Ansible is given as the cause, it shows once more.
            raise AnsibleActionFail(
                f"cannot write the page: {error}; write -e output=DIR for another directory"
            ) from None
        self._display.display(f"The page is {path}")
