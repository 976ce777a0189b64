# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What comes after a rollout: the hook that may run only when no host has the old release any more."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ansible_collections.webops.wsgi.plugins.module_utils.managers.model import (
    EVERY,
    HOOK,
    Manager,
    ManagerError,
    Process,
)
from ansible_collections.webops.wsgi.plugins.module_utils.release.layout import Paths, current_release, processes

HOOK_NAME = "after-rollout"
FINISHED = "finished"  # marks a release whose hook has run


def due(paths: Paths, apps: Iterable[str]) -> dict[str, str]:
    """Apps whose release in service has not had its hook, and that release."""
    found = {app: current_release(paths, app) for app in apps}
    return {app: number for app, number in found.items() if number and not _mark(paths, app, number).exists()}


def finish(paths: Paths, releases: dict[str, str], manager: Manager) -> list[str]:
    """Run the hooks; what failed, a message by app. One that failed is tried again by the next run."""
    failures = []
    for app, number in releases.items():
        try:
            for hook in processes(paths, app, number, HOOK):
                if hook.name == HOOK_NAME:
                    # What a killed run has left running must not run twice at once.
                    manager.stop(Process(app, EVERY, HOOK_NAME, HOOK))
                    manager.start(hook)
            _mark(paths, app, number).touch()
        except ManagerError as error:
            kept = f"release {number} is in service on all hosts, and the next run tries it again"
            failures.append(f'app "{app}": after_rollout failed: {error}; {kept}')
    return failures


def _mark(paths: Paths, app: str, number: str) -> Path:
    return paths.release(app, number) / FINISHED
