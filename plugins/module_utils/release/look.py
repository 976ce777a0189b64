# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The look at the end of a run, at releases that it has activated: an app may answer its health check and die then."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from ansible_collections.webops.wsgi.plugins.module_utils.failures.report import Failure, report
from ansible_collections.webops.wsgi.plugins.module_utils.host.files import write_file
from ansible_collections.webops.wsgi.plugins.module_utils.host.progress import waiting
from ansible_collections.webops.wsgi.plugins.module_utils.managers.model import NGINX, Manager, Process
from ansible_collections.webops.wsgi.plugins.module_utils.release.activation import FAULTS_IN_A_ROW, JOURNAL_LINES, LOOK
from ansible_collections.webops.wsgi.plugins.module_utils.release.layout import (
    FAILED,
    PROVED,
    Paths,
    current_release,
    lasting,
)
from ansible_collections.webops.wsgi.plugins.module_utils.release.plan import (
    PREVIOUS,
    Desired,
    ReleaseError,
    health_fault,
    plan_rollback,
)
from ansible_collections.webops.wsgi.plugins.module_utils.release.run import carry_out

# What was done to an app …
GOES_BACK = ("deploy", "finish")  # … whose earlier release is better than one that fails
STARTED = (*GOES_BACK, "rollback")  # … whose processes were started for it, so that a restart is one too many


def look_again(
    paths: Paths, wanted: Sequence[Desired], activated: Mapping[str, str], manager: Manager, who: str
) -> list[str]:
    """See that what a run has activated still runs and answers; returns the failures.

    A new release that does not is followed by the one before.

    Args:
        paths: Where things lie.
        wanted: The apps of the host.
        activated: What the run did (C(deploy), C(heal), …) by app.
        manager: The process manager.
        who: The person and machine that asked for the run, for the history.
    """
    looked = [desired for desired in wanted if desired.name in activated and current_release(paths, desired.name)]
    wait = max((0.0, *(desired.look_after - _age(paths, desired.name) for desired in looked)))
    with ExitStack() as notes:
        for desired in looked:
            notes.enter_context(waiting(desired.name, "is looked at once more after a while", wait, paths.progress))
        time.sleep(wait)
    with ThreadPoolExecutor(8) as pool:
        faults = list(pool.map(lambda desired: _fault(paths, desired, activated[desired.name], manager), looked))
    return [
        _report(paths, desired, fault, activated[desired.name], manager, who)
        for desired, fault in zip(looked, faults, strict=True)
        if fault
    ]


def _age(paths: Paths, app: str) -> float:
    """For how many seconds the release in service has had its proof."""
    try:
        return time.time() - (paths.release(app, current_release(paths, app)) / PROVED).stat().st_mtime
    except OSError:
        return 0.0


def _fault(paths: Paths, desired: Desired, action: str, manager: Manager) -> str:
    number = current_release(paths, desired.name)
    for state in manager.states(lasting(paths, desired.name, number)).values():
        if state.unstable:
            return state.restarted
        if not state.runs or (state.broken and action in STARTED):
            return f"{state.name} exited unexpectedly"
    fault = ""
    for question in range(FAULTS_IN_A_ROW):
        time.sleep(LOOK if question else 0)
        fault = health_fault(paths, desired)
        if not fault:
            return ""
    return fault


def _report(paths: Paths, desired: Desired, fault: str, action: str, manager: Manager, who: str) -> str:
    app, number = desired.name, current_release(paths, desired.name)
    own = not fault.startswith("healthy ")  # the proxy is not repaired by another release
    serving = _go_back(paths, desired, manager, who, fault) if own and action in GOES_BACK else "it is still in service"
    state = f"release {number} went live and failed then, {serving}"
    log = manager.log(Process(app, number) if own else NGINX, JOURNAL_LINES)
    return report(Failure(app, state, fault, log, os.uname().nodename, desired.log))


def _go_back(paths: Paths, desired: Desired, manager: Manager, who: str, fault: str) -> str:
    """Let the release before serve; returns in a person's words what serves."""
    number = current_release(paths, desired.name)
    try:
        steps = plan_rollback(paths, [desired], {desired.name: PREVIOUS})
    except ReleaseError:
        return "and there is no earlier good release"
    steps[0].reasons = [f"release {number} failed: {fault}"]
    failures = carry_out(paths, steps, manager, 1, who)
    if failures:
        return f"and going back failed ({failures[0].splitlines()[0]})"
    write_file(paths.release(desired.name, number) / FAILED, f"{fault}\n", 0o600)
    return f"release {steps[0].number} serves again"
