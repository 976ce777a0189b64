# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process managers of a host: each release is run by the one that it was made for."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ansible_collections.webops.wsgi.plugins.module_utils.managers.model import (
    EVERY,
    SUPERVISOR,
    Log,
    Manager,
    Process,
    State,
)
from ansible_collections.webops.wsgi.plugins.module_utils.managers.supervisor import SupervisorManager
from ansible_collections.webops.wsgi.plugins.module_utils.managers.units import SystemdManager
from ansible_collections.webops.wsgi.plugins.module_utils.release.layout import (
    DEFAULT_MANAGER,
    Paths,
    current_release,
    manager_of,
)

if TYPE_CHECKING:
    from ansible_collections.webops.wsgi.plugins.module_utils.release.plan import Desired


class Managers:
    """All of a host's managers as one; a host that moves from one to the other has releases of both for a while."""

    def __init__(self, paths: Paths, managers: Mapping[str, Manager] | None = None) -> None:
        self._paths = paths
        own: dict[str, Manager] = {DEFAULT_MANAGER: SystemdManager(paths), SUPERVISOR: SupervisorManager(paths)}
        self._managers = managers or own

    def _of(self, app: str, number: str) -> Manager:
        return self._managers[manager_of(self._paths, app, number) if number else DEFAULT_MANAGER]

    def _sorted(self, processes: Iterable[Process]) -> list[tuple[Manager, list[Process]]]:
        """Processes by their manager; those of every release concern all managers."""
        found: dict[int, tuple[Manager, list[Process]]] = {}
        for process in processes:
            every = process.number == EVERY
            for manager in self._managers.values() if every else [self._of(process.app, process.number)]:
                found.setdefault(id(manager), (manager, []))[1].append(process)
        return list(found.values())

    def states(self, processes: Iterable[Process]) -> dict[Process, State]:
        return {
            process: state for manager, own in self._sorted(processes) for process, state in manager.states(own).items()
        }

    def start(self, *processes: Process) -> None:
        for manager, own in self._sorted(processes):
            manager.start(*own)

    def restart(self, process: Process) -> None:
        self._of(process.app, process.number).restart(process)

    def stop(self, *processes: Process) -> None:
        for manager, own in self._sorted(processes):
            manager.stop(*own)

    def end(self, *processes: Process) -> None:
        for manager, own in self._sorted(processes):
            manager.end(*own)

    def enable(self, process: Process) -> None:
        self._of(process.app, process.number).enable(process)

    def log(self, process: Process, lines: int) -> Log:
        return self._of(process.app, process.number).log(process, lines)

    def listeners(self, desired: Desired) -> list[Process]:
        return self._managers[desired.manager].listeners(desired)

    def check(self, desired: Desired) -> None:
        self._managers[desired.manager].check(desired)

    def install(self, desired: Desired, number: str) -> None:
        self._of(desired.name, number).install(desired, number)

    def drift(self, desired: Desired, number: str) -> list[str]:
        own = self._of(desired.name, number)
        others = [manager for manager in self._managers.values() if manager is not own]
        left = [path for manager in others for path in manager.files(desired.name) if os.path.lexists(path)]
        return own.drift(desired, number) + [f"{path} is left over" for path in left]

    def known(self, app: str) -> dict[str, list[Process]]:
        found: dict[str, list[Process]] = {}
        for manager in self._managers.values():
            for number, processes in manager.known(app).items():
                found.setdefault(number, []).extend(processes)
        return found

    def forget(self, app: str, number: str) -> None:
        for manager in self._managers.values():
            manager.forget(app, number)

    def discard(self, app: str, number: str) -> None:
        for manager in self._managers.values():
            manager.discard(app, number)

    def reload(self) -> None:
        for manager in self._managers.values():
            manager.reload()

    def complete(self, apps: Iterable[str]) -> None:
        own = {app: self._of(app, current_release(self._paths, app)) for app in apps}
        for manager in self._managers.values():
            if ours := [app for app, of in own.items() if of is manager]:
                manager.complete(ours)
            for app in own.keys() - ours:
                manager.withdraw(app)

    def withdraw(self, app: str) -> None:
        for manager in self._managers.values():
            manager.withdraw(app)

    def files(self, app: str) -> list[Path]:
        return [path for manager in self._managers.values() for path in manager.files(app)]

    def remove(self, app: str) -> None:
        for manager in self._managers.values():
            manager.remove(app)
