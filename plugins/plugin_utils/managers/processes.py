# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an app runs beside its server, as every process manager must know it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.managers.model import HOOK, JOB, WORKER

HOOKS = {  # process -> setting
    "before-activate": "before_activate",
    "after-activate": "after_activate",
    "after-rollout": "after_rollout",
}


@dataclass(frozen=True)
class Process:
    """Something of a release that runs beside its server.

    Attributes:
        name: Name of its command.
        unit: Its own name, with the replica.
        kind: C(worker), C(job) or C(hook).
        command: What it runs.
        replica: Its number among several; 0 for the only one.
        stop_timeout: Seconds it gets to stop.
        timeout: Seconds it may take in all.
        on_calendar: When its timer starts it.
        random_delay: Seconds by which that is put off at most.
    """

    name: str
    unit: str
    kind: str
    command: str
    replica: int = 0
    stop_timeout: int = 0
    timeout: int = 0
    on_calendar: str = ""
    random_delay: int = 0

    @property
    def title(self) -> str:
        """What a person calls it."""
        return f"{self.kind} {self.unit}"


def processes(app: Mapping[str, Any]) -> Iterator[Process]:
    """Everything that an app runs beside its server."""
    for worker in app["workers"]:
        name, command, replicas = worker["name"], worker["command"], worker["replicas"]
        for replica in range(1, replicas + 1):
            unit, number = (name, 0) if replicas == 1 else (f"{name}.{replica}", replica)
            yield Process(name, unit, WORKER, command, number, stop_timeout=worker["stop_timeout"])
    for timer in app["timers"]:
        name, when, delay = timer["name"], timer["on_calendar"], timer["random_delay"]
        yield Process(name, name, JOB, timer["command"], timeout=timer["timeout"], on_calendar=when, random_delay=delay)
    for name, setting in HOOKS.items():
        command = app["release"][setting]
        if command:
            yield Process(name, name, HOOK, command, timeout=app["release"]["hook_timeout"])
