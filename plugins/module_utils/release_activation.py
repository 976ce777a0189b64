# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How one release goes live, and how one that fails is given up.

prepare   the release and its units are on disk
activate  hook, server, health, workers, switch, a look through the proxy
prove     the bake window and the hook afterwards; then the release has proved itself
retire    the old instance goes, timers change over

Whatever fails before the switch leaves the old instance untouched; whatever fails after it switches back.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ansible_collections.webops.wsgi.plugins.module_utils import health as probe
from ansible_collections.webops.wsgi.plugins.module_utils.release import (
    ReleaseError,
    ServiceManager,
    Step,
    listeners,
    unit_files,
    unwanted_files,
)
from ansible_collections.webops.wsgi.plugins.module_utils.release_assembly import assemble
from ansible_collections.webops.wsgi.plugins.module_utils.release_layout import (
    FAILED,
    HOOK,
    JOB,
    PROVED,
    TIMER,
    WITHDRAWN,
    WORKER,
    Paths,
    current_release,
    has_proved,
    lasting_units,
    read_text,
    release_numbers,
    release_units,
    replace_link,
    traced_units,
    traces,
    unit_name,
    write_file,
)
from ansible_collections.webops.wsgi.plugins.module_utils.release_watch import AccessLog
from ansible_collections.webops.wsgi.plugins.module_utils.systemd import SystemdError

JOURNAL_LINES = 100  # the app's traceback, and the server's own ones that may follow it
LOOK = 1.0  # seconds between two looks at the states of units
FAULTS_IN_A_ROW = 3  # bad answers during the bake window that are no accident
BEFORE, AFTER = "before-activate", "after-activate"


class FaultError(Exception):
    """What keeps a release from going live, and the unit whose journal tells more."""

    def __init__(self, reason: str, unit: str) -> None:
        super().__init__(reason)
        self.unit = unit


# -- prepare -----------------------------------------------------------------------------------------------------


def prepare(paths: Paths, step: Step, systemd: ServiceManager) -> None:
    """Have the release and its units on disk.

    Raises:
        ReleaseError: The release cannot be written, or the address it wants is taken.
    """
    app = step.app
    _refuse_taken_address(paths, step)
    if step.kind == "deploy":
        step.number = str(int((release_numbers(paths, app) or ["0"])[-1]) + 1)
        assemble(paths, step.desired, step.number)
    files = unit_files(paths, step)
    changed = [path for path, text in files.items() if read_text(path) != text]
    for path in changed:
        write_file(path, files[path])
    if any(path.name == f"{app}.listen.socket" for path in changed) or unwanted_files(paths, step.desired):
        _close_listener(paths, step, systemd)
    paths.wants(app).mkdir(exist_ok=True)
    wanted_by = paths.units / "multi-user.target.wants"
    wanted_by.mkdir(exist_ok=True)
    replace_link(wanted_by / f"{app}.target", f"../{app}.target")
    systemd.create_runtime_files(str(paths.runtime / f"wsgi-{app}.conf"))


def _refuse_taken_address(paths: Paths, step: Step) -> None:
    """See that a new address is free while the app still has its old one."""
    for name in listeners(step.desired):
        address = _address(step.desired.files[name])
        if address is None or address == _address(read_text(paths.units / name) or ""):
            continue
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        try:
            socket.create_server(address, family=family).close()
        except OSError as error:
            shown = f"{address[0]}:{address[1]}"
            reason = f"listen is {shown}, which cannot be had: {error.strerror}; choose another port"
            raise ReleaseError(f'app "{step.app}": {reason}') from None


def _address(unit: str) -> tuple[str, int] | None:
    """The address in the text of a socket unit."""
    found = re.search(r"^ListenStream=\[?([0-9a-fA-F.:]+?)\]?:(\d+)$", unit, re.MULTILINE)
    return (found[1], int(found[2])) if found else None


def _close_listener(paths: Paths, step: Step, systemd: ServiceManager) -> None:
    """Let go of an address that is about to change, or that the app has no longer."""
    names = [f"{step.app}.listen.socket", f"{step.app}.listen.service"]
    up = [unit for unit, state in systemd.states(names).items() if state.runs]
    if up:
        systemd.stop(*up)
    for path in unwanted_files(paths, step.desired):
        (paths.wants(step.app) / path.name).unlink(missing_ok=True)
        path.unlink()


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
            raise FaultError(
                f"systemd does not take {unit} ({state.load}); systemd-analyze verify {unit} says why", unit
            )


def _open_listener(paths: Paths, step: Step, systemd: ServiceManager) -> None:
    for unit in listeners(step.desired):
        replace_link(paths.wants(step.app) / unit, f"../{unit}")
        try:
            systemd.start(unit)
        except SystemdError as error:
            raise FaultError(
                f"the address of listen cannot be had, another program may use it: {error}", unit
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
    if not state.runs:
        systemd.start(step.unit)
    elif probe.ask(own, step.desired.health).fault:
        systemd.restart(step.unit)
    wait_healthy(own, step, systemd)
    workers = [unit.instance(step.number) for unit in release_units(paths, step.app, step.number, WORKER)]
    idle = [unit for unit, state in systemd.states(workers).items() if not state.runs] if workers else []
    if idle:
        systemd.start(*idle)
        # On the way back they have settled before, and somebody is in a hurry.
        _settle(systemd, idle, 0.0 if step.kind == "rollback" else step.desired.settle)


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
            raise FaultError(f"{unit} ended by itself", unit)


def _switch(paths: Paths, step: Step) -> None:
    """Let the release serve, and see that clients get to it."""
    for unit in lasting_units(paths, step.app, step.number):
        replace_link(paths.wants(step.app) / unit, f"../{_file_of(paths, unit)}")
    if step.previous:
        replace_link(paths.previous_socket(step.app), f"{step.previous}.sock")
    before = _ask_through_proxy(paths, step)
    replace_link(paths.current(step.app), f"releases/{step.number}")
    after = _ask_through_proxy(paths, step)
    if step.on_trial and before and after:
        fault = proxy_fault(before, after, step.desired.proxy.required)
        if fault:
            raise FaultError(fault, "nginx.service")


def _file_of(paths: Paths, unit: str) -> str:
    """The file that a unit is an instance of, or its own."""
    name, _at, rest = unit.partition("@")
    return unit if (paths.units / unit).exists() else f"{name}@.{rest.rpartition('.')[2]}"


def _ask_through_proxy(paths: Paths, step: Step) -> probe.Answer | None:
    """What a client gets; None where the proxy does not serve the app yet, and so cannot tell."""
    proxy, health = step.desired.proxy, step.desired.health
    site = read_text(paths.sites / f"{proxy.site or step.app}.conf") or ""
    served = set(re.findall(r"[^\s;]+", " ".join(re.findall(r"^\s*server_name\s([^;]*);", site, re.MULTILINE))))
    name = next((domain for domain in proxy.domains if domain in served), "")
    if not name or not _is_mounted(paths, step, site):
        return None
    port = proxy.https_port if health.scheme == "https" else proxy.http_port
    return probe.ask_through_proxy(port, name, replace(health, path=proxy.path.rstrip("/") + health.path))


def _is_mounted(paths: Paths, step: Step, site: str) -> bool:
    """Whether the server block leads to the app at its path, as it always does when the block is the app's own."""
    path, file = step.desired.proxy.path, f"{step.app}.conf"
    if path == "/":
        return True
    return f"/{file};" in site and f'"{path}/"' in (read_text(paths.mounts / file) or "")


def proxy_fault(before: probe.Answer, after: probe.Answer, required: bool) -> str:
    """What is wrong with an answer through the proxy; empty when nothing is, or when it is not the release's fault.

    Args:
        before: The answer just before the switch.
        after: The one just after it.
        required: Whether a proxy that did not work before either is a fault too.
    """
    if not after.fault or after.maintenance:
        return ""
    if 0 < after.status < 500 and after.status == before.status:  # the proxy's own, such as a login it asks for
        return ""
    if before.fault and not before.maintenance and not required:
        return ""
    mend = (
        "; nginx did not answer before either, site.yml sets it up again" if before.fault and not before.status else ""
    )
    return f"healthy on its own socket, but not through nginx: {after.fault}{mend}"


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
            raise FaultError(f"went bad within its bake window of {bake.seconds:g} s: {answer.fault}", step.unit)
        excess = log.excess(bake.error_percent)
        if excess:
            raise FaultError(f"went bad within its bake window of {bake.seconds:g} s: {excess}", step.unit)


# -- retire ------------------------------------------------------------------------------------------------------


def retire(paths: Paths, step: Step, systemd: ServiceManager) -> None:
    """Stop everything of other releases, after requests on their way to them have arrived."""
    app = step.app
    others = {number: files for number, files in traces(paths, app).items() if number != step.number}
    old = [unit for files in others.values() for unit in traced_units(files)]
    states = systemd.states(old) if old else {}
    up = [unit for unit, state in states.items() if not state.gone]
    timers = [unit for unit in up if unit.endswith(".timer")]
    if timers:
        systemd.stop(*timers)
    ours = [unit.instance(step.number) for unit in release_units(paths, app, step.number, TIMER)]
    if ours:
        systemd.start(*ours)
    rest = [unit for unit in up if unit not in timers]
    if rest:
        time.sleep(step.desired.drain)
        systemd.stop(*rest)
    paths.previous_socket(app).unlink(missing_ok=True)
    for number in others:
        forget(paths, app, number)
    prune(paths, app, step.desired.keep, systemd)


def forget(paths: Paths, app: str, number: str) -> None:
    """Remove what a release has outside its directory."""
    for path in traces(paths, app).get(number, []):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    paths.socket(app, number).unlink(missing_ok=True)


def prune(paths: Paths, app: str, keep: int, systemd: ServiceManager) -> None:
    """Remove all but the last releases that proved themselves, and the builds that no release uses any more.

    Of those that failed, the last stays for a person to look at, and of those that somebody went back from, the last
    stays as the way forward. The current one always stays, and so does one whose job still runs.
    """
    numbers = release_numbers(paths, app)
    proved = [number for number in numbers if has_proved(paths, app, number)]
    withdrawn = [number for number in proved if (paths.release(app, number) / WITHDRAWN).exists()]
    good = [number for number in proved if number not in withdrawn]
    failed = [number for number in numbers if (paths.release(app, number) / FAILED).exists()]
    kept = {current_release(paths, app), *good[-keep:], *withdrawn[-1:], *failed[-1:]}
    kept |= _busy(paths, app, [number for number in numbers if number not in kept], systemd)
    for number in set(numbers) - kept:
        shutil.rmtree(paths.release(app, number))
    for leftover in (paths.root / app / "releases").glob(".*.partial"):
        shutil.rmtree(leftover)
    used = {os.path.basename(os.readlink(paths.release(app, number) / "app")) for number in release_numbers(paths, app)}
    for build in (paths.root / app / "builds").iterdir():
        if build.name not in used:
            shutil.rmtree(build)


def _busy(paths: Paths, app: str, numbers: list[str], systemd: ServiceManager) -> set[str]:
    """Those of the releases whose job is still running; it ends by itself."""
    jobs = {unit.instance(number): number for number in numbers for unit in release_units(paths, app, number, JOB)}
    states = systemd.states(list(jobs)) if jobs else {}
    return {jobs[unit] for unit, state in states.items() if not state.gone}


# -- give up -----------------------------------------------------------------------------------------------------


def _fail(paths: Paths, step: Step, systemd: ServiceManager, error: Exception) -> None:
    """Give a release up that is on trial.

    Raises:
        ReleaseError: Always; it says what failed, what serves now, and what the journal has.
    """
    build = os.path.realpath(paths.release(step.app, step.number) / "app")
    serving = f"release {step.number} serves no longer and cannot be brought back"
    # What has been in service may be at a client's request, or at a job.
    stop = systemd.stop if current_release(paths, step.app) == step.number else systemd.end
    if step.on_trial:
        serving = _switch_back(paths, step, systemd)
    journal = systemd.journal(error.unit if isinstance(error, FaultError) else step.unit, JOURNAL_LINES)
    if step.on_trial:
        if units := _loaded_units(paths, step.app, step.number, systemd):
            stop(*units)
        forget(paths, step.app, step.number)
        write_file(paths.release(step.app, step.number) / FAILED, f"{error}\n", 0o600)
        prune(paths, step.app, step.desired.keep, systemd)
        systemd.reload()
    raise ReleaseError(_failure(step, serving, str(error) or repr(error), build, journal)) from error


def _switch_back(paths: Paths, step: Step, systemd: ServiceManager) -> str:
    """Have the release before serve; returns in a person's words what serves."""
    current = paths.current(step.app)
    if not step.previous:
        if current_release(paths, step.app) == step.number:
            current.unlink()
        return "nothing serves yet"
    before = f"release {step.previous}"
    # It answers, unless somebody or something else has stopped it.
    answers = probe.ask(paths.socket(step.app, step.previous), step.desired.health).status > 0
    if not answers:
        with suppress(SystemdError):
            systemd.restart(unit_name(step.app, step.previous))
    if current_release(paths, step.app) == step.number:
        replace_link(current, f"releases/{step.previous}")
    if answers:
        return f"{before} still serves"
    if _answers_in_time(paths.socket(step.app, step.previous), step.desired.health):
        return f"{before} did not answer, was started again and serves"
    return f"{before} does not answer either"


def _answers_in_time(own: Path, health: probe.Health) -> bool:
    deadline = time.monotonic() + health.timeout
    while not probe.ask(own, health).status:
        if time.monotonic() > deadline:
            return False
        time.sleep(health.interval)
    return True


def _loaded_units(paths: Paths, app: str, number: str, systemd: ServiceManager) -> list[str]:
    """The units of a release but for those that systemd could not even read: it refuses to stop them."""
    units = [unit_name(app, number), *(unit.instance(number) for unit in release_units(paths, app, number))]
    return [unit for unit, state in systemd.states(units).items() if state.load == "loaded"]


def _failure(step: Step, serving: str, reason: str, build: str, journal: str) -> str:
    first = f'app "{step.app}": release {step.number} ({step.desired.source}) was not activated, {serving}: {reason}'
    if not step.on_trial:
        mend = f"if somebody changed its files, remove {build} and run again, which makes it anew"
        first = f'app "{step.app}": {serving}: {reason}; {mend}'
    return f"{first}\nLast lines of its journal:\n{journal}"
