"""Append to a file, one JSON line a play run, which tasks changed something or would (check mode)."""

from __future__ import annotations

import json
import os
from typing import Any

from ansible import context
from ansible.executor.task_result import TaskResult
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: record_changes
type: notification
short_description: Records which tasks changed something
description:
  - Writes a JSON line with the keys C(playbook), C(hosts), C(check), C(changed) and C(failed) when a playbook ends.
  - The last two are lists of C([host, task]).
  - The file is named by the environment variable E(RECORD_CHANGES_TO); without it nothing is written.
"""


class CallbackModule(CallbackBase):
    """See DOCUMENTATION."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "record_changes"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._playbook = ""
        self._changed: list[tuple[str, str]] = []
        self._failed: list[tuple[str, str]] = []

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Remember the playbook's name."""
        self._playbook = os.path.basename(playbook._file_name)

    def v2_runner_on_ok(self, result: TaskResult) -> None:
        """Remember a task that changed something."""
        if result._result.get("changed"):
            self._changed.append((result._host.get_name(), result._task.get_name()))

    def v2_runner_on_failed(self, result: TaskResult, ignore_errors: bool = False) -> None:
        """Remember a task that failed for good."""
        if not ignore_errors:
            self._failed.append((result._host.get_name(), result._task.get_name()))

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Write the line."""
        path = os.environ.get("RECORD_CHANGES_TO")
        if path and os.path.isdir(os.path.dirname(path)):  # create and destroy have nowhere to write
            check = bool(context.CLIARGS.get("check"))
            run = {"playbook": self._playbook, "hosts": sorted(stats.processed), "check": check}
            run |= {"changed": self._changed, "failed": self._failed}
            with open(path, "a", encoding="utf-8") as handle:
                handle.write(json.dumps(run) + "\n")
