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

from ansible_collections.webops.wsgi.plugins.module_utils.failures.report import Failure, Journal, report
from ansible_collections.webops.wsgi.plugins.module_utils.host.files import replace_link, write_file
from ansible_collections.webops.wsgi.plugins.module_utils.managers.systemd import SystemdError
from ansible_collections.webops.wsgi.plugins.module_utils.release import health as probe
from ansible_collections.webops.wsgi.plugins.module_utils.release import proxy as release_proxy
from ansible_collections.webops.wsgi.plugins.module_utils.release.layout import (
    FAILED,
    HOOK,
    PROVED,
    WITHDRAWN,
    WORKER,
    Paths,
    current_release,
    lasting_units,
    release_units,
    unit_name,
)
from ansible_collections.webops.wsgi.plugins.module_utils.release.plan import (
    Desired,
    ReleaseError,
    ServiceManager,
    Step,
    listeners,
)
from ansible_collections.webops.wsgi.plugins.module_utils.release.retirement import forget, prune
from ansible_collections.webops.wsgi.plugins.module_utils.release.watch import AccessLog

JOURNAL_LINES = 1000  # to look for the cause in: several workers' tracebacks, and the server's own ones after them
LOOK = 1.0  # seconds between two looks at the states of units
FAULTS_IN_A_ROW = 3  # bad answers during the bake window that are no accident
BEFORE, AFTER = "before-activate", "after-activate"


class FaultError(Exception):
    """What keeps a release from going live, and the unit whose journal tells more."""

    def __init__(self, reason: str, unit: str) -> None:
        super().__init__(reason)
        self.unit = unit


# -- activate ----------------------------------------------------------------------------------------------------


def activate(paths: Paths, step: Step, systemd: ServiceManager) -> None:
    """Start the release, have it checked, and let it serve.

    Raises:
        ReleaseError: It failed; what served before serves.
    """
    try:
        _check_units(paths, step, systemd)
        _open_listener(paths, step, systemd)
        if step.kind == "deploy" and step.desired.run_hooks:
            _run_hook(paths, step, systemd, BEFORE)
        _start(paths, step, systemd)
        _switch(paths, step)
    except Exception as error:  # whatever it is, the old release is to serve
        _fail(paths, step, systemd, error)


def _check_units(paths: Paths, step: Step, systemd: ServiceManager) -> None:
    """See that systemd understands every unit before any of them is needed."""
    names = [unit.instance(step.number) for unit in release_units(paths, step.app, step.number)]
    for unit, state in systemd.states([step.unit, *names]).items():
        if state.load != "loaded":
            raise FaultError(f"systemd rejects {unit} ({state.load}); systemd-analyze verify {unit} says why", unit)


def _open_listener(paths: Paths, step: Step, systemd: ServiceManager) -> None:
    for unit in listeners(step.desired):
        replace_link(paths.wants(step.app) / unit, f"../{unit}")
        try:
            systemd.start(unit)
        except SystemdError as error:
            raise FaultError(
                f"cannot bind the address of listen, which another program may use: {error}", unit
            ) from error


def _run_hook(paths: Paths, step: Step, systemd: ServiceManager, name: str) -> None:
    app = step.app
    for unit in release_units(paths, app, step.number, HOOK):
        if unit.name != f"{app}.{name}@.service":
            continue
        instance = unit.instance(step.number)
        # What a killed run has left running must not run twice at once.
        systemd.stop(f"{app}.{name}@*.service")
        try:
            systemd.start(instance)
        except SystemdError as error:
            raise FaultError(f"{name.replace('-', '_')} failed: {error}", instance) from error


def _start(paths: Paths, step: Step, systemd: ServiceManager) -> None:
    """Start the server and, once it is healthy, the workers."""
    own = paths.socket(step.app, step.number)
    state = systemd.states([step.unit])[step.unit]
    if state.gone:
        systemd.start(step.unit)
    elif not state.runs or probe.ask(own, step.desired.health).fault:
        systemd.restart(step.unit)
    wait_listening(own, step, systemd)
    wait_healthy(own, step, systemd)
    workers = [unit.instance(step.number) for unit in release_units(paths, step.app, step.number, WORKER)]
    idle = [unit for unit, state in systemd.states(workers).items() if not state.runs] if workers else []
    if idle:
        systemd.start(*idle)
        # On the way back they have settled before, and somebody is in a hurry.
        _settle(systemd, idle, 0.0 if step.kind == "rollback" else step.desired.settle)


def wait_listening(own: Path, step: Step, systemd: ServiceManager) -> None:
    """Wait until the server listens, which is all that says so: the app, in its process, could notify systemd as well.

    Raises:
        FaultError: It does not within the time limit, or has ended.
    """
    deadline = time.monotonic() + step.desired.start_timeout
    while not probe.listens(own):
        _refuse_broken(systemd, [step.unit])
        if time.monotonic() > deadline:
            limit = f"{step.desired.start_timeout:g} s"
            raise FaultError(f"the server does not listen on its socket after {limit}", step.unit)
        time.sleep(step.desired.health.interval)


def wait_healthy(own: Path, step: Step, systemd: ServiceManager) -> None:
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
            _refuse_broken(systemd, [step.unit])
        if now > deadline:
            seen = fault or f"{good} good answers in a row of {health.successes}"
            raise FaultError(f"not healthy within {health.timeout:g} s: {seen}", step.unit)
        time.sleep(health.interval)


def _settle(systemd: ServiceManager, workers: list[str], seconds: float) -> None:
    """See that workers stay up: nothing asks them whether they are ready."""
    deadline = time.monotonic() + seconds
    while True:
        _refuse_broken(systemd, workers)
        left = deadline - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(LOOK, left))


def _refuse_broken(systemd: ServiceManager, units: list[str]) -> None:
    for unit, state in systemd.states(units).items():
        if state.broken:
            raise FaultError(f"{unit} exited unexpectedly", unit)


def _switch(paths: Paths, step: Step) -> None:
    """Let the release serve, and see that clients get to it."""
    for unit in lasting_units(paths, step.app, step.number):
        replace_link(paths.wants(step.app) / unit, f"../{_file_of(paths, unit)}")
    if step.previous:
        # Its own link says where, also for one that an earlier version of the collection made.
        own = paths.release(step.app, step.previous) / "socket"
        replace_link(paths.previous_socket(step.app), os.readlink(own) if own.is_symlink() else str(own))
    before = _ask_through_proxy(paths, step)
    replace_link(paths.current(step.app), f"releases/{step.number}")
    after = _ask_through_proxy(paths, step)
    if step.on_trial and before and after:
        fault = release_proxy.fault_of_switch(before, after, step.desired.proxy.required)
        if fault:
            raise FaultError(fault, "nginx.service")


def _file_of(paths: Paths, unit: str) -> str:
    """The file that a unit is an instance of, or its own."""
    name, _at, rest = unit.partition("@")
    return unit if (paths.units / unit).exists() else f"{name}@.{rest.rpartition('.')[2]}"


def _ask_through_proxy(paths: Paths, step: Step) -> probe.Answer | None:
    return release_proxy.ask(paths, step.app, step.desired.proxy, step.desired.health)


# -- prove -------------------------------------------------------------------------------------------------------


def prove(paths: Paths, step: Step, systemd: ServiceManager) -> None:
    """Watch the release serve, run the hook afterwards, and mark it as one that has proved itself.

    Raises:
        ReleaseError: It failed; what served before serves again.
    """
    if not step.on_trial:
        return
    try:
        _bake(paths, step, systemd)
        _run_hook(paths, step, systemd, AFTER)
    except Exception as error:  # whatever it is, the old release is to serve
        _fail(paths, step, systemd, error)
    if step.kind == "rollback":
        write_file(paths.release(step.app, step.previous) / WITHDRAWN, "")
    write_file(paths.release(step.app, step.number) / PROVED, "")


def _bake(paths: Paths, step: Step, systemd: ServiceManager) -> None:
    bake, faults = step.desired.bake, 0
    if not bake.seconds or step.kind == "rollback":
        return
    watched = [unit.instance(step.number) for unit in release_units(paths, step.app, step.number, WORKER)]
    log = AccessLog(paths.logs / f"{step.app}.access.log", bake.log_sample)
    deadline = time.monotonic() + bake.seconds
    while (left := deadline - time.monotonic()) > 0:
        time.sleep(min(LOOK, left))
        _refuse_broken(systemd, [step.unit, *watched])
        answer = probe.ask(paths.socket(step.app, step.number), step.desired.health)
        faults = faults + 1 if answer.fault else 0
        if faults >= FAULTS_IN_A_ROW:
            raise FaultError(f"failed within its bake window of {bake.seconds:g} s: {answer.fault}", step.unit)
        excess = log.excess(bake.error_percent)
        if excess:
            raise FaultError(f"failed within its bake window of {bake.seconds:g} s: {excess}", step.unit)


# -- give up -----------------------------------------------------------------------------------------------------


def _fail(paths: Paths, step: Step, systemd: ServiceManager, error: Exception) -> None:
    """Give a release up that is on trial.

    Raises:
        ReleaseError: Always; it says what failed, what serves now, and what the journal has.
    """
    build = os.path.realpath(paths.release(step.app, step.number) / "app")
    serving = f"release {step.number} is down and could not be restarted"
    # What has been in service may be at a client's request, or at a job.
    stop = systemd.stop if current_release(paths, step.app) == step.number else systemd.end
    if step.on_trial:
        serving = _switch_back(paths, step, systemd)
    unit = error.unit if isinstance(error, FaultError) else step.unit
    journal = Journal(unit, systemd.journal(unit, JOURNAL_LINES))
    reason = str(error) or repr(error)
    if step.on_trial:
        try:
            _clear_away(paths, step, systemd, stop, reason)
        except (SystemdError, OSError) as trouble:  # must not hide why the release was given up
            reason += f" (and cleaning up after it failed: {trouble})"
    raise ReleaseError(_failure(step, serving, reason, build, journal)) from error


def _clear_away(paths: Paths, step: Step, systemd: ServiceManager, stop: Callable[..., None], reason: str) -> None:
    """Stop a release that was given up, and mark it."""
    if units := _loaded_units(paths, step.app, step.number, systemd):
        stop(*units)
    forget(paths, step.app, step.number)
    write_file(paths.release(step.app, step.number) / FAILED, f"{reason}\n", 0o600)
    prune(paths, step.app, step.desired.keep, systemd)
    systemd.reload()


def _switch_back(paths: Paths, step: Step, systemd: ServiceManager) -> str:
    """Have the release before serve; returns in a person's words what serves."""
    current = paths.current(step.app)
    if not step.previous:
        if current_release(paths, step.app) == step.number:
            current.unlink()
        return "nothing serves yet"
    before = f"release {step.previous}"
    # It answers, unless somebody or something else has stopped it.
    # Its own link says where: one that an older version of this collection made has its socket elsewhere.
    own = paths.release(step.app, step.previous) / "socket"
    answers = probe.ask(own, step.desired.health).status > 0
    if not answers:
        with suppress(SystemdError):
            systemd.restart(unit_name(step.app, step.previous))
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


def _loaded_units(paths: Paths, app: str, number: str, systemd: ServiceManager) -> list[str]:
    """The units of a release but for those that systemd could not even read: it refuses to stop them."""
    units = [unit_name(app, number), *(unit.instance(number) for unit in release_units(paths, app, number))]
    return [unit for unit, state in systemd.states(units).items() if state.load == "loaded"]


def _failure(step: Step, serving: str, reason: str, build: str, journal: Journal) -> str:
    state = f"release {step.number} ({step.desired.source}) was not activated, {serving}"
    if not step.on_trial:
        state = f"{serving}; if its files were modified, remove {build} and run again to rebuild it"
    return report(Failure(step.app, state, reason, journal, os.uname().nodename, step.desired.log))
