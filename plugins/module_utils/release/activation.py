# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How one release goes live, and how one that fails is given up.

activate  hook, server, health, workers, switch, a look through the proxy
prove     the bake window and the hook afterwards; then the release has proved itself

Before that C(preparation) puts it on disk, after that C(retirement) lets the old one go. Whatever
fails before the switch leaves the old instance untouched; whatever fails after it switches back.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ansible_collections.webops.wsgi.plugins.module_utils.failures.report import Failure, report
from ansible_collections.webops.wsgi.plugins.module_utils.host.files import replace_link, write_file
from ansible_collections.webops.wsgi.plugins.module_utils.host.progress import waiting
from ansible_collections.webops.wsgi.plugins.module_utils.managers.model import (
    EVERY,
    HOOK,
    NGINX,
    WORKER,
    Log,
    Manager,
    ManagerError,
    Process,
)
from ansible_collections.webops.wsgi.plugins.module_utils.release import health as probe
from ansible_collections.webops.wsgi.plugins.module_utils.release import proxy as release_proxy
from ansible_collections.webops.wsgi.plugins.module_utils.release.layout import (
    FAILED,
    PROVED,
    WITHDRAWN,
    Paths,
    current_release,
    lasting,
    processes,
)
from ansible_collections.webops.wsgi.plugins.module_utils.release.plan import Desired, ReleaseError, Step
from ansible_collections.webops.wsgi.plugins.module_utils.release.retirement import forget, prune
from ansible_collections.webops.wsgi.plugins.module_utils.release.watch import AccessLog

JOURNAL_LINES = 1000  # to look for the cause in: several workers' tracebacks, and the server's own ones after them
LOOK = 1.0  # seconds between two looks at the states of processes
FAULTS_IN_A_ROW = 3  # bad answers during the bake window that are no accident
BEFORE, AFTER = "before-activate", "after-activate"


class FaultError(Exception):
    """What keeps a release from going live, and the process whose log tells more."""

    def __init__(self, reason: str, process: Process) -> None:
        super().__init__(reason)
        self.process = process


# -- activate ----------------------------------------------------------------------------------------------------


def activate(paths: Paths, step: Step, manager: Manager) -> None:
    """Start the release, have it checked, and let it serve.

    Raises:
        ReleaseError: It failed; what served before serves.
    """
    try:
        _check_processes(paths, step, manager)
        _open_listener(step, manager)
        if step.kind == "deploy" and step.desired.run_hooks:
            _run_hook(paths, step, manager, BEFORE)
        _start(paths, step, manager)
        _switch(paths, step, manager)
    except Exception as error:  # whatever it is, the old release is to serve
        _fail(paths, step, manager, error)


def _check_processes(paths: Paths, step: Step, manager: Manager) -> None:
    """See that the manager understands all that it is told before any of it is needed."""
    own = [step.server, *processes(paths, step.app, step.number)]
    for process, state in manager.states(own).items():
        if state.refused:
            raise FaultError(state.refused, process)


def _open_listener(step: Step, manager: Manager) -> None:
    for listener in manager.listeners(step.desired):
        manager.enable(listener)
        try:
            manager.start(listener)
        except ManagerError as error:
            raise FaultError(
                f"cannot bind the address of listen, which another program may use: {error}", listener
            ) from error


def _run_hook(paths: Paths, step: Step, manager: Manager, name: str) -> None:
    for hook in processes(paths, step.app, step.number, HOOK):
        if hook.name != name:
            continue
        # What a killed run has left running must not run twice at once.
        manager.stop(Process(step.app, EVERY, name, HOOK))
        try:
            with waiting(step.app, f"runs {name.replace('-', '_')}", folder=paths.progress):
                manager.start(hook)
        except ManagerError as error:
            raise FaultError(f"{name.replace('-', '_')} failed: {error}", hook) from error


def _start(paths: Paths, step: Step, manager: Manager) -> None:
    """Start the server and, once it is healthy, the workers."""
    own = paths.socket(step.app, step.number)
    state = manager.states([step.server])[step.server]
    if state.gone:
        manager.start(step.server)
    elif not state.runs or probe.ask(own, step.desired.health).fault:
        manager.restart(step.server)
    desired = step.desired
    with waiting(step.app, "waits until its server listens", desired.start_timeout, paths.progress):
        wait_listening(own, step, manager)
    asked = f"waits for a good answer to GET {desired.health.path}"
    with waiting(step.app, asked, desired.health.timeout, paths.progress):
        wait_healthy(own, step, manager)
    workers = processes(paths, step.app, step.number, WORKER)
    idle = [worker for worker, state in manager.states(workers).items() if not state.runs]
    if idle:
        manager.start(*idle)
        # On the way back they have settled before, and somebody is in a hurry.
        seconds = 0.0 if step.kind == "rollback" else desired.settle
        with waiting(step.app, "sees whether its workers stay up", seconds, paths.progress):
            _settle(manager, idle, seconds)


def wait_listening(own: Path, step: Step, manager: Manager) -> None:
    """Wait until the server listens, which is all that says so: the app, in its process, could notify its manager.

    Raises:
        FaultError: It does not within the time limit, or has ended.
    """
    deadline = time.monotonic() + step.desired.start_timeout
    while not probe.listens(own):
        _refuse_broken(manager, [step.server])
        if time.monotonic() > deadline:
            limit = f"{step.desired.start_timeout:g} s"
            raise FaultError(f"the server does not listen on its socket after {limit}", step.server)
        time.sleep(step.desired.health.interval)


def wait_healthy(own: Path, step: Step, manager: Manager) -> None:
    """Ask until the instance answers well.

    Raises:
        FaultError: It has not within the time limit, or has ended.
    """
    health, good = step.desired.health, 0
    deadline = time.monotonic() + health.timeout
    look = time.monotonic() + LOOK
    while True:
        fault = probe.ask(own, health).fault
        good = 0 if fault else good + 1
        if good >= health.successes:
            return
        now = time.monotonic()
        if now > look:
            look = now + LOOK
            _refuse_broken(manager, [step.server])
        if now > deadline:
            seen = fault or f"{good} good answers in a row of {health.successes}"
            raise FaultError(f"not healthy within {health.timeout:g} s: {seen}", step.server)
        time.sleep(health.interval)


def _settle(manager: Manager, workers: list[Process], seconds: float) -> None:
    """See that workers stay up: nothing asks them whether they are ready."""
    deadline = time.monotonic() + seconds
    while True:
        _refuse_broken(manager, workers)
        left = deadline - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(LOOK, left))


def _refuse_broken(manager: Manager, processes: list[Process]) -> None:
    for process, state in manager.states(processes).items():
        if state.broken:
            raise FaultError(f"{state.name} exited unexpectedly", process)


def _switch(paths: Paths, step: Step, manager: Manager) -> None:
    """Let the release serve, and see that clients get to it."""
    for process in lasting(paths, step.app, step.number):
        manager.enable(process)
    if step.previous:
        # Its own link says where, also for one that an earlier version of the collection made.
        own = paths.release(step.app, step.previous) / "socket"
        replace_link(paths.previous_socket(step.app), os.readlink(own) if own.is_symlink() else str(own))
        replace_link(paths.previous_instance(step.app), str(paths.instance(step.app, step.previous)))
    before = _ask_through_proxy(paths, step)
    replace_link(paths.current(step.app), f"releases/{step.number}")
    after = _ask_through_proxy(paths, step)
    if step.on_trial and before and after:
        fault = release_proxy.fault_of_switch(before, after, step.desired.proxy.required)
        if fault:
            raise FaultError(fault, NGINX)


def _ask_through_proxy(paths: Paths, step: Step) -> probe.Answer | None:
    return release_proxy.ask(paths, step.app, step.desired.proxy, step.desired.health)


# -- prove -------------------------------------------------------------------------------------------------------


def prove(paths: Paths, step: Step, manager: Manager) -> None:
    """Watch the release serve, run the hook afterwards, and mark it as one that has proved itself.

    Raises:
        ReleaseError: It failed; what served before serves again.
    """
    if not step.on_trial:
        return
    try:
        with waiting(step.app, "is watched while it serves (bake)", step.desired.bake.seconds, paths.progress):
            _bake(paths, step, manager)
        _run_hook(paths, step, manager, AFTER)
    except Exception as error:  # whatever it is, the old release is to serve
        _fail(paths, step, manager, error)
    if step.kind == "rollback":
        write_file(paths.release(step.app, step.previous) / WITHDRAWN, "")
    write_file(paths.release(step.app, step.number) / PROVED, "")


def _bake(paths: Paths, step: Step, manager: Manager) -> None:
    bake, faults = step.desired.bake, 0
    if not bake.seconds or step.kind == "rollback":
        return
    watched = processes(paths, step.app, step.number, WORKER)
    log = AccessLog(paths.logs / f"{step.app}.access.log", bake.log_sample)
    deadline = time.monotonic() + bake.seconds
    while (left := deadline - time.monotonic()) > 0:
        time.sleep(min(LOOK, left))
        _refuse_broken(manager, [step.server, *watched])
        answer = probe.ask(paths.socket(step.app, step.number), step.desired.health)
        faults = faults + 1 if answer.fault else 0
        if faults >= FAULTS_IN_A_ROW:
            raise FaultError(f"failed within its bake window of {bake.seconds:g} s: {answer.fault}", step.server)
        excess = log.excess(bake.error_percent)
        if excess:
            raise FaultError(f"failed within its bake window of {bake.seconds:g} s: {excess}", step.server)


# -- give up -----------------------------------------------------------------------------------------------------


def _fail(paths: Paths, step: Step, manager: Manager, error: Exception) -> None:
    """Give a release up that is on trial.

    Raises:
        ReleaseError: Always; it says what failed, what serves now, and what the log has.
    """
    build = os.path.realpath(paths.release(step.app, step.number) / "app")
    serving = f"release {step.number} is down and could not be restarted"
    # What has been in service may be at a client's request, or at a job.
    stop = manager.stop if current_release(paths, step.app) == step.number else manager.end
    if step.on_trial:
        serving = _switch_back(paths, step, manager)
    log = manager.log(error.process if isinstance(error, FaultError) else step.server, JOURNAL_LINES)
    reason = str(error) or repr(error)
    if step.on_trial:
        try:
            _clear_away(paths, step, manager, stop, reason)
        except (ManagerError, OSError) as trouble:  # must not hide why the release was given up
            reason += f" (and cleaning up after it failed: {trouble})"
    raise ReleaseError(_failure(step, serving, reason, build, log)) from error


def _clear_away(paths: Paths, step: Step, manager: Manager, stop: Callable[..., None], reason: str) -> None:
    """Stop a release that was given up, and mark it."""
    own = [step.server, *processes(paths, step.app, step.number)]
    # What it could not even read it refuses to stop.
    if known := [process for process, state in manager.states(own).items() if not state.refused]:
        stop(*known)
    forget(paths, step.app, step.number, manager)
    write_file(paths.release(step.app, step.number) / FAILED, f"{reason}\n", 0o600)
    prune(paths, step.app, step.desired.keep, manager)
    manager.reload()


def _switch_back(paths: Paths, step: Step, manager: Manager) -> str:
    """Have the release before serve; returns in a person's words what serves."""
    current = paths.current(step.app)
    if not step.previous:
        if current_release(paths, step.app) == step.number:
            current.unlink()
        return "no release serves yet"
    before = f"release {step.previous}"
    # It answers, unless somebody or something else has stopped it.
    # Its own link says where: one that an older version of this collection made has its socket elsewhere.
    own = paths.release(step.app, step.previous) / "socket"
    answers = probe.ask(own, step.desired.health).status > 0
    if not answers:
        with suppress(ManagerError):
            manager.restart(Process(step.app, step.previous))
    if current_release(paths, step.app) == step.number:
        replace_link(current, f"releases/{step.previous}")
    if answers:
        return f"{before} still serves"
    if _answers_in_time(own, step.desired):
        return f"{before} did not answer, was started again and serves"
    return f"{before} does not answer either"


def _answers_in_time(own: Path, desired: Desired) -> bool:
    deadline = time.monotonic() + desired.start_timeout + desired.health.timeout
    while not probe.ask(own, desired.health).status:
        if time.monotonic() > deadline:
            return False
        time.sleep(desired.health.interval)
    return True


def _failure(step: Step, serving: str, reason: str, build: str, log: Log) -> str:
    state = f"release {step.number} ({step.desired.source}) was not activated, {serving}"
    if not step.on_trial:
        state = f"{serving}; if its files were modified, remove {build} and run again to rebuild it"
    return report(Failure(step.app, state, reason, log, os.uname().nodename, step.desired.log))
