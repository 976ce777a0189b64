# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The run that makes up the difference between what should run and what runs, for all apps of a host."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

from ansible_collections.webops.wsgi.plugins.module_utils.host.files import write_file
from ansible_collections.webops.wsgi.plugins.module_utils.host.lock import LockedError, lock, now
from ansible_collections.webops.wsgi.plugins.module_utils.managers.model import Manager, ManagerError
from ansible_collections.webops.wsgi.plugins.module_utils.release.activation import activate, prove
from ansible_collections.webops.wsgi.plugins.module_utils.release.layout import Paths, current_release, description
from ansible_collections.webops.wsgi.plugins.module_utils.release.plan import ReleaseError, Step
from ansible_collections.webops.wsgi.plugins.module_utils.release.preparation import prepare
from ansible_collections.webops.wsgi.plugins.module_utils.release.retirement import retire

Action = Callable[[Paths, Step, Manager], None]

HISTORY_SIZE = 1_000_000  # bytes, some 3000 deployments
HISTORY = "history.jsonl"  # one line for each change of what serves, in the app's directory


def carry_out(paths: Paths, steps: list[Step], manager: Manager, parallel: int, who: str = "unknown") -> list[str]:
    """Bring every app to the release it should run; returns the failures.

    One app's failure leaves it on the release it had and does not keep the others from theirs.

    Args:
        paths: Where things lie.
        steps: What C(release.plan) found.
        manager: The process manager.
        parallel: How many instances may start at the same time.
        who: The person and machine that asked for it, for the lock and the history.
    """
    pending = [step for step in steps if step.kind != "none"]
    if not pending:
        return []
    many = len(pending)  # at once, where they wait most of their time
    failures: list[str] = []

    def each(part: str, todo: list[Step], action: Action, at_once: int) -> list[Step]:
        return _collect(todo, _timed(part, lambda step: action(paths, step, manager)), failures, at_once)

    with ExitStack() as locks:
        held = _collect(pending, lambda step: _hold(paths, step, locks, who), failures, 1)
        ready = each("prepare", held, prepare, parallel)
        manager.reload()
        live = each("start", ready, activate, parallel)
        proved = each("prove", live, prove, many)
        retired = each("drain", proved, retire, many)
        if retired:
            manager.complete([step.app for step in retired])
        for step in pending:
            step.failed = step not in proved
        for step in held:
            _record(paths, step, who, "failed" if step.failed else "ok")
    return failures


def _collect(steps: list[Step], action: Callable[[Step], object], failures: list[str], at_once: int) -> list[Step]:
    """Do the action for every step; returns those for which it went well."""

    def attempt(step: Step) -> Step | None:
        try:
            action(step)
        except (ReleaseError, LockedError) as error:
            failures.append(str(error))
        except (ManagerError, OSError) as error:
            failures.append(f'app "{step.app}": {error}')
        else:
            return step
        return None

    with ThreadPoolExecutor(max(1, at_once)) as pool:
        return [step for step in pool.map(attempt, steps) if step]


def _timed(part: str, action: Callable[[Step], object]) -> Callable[[Step], None]:
    def timed(step: Step) -> None:
        began = time.monotonic()
        try:
            action(step)
        finally:
            step.seconds[part] = round(time.monotonic() - began, 3)

    return timed


def _hold(paths: Paths, step: Step, locks: ExitStack, who: str) -> None:
    locks.enter_context(lock(paths.root / step.app, who))
    if step.kind == "deploy":  # another run may have switched since this one looked
        step.previous = current_release(paths, step.app)


def _record(paths: Paths, step: Step, who: str, outcome: str) -> None:
    """Add a line to the app's history."""
    line = {
        "time": now(),
        "who": who,
        "action": step.kind,
        "from": step.previous,
        "to": step.number,
        "source": description(paths, step.app, step.number).get("source", step.desired.source),
        "reasons": step.reasons,
        "outcome": outcome,
        "seconds": step.seconds,
    }
    # A full disk must not hide how the deployment went.
    with suppress(OSError):
        append(paths.root / step.app / HISTORY, json.dumps(line))


def append(path: Path, line: str, limit: int = HISTORY_SIZE) -> None:
    """Add a line to a file, and drop its older half when it is too long."""
    with path.open("a") as stream:
        stream.write(f"{line}\n")
        too_long = stream.tell() > limit
    if too_long:
        lines = path.read_text().splitlines(keepends=True)
        write_file(path, "".join(lines[len(lines) // 2 :]))
