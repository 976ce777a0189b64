# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases: assembling, activating, healing and removing them.

The one fact that decides which release serves is the symlink C(/srv/<app>/current). The socket that nginx connects to
and the directories it serves are reached through it, so one rename(2) switches all of them together. Everything else
(units, links for the next boot, old instances) is brought in line with it by this run or, if it is killed, by the next.
"""

from __future__ import annotations

import fcntl
import grp
import hashlib
import json
import os
import pwd
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ansible_collections.webops.wsgi.plugins.module_utils import health as probe
from ansible_collections.webops.wsgi.plugins.module_utils.marks import KEPT
from ansible_collections.webops.wsgi.plugins.module_utils.systemd import SystemdError, UnitState

JOURNAL_LINES = 100  # the app's traceback, and the server's own ones that may follow it
SETTINGS = "settings.conf"  # the unit's drop-in, kept with the release for the day it is gone back to
PROVED = "proved"  # marks a release that has passed its health check
FAILED = "failed"  # marks one that has not, and says why
WITHDRAWN = "withdrawn"  # marks one that a person has rolled back from
HISTORY = "history.jsonl"  # one line for each change of what serves, in the app's directory
PREVIOUS = "previous"  # stands for the release before the current one in a request to roll back
COPY_WHOLE = 'rm -rf -- "$2"; cp -R -- "$1" "$2"; mv -T -- "$2" "$3"'  # it appears whole or not at all
STATE_INTERVAL = 1.0  # seconds between two looks at the state of an instance that does not answer yet


class ReleaseError(Exception):
    """A release that could not be activated; the message says which, why, and what serves now."""


class ServiceManager(Protocol):
    """What is needed of systemd."""

    def states(self, units: list[str]) -> dict[str, UnitState]: ...
    def start(self, unit: str) -> None: ...
    def restart(self, unit: str) -> None: ...
    def stop(self, *units: str) -> None: ...
    def reload(self) -> None: ...
    def create_runtime_files(self, configuration: str) -> None: ...
    def journal(self, unit: str, lines: int) -> str: ...


@dataclass(frozen=True)
class Desired:
    """The release an app should run.

    Attributes:
        name: The app.
        build: Digest of its build.
        source: The build's source in a person's words.
        config: Digest of the server's configuration directory.
        unit: Text of the template unit.
        settings: Text of the instance's drop-in: limits, sandbox, environment that is no secret.
        target: Text of the target that groups the app's units.
        runtime: Text of the tmpfiles.d file.
        environment: Text of the environment file.
        health: What a healthy instance answers.
        drain: Seconds between the switch and the stop of the old instance.
        keep: How many releases stay on disk.
    """

    name: str
    build: str
    source: str
    config: str
    unit: str
    settings: str
    target: str
    runtime: str
    environment: str = field(repr=False)
    health: probe.Health = field(default_factory=probe.Health)
    drain: float = 1.0
    keep: int = 5

    @property
    def digest(self) -> str:
        """Equal digests, equal releases."""
        parts = [self.build, self.config, self.settings, self.environment]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@dataclass(frozen=True)
class Paths:
    """Where things lie; tests point them elsewhere."""

    root: Path = Path("/srv")
    run: Path = Path("/run")
    config: Path = Path("/etc/wsgi")
    units: Path = Path("/etc/systemd/system")
    runtime: Path = Path("/etc/tmpfiles.d")
    state: Path = Path("/var/lib")

    def current(self, app: str) -> Path:
        return self.root / app / "current"

    def release(self, app: str, number: str) -> Path:
        return self.root / app / "releases" / number

    def socket(self, app: str, number: str) -> Path:
        return self.run / app / f"{number}.sock"

    def wants(self, app: str) -> Path:
        return self.units / f"{app}.target.wants"

    def settings(self, app: str, number: str) -> Path:
        return self.units / f"{unit_name(app, number)}.d" / "release.conf"


def unit_name(app: str, number: str) -> str:
    """The instance's unit."""
    return f"{app}@{number}.service"


def current_release(paths: Paths, app: str) -> str:
    """The number of the release that serves; empty when there is none."""
    link = paths.current(app)
    return os.path.basename(os.readlink(link)) if link.is_symlink() else ""


def description(paths: Paths, app: str, number: str) -> dict[str, Any]:
    """What a release says of itself; empty when it says nothing."""
    try:
        found: dict[str, Any] = json.loads((paths.release(app, number) / "release.json").read_text())
    except (OSError, ValueError):
        return {}
    return found


def release_numbers(paths: Paths, app: str) -> list[str]:
    """The releases on disk, oldest first."""
    try:
        names = os.listdir(paths.root / app / "releases")
    except FileNotFoundError:
        return []
    return sorted((name for name in names if name.isdigit()), key=int)


def enabled(paths: Paths, app: str) -> set[str]:
    """The instances that would start at boot: the current one and those an interrupted run has left behind."""
    pattern = re.compile(rf"{re.escape(app)}@(\d+)\.service")
    try:
        names = os.listdir(paths.wants(app))
    except FileNotFoundError:
        return set()
    return {found.group(1) for found in map(pattern.fullmatch, names) if found}


# -- what is to be done ------------------------------------------------------------------------------------------


@dataclass
class Step:
    """What one app needs.

    Attributes:
        desired: The release it should run.
        previous: Number of the release that serves now.
        kind: C(none), C(heal) (same release, something around it is not as it should be), C(deploy) or C(rollback).
        reasons: Why, in a person's words.
        number: Number of the release that serves when all went well.
        seconds: How long each part took.
    """

    desired: Desired
    previous: str
    kind: str = "none"
    reasons: list[str] = field(default_factory=list)
    number: str = ""
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def unit(self) -> str:
        return unit_name(self.desired.name, self.number)


def plan_rollback(paths: Paths, wanted: list[Desired], targets: Mapping[str, str]) -> list[Step]:
    """Find the releases to go back to; changes nothing.

    Args:
        paths: Where things lie.
        wanted: The apps; of a C(Desired) only what does not belong to one release is used.
        targets: The number of a release, or C(PREVIOUS), by app.

    Raises:
        ReleaseError: There is no such release, or it cannot be gone back to; the message lists those that can.
    """
    steps = []
    for desired in wanted:
        current = current_release(paths, desired.name)
        target = _rollback_target(paths, desired.name, current, targets[desired.name])
        step = Step(desired, current, "none" if target == current else "rollback", [], target)
        step.reasons = [f"asked for {targets[desired.name]}"]
        steps.append(step)
    return steps


def _rollback_target(paths: Paths, app: str, current: str, asked: str) -> str:
    good = [number for number in release_numbers(paths, app) if has_proved(paths, app, number)]
    if asked != PREVIOUS and asked in good:
        return asked
    offered = [number for number in good if not (paths.release(app, number) / WITHDRAWN).exists()]
    earlier = [number for number in offered if current and int(number) < int(current)]
    if asked == PREVIOUS and earlier:
        return earlier[-1]
    choice = ", ".join(number for number in good if number != current) or "none"
    missing = "earlier good release" if asked == PREVIOUS else f"good release {asked}"
    raise ReleaseError(
        f'app "{app}": there is no {missing} to go back to from {current or "nothing"}; '
        f"good ones on the host are: {choice}. Choose one with -e release=<number>"
    )


def has_proved(paths: Paths, app: str, number: str) -> bool:
    """Whether a release has passed its health check and has not failed one since."""
    folder = paths.release(app, number)
    return (folder / PROVED).exists() and not (folder / FAILED).exists()


def plan(paths: Paths, wanted: list[Desired], systemd: ServiceManager) -> list[Step]:
    """Compare what is wanted with what runs; changes nothing."""
    steps = [Step(desired, current_release(paths, desired.name)) for desired in wanted]
    serving = [unit_name(step.desired.name, step.previous) for step in steps if step.previous]
    states = systemd.states(serving) if serving else {}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda step: _decide(paths, step, states), steps))
    return steps


def _decide(paths: Paths, step: Step, states: dict[str, UnitState]) -> None:
    app, desired = step.desired.name, step.desired
    found = description(paths, app, step.previous) if step.previous else {}
    if found.get("digest") != desired.digest:
        step.kind = "deploy"
        step.reasons = _differences(found, desired)
        return
    step.number = step.previous
    state = states[unit_name(app, step.number)]
    step.reasons = _defects(paths, step, state)
    if state.runs and not step.reasons:
        fault = probe.ask(paths.run / app / "current.sock", desired.health)
        step.reasons = [fault] if fault else []
    step.kind = "heal" if step.reasons else "none"


def _differences(found: dict[str, Any], desired: Desired) -> list[str]:
    if not found:
        return ["first release"]
    names = {"build": desired.build, "config": desired.config, "settings": _short(desired.settings)}
    return [name for name, value in names.items() if found.get(name) != value] or ["environment"]


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _defects(paths: Paths, step: Step, state: UnitState) -> list[str]:
    app = step.desired.name
    found = []
    if not state.runs:
        found.append(f"{step.unit} is {state.active}")
    if state.stale:
        found.append(f"systemd has not read the files of {step.unit}")
    found += [f"{path} differs" for path, text in unit_files(paths, step).items() if _read(path) != text]
    found += [f"instance {number} is left over" for number in sorted(enabled(paths, app) - {step.number})]
    if step.number not in enabled(paths, app):
        found.append(f"{step.unit} would not start at boot")
    if not (paths.run / app / "current.sock").is_symlink():
        found.append(f"{paths.run / app}/current.sock is missing")
    return found


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None


def unit_files(paths: Paths, step: Step) -> dict[Path, str]:
    """The files outside the app's directory that a release needs, with their text."""
    app = step.desired.name
    return {
        paths.units / f"{app}@.service": step.desired.unit,
        paths.units / f"{app}.target": step.desired.target,
        paths.runtime / f"wsgi-{app}.conf": step.desired.runtime,
        paths.settings(app, step.number): _read(paths.release(app, step.number) / SETTINGS) or step.desired.settings,
    }


# -- doing it ----------------------------------------------------------------------------------------------------


def carry_out(
    paths: Paths, steps: list[Step], systemd: ServiceManager, parallel: int, who: str = "unknown"
) -> list[str]:
    """Bring every app to the release it should run; returns the failures.

    One app's failure leaves it on the release it had and does not keep the others from theirs.

    Args:
        paths: Where things lie.
        steps: What C(plan) found.
        systemd: The service manager.
        parallel: How many instances may start at the same time.
        who: The person and machine that asked for it, for the lock and the history.
    """
    pending = [step for step in steps if step.kind != "none"]
    if not pending:
        return []
    failures: list[str] = []
    with ExitStack() as locks:
        held = _collect(pending, lambda step: locks.enter_context(lock(paths, step.desired.name, who)), failures, 1)
        ready = _collect(held, _timed("prepare", lambda step: _prepare(paths, step, systemd)), failures, 1)
        systemd.reload()
        live = _collect(ready, _timed("start", lambda step: _activate(paths, step, systemd)), failures, parallel)
        _collect(live, _timed("drain", lambda step: _retire(paths, step, systemd)), failures, parallel)
        # Only now do the targets no longer want the old instances, which starting them would start again.
        systemd.reload()
        _collect(live, lambda step: systemd.start(f"{step.desired.name}.target"), failures, parallel)
        for step in held:
            record(paths, step, who, "ok" if step in live else "failed")
    return failures


def _timed(part: str, action: Callable[[Step], object]) -> Callable[[Step], None]:
    def timed(step: Step) -> None:
        began = time.monotonic()
        try:
            action(step)
        finally:
            step.seconds[part] = round(time.monotonic() - began, 3)

    return timed


def record(paths: Paths, step: Step, who: str, outcome: str) -> None:
    """Add a line to the app's history."""
    line = {
        "time": _now(),
        "who": who,
        "action": step.kind,
        "from": step.previous,
        "to": step.number,
        "source": description(paths, step.desired.name, step.number).get("source", step.desired.source),
        "reasons": step.reasons,
        "outcome": outcome,
        "seconds": step.seconds,
    }
    with open(paths.root / step.desired.name / HISTORY, "a") as stream:
        stream.write(json.dumps(line) + "\n")


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _collect(steps: list[Step], action: Callable[[Step], object], failures: list[str], parallel: int) -> list[Step]:
    """Do the action for every step; returns those for which it went well."""

    def attempt(step: Step) -> Step | None:
        try:
            action(step)
        except (ReleaseError, SystemdError, OSError) as error:
            failures.append(str(error) if isinstance(error, ReleaseError) else f'app "{step.desired.name}": {error}')
            return None
        return step

    with ThreadPoolExecutor(max(1, parallel)) as pool:
        return [step for step in pool.map(attempt, steps) if step]


@contextmanager
def lock(paths: Paths, app: str, who: str = "unknown") -> Iterator[None]:
    """Hold the app's lock; the kernel lets go of it when the holder ends, however it ends.

    Raises:
        ReleaseError: Another run holds it.
    """
    folder = paths.root / app
    folder.mkdir(mode=0o711, exist_ok=True)
    with open(folder / ".lock", "a+") as holder:
        try:
            fcntl.flock(holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder.seek(0)
            by = holder.read().strip() or "another run"
            raise ReleaseError(f'app "{app}" is being deployed by {by}; wait for that run to end') from None
        holder.truncate(0)
        holder.write(f"{who} since {_now()}")
        holder.flush()
        yield


def _prepare(paths: Paths, step: Step, systemd: ServiceManager) -> None:
    app = step.desired.name
    if step.kind == "deploy":
        step.number = str(int((release_numbers(paths, app) or ["0"])[-1]) + 1)
        _assemble(paths, step)
    for path, text in unit_files(paths, step).items():
        write_file(path, text)
    paths.wants(app).mkdir(exist_ok=True)
    replace_link(paths.wants(app) / step.unit, f"../{app}@.service")
    wanted_by = paths.units / "multi-user.target.wants"
    wanted_by.mkdir(exist_ok=True)
    replace_link(wanted_by / f"{app}.target", f"../{app}.target")
    systemd.create_runtime_files(str(paths.runtime / f"wsgi-{app}.conf"))


def _assemble(paths: Paths, step: Step) -> None:
    """Write the release beside the others; it appears under its number whole or not at all."""
    app, desired = step.desired.name, step.desired
    releases = paths.root / app / "releases"
    releases.mkdir(mode=0o711, exist_ok=True)
    releases.chmod(0o711)
    partial = releases / f".{step.number}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o711)
    partial.chmod(0o711)
    (partial / "app").symlink_to(f"../../builds/{desired.build}")
    (partial / "socket").symlink_to(paths.socket(app, step.number))
    shutil.copytree(paths.config / app, partial / "etc")
    (partial / "etc" / "start").rename(partial / "start")
    _own_by_group(partial, app)
    write_file(partial / SETTINGS, desired.settings)
    # After the rest has been given to the group: only systemd, which is root, reads this one.
    write_file(partial / "etc" / "environment", desired.environment, 0o600)
    facts = {
        "digest": desired.digest,
        "build": desired.build,
        "config": desired.config,
        "settings": _short(desired.settings),
    }
    facts.update(source=desired.source, created=_now())
    write_file(partial / "release.json", json.dumps(facts, indent=2) + "\n", 0o600)
    _plant_seed(paths, app, desired.build)
    partial.rename(releases / step.number)


def _own_by_group(folder: Path, app: str) -> None:
    group = grp.getgrnam(app).gr_gid
    os.chown(folder / "etc", -1, group)
    (folder / "etc").chmod(0o750)
    for path in [folder / "start", *(folder / "etc").rglob("*")]:
        os.chown(path, -1, group)
        path.chmod(0o750 if path.is_dir() or path.name == "start" else 0o640)


def _plant_seed(paths: Paths, app: str, build: str) -> None:
    """Copy what the source ships in its persistent directories to where nothing is yet.

    The app owns its state directory and could swap a path in it for a link at any moment, so nothing is done there
    as root: the copy runs as the app's user.
    """
    seed = paths.root / app / "builds" / build / "seed"
    for shipped in sorted(seed.iterdir()) if seed.is_dir() else []:
        home = paths.state / app
        if not home.exists():
            _make_home(home, app)
        if not os.path.lexists(home / shipped.name):
            _as_user(app, COPY_WHOLE, str(shipped), str(home / f".{shipped.name}.partial"), str(home / shipped.name))


def _make_home(home: Path, app: str) -> None:
    """Make the state directory; its parent is root's, so nobody can interfere."""
    user = pwd.getpwnam(app)
    partial = home.with_name(f".{home.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o750)
    os.chown(partial, user.pw_uid, user.pw_gid)
    partial.rename(home)


def _as_user(app: str, script: str, *arguments: str) -> None:
    """Run a shell script without any right that the app's user has not.

    Raises:
        ReleaseError: It failed.
    """
    user = pwd.getpwnam(app)
    rights: dict[str, Any] = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if os.getuid() == 0 else {}
    command = ["/bin/sh", "-ec", script, "sh", *arguments]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False, **rights)
    if done.returncode:
        raise ReleaseError(f'app "{app}": {arguments[-1]} could not be filled: {done.stderr.strip()}')


def _activate(paths: Paths, step: Step, systemd: ServiceManager) -> None:
    app = step.desired.name
    try:
        _start(paths, step, systemd)
        wait_healthy(paths.socket(app, step.number), step, systemd)
    except (ReleaseError, SystemdError) as error:
        journal = systemd.journal(step.unit, JOURNAL_LINES)
        if step.kind in ("deploy", "rollback"):
            _give_up(paths, step, systemd, str(error))
        raise ReleaseError(_failure(step, str(error), journal)) from error
    if step.kind == "rollback":
        write_file(paths.release(app, step.previous) / WITHDRAWN, "")
    write_file(paths.release(app, step.number) / PROVED, "")
    replace_link(paths.current(app), f"releases/{step.number}")


def _start(paths: Paths, step: Step, systemd: ServiceManager) -> None:
    state = systemd.states([step.unit])[step.unit]
    if not state.runs:
        systemd.start(step.unit)
    elif probe.ask(paths.socket(step.desired.name, step.number), step.desired.health):
        systemd.restart(step.unit)


def wait_healthy(socket: Path, step: Step, systemd: ServiceManager) -> None:
    """Ask until the instance answers well.

    Raises:
        ReleaseError: It has not within the time limit, or has ended.
    """
    health, good = step.desired.health, 0
    deadline = time.monotonic() + health.timeout
    look = time.monotonic() + STATE_INTERVAL
    while True:
        fault = probe.ask(socket, health)
        good = 0 if fault else good + 1
        if good >= health.successes:
            return
        now = time.monotonic()
        if now > look:
            look = now + STATE_INTERVAL
            if systemd.states([step.unit])[step.unit].broken:
                raise ReleaseError("the instance ended by itself")
        if now > deadline:
            seen = fault or f"{good} good answers in a row of {health.successes}"
            raise ReleaseError(f"not healthy within {health.timeout:g} s: {seen}")
        time.sleep(health.interval)


def _give_up(paths: Paths, step: Step, systemd: ServiceManager, reason: str) -> None:
    """Stop a release that failed, keep it from the next boot and mark it."""
    systemd.stop(step.unit)
    _forget(paths, step.desired.name, step.number)
    write_file(paths.release(step.desired.name, step.number) / FAILED, reason + "\n", 0o600)
    prune(paths, step.desired.name, step.desired.keep)


def _failure(step: Step, reason: str, journal: str) -> str:
    app = step.desired.name
    serving = f"release {step.previous} still serves" if step.previous else "nothing serves yet"
    first = f'app "{app}": release {step.number} ({step.desired.source}) was not activated, {serving}: {reason}'
    if step.kind == "heal":
        first = f'app "{app}": release {step.number} serves no longer and cannot be brought back: {reason}'
    return f"{first}\nLast lines of its journal:\n{journal}"


def _retire(paths: Paths, step: Step, systemd: ServiceManager) -> None:
    """Stop every instance but the one that serves, after requests on their way to it have arrived."""
    app = step.desired.name
    old = sorted(enabled(paths, app) - {step.number})
    if old:
        time.sleep(step.desired.drain)
        systemd.stop(*(unit_name(app, number) for number in old))
    for number in old:
        _forget(paths, app, number)
    prune(paths, app, step.desired.keep)


def _forget(paths: Paths, app: str, number: str) -> None:
    (paths.wants(app) / unit_name(app, number)).unlink(missing_ok=True)
    shutil.rmtree(paths.settings(app, number).parent, ignore_errors=True)
    paths.socket(app, number).unlink(missing_ok=True)


def prune(paths: Paths, app: str, keep: int) -> None:
    """Remove all but the last releases that proved themselves, and the builds that no release uses any more.

    Of those that failed, the last stays for a person to look at. The current one always stays.
    """
    numbers = release_numbers(paths, app)
    good = [number for number in numbers if has_proved(paths, app, number)]
    failed = [number for number in numbers if (paths.release(app, number) / FAILED).exists()]
    kept = {current_release(paths, app), *good[-keep:], *failed[-1:]}
    for number in set(numbers) - kept:
        shutil.rmtree(paths.release(app, number))
    for leftover in (paths.root / app / "releases").glob(".*.partial"):
        shutil.rmtree(leftover)
    used = {os.path.basename(os.readlink(paths.release(app, number) / "app")) for number in release_numbers(paths, app)}
    for build in (paths.root / app / "builds").iterdir():
        if build.name not in used:
            shutil.rmtree(build)


def remove(paths: Paths, app: str, purge: bool, systemd: ServiceManager) -> None:
    """Stop an app and remove everything of it; its data only when asked to."""
    with lock(paths, app):
        instances = [unit_name(app, number) for number in sorted(enabled(paths, app))]
        if instances:
            systemd.stop(*instances)
        if (paths.units / f"{app}.target").exists():
            systemd.stop(f"{app}.target")
        for number in release_numbers(paths, app):
            _forget(paths, app, number)
        for path in (
            paths.units / f"{app}@.service",
            paths.units / f"{app}.target",
            paths.runtime / f"wsgi-{app}.conf",
        ):
            path.unlink(missing_ok=True)
        (paths.units / "multi-user.target.wants" / f"{app}.target").unlink(missing_ok=True)
        systemd.reload()
        if not purge:
            _keep_data(paths.state / app)
        for folder in (paths.wants(app), paths.run / app, paths.root / app, *([paths.state / app] if purge else [])):
            shutil.rmtree(folder, ignore_errors=True)


def _keep_data(home: Path) -> None:
    """Close the data of an app whose user goes: the user's number may be given to the next app.

    When the app comes back, systemd gives a C(StateDirectory) of another owner to the app's user.
    """
    if not home.is_dir() or home.is_symlink():
        return
    os.chown(home, 0 if os.getuid() == 0 else -1, 0 if os.getuid() == 0 else -1)
    home.chmod(0o700)
    (home / KEPT).unlink(missing_ok=True)
    os.close(os.open(home / KEPT, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))


def leftovers(paths: Paths, app: str, purge: bool) -> list[str]:
    """What is still on the host of an app that should be absent."""
    candidates = [paths.root / app, paths.units / f"{app}@.service", paths.units / f"{app}.target"]
    if purge:
        candidates.append(paths.state / app)
    return [str(path) for path in candidates if os.path.lexists(path)]


def write_file(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file so that readers see the old or the new text, never a part; its mode is right from the start."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w") as stream:
        os.fchmod(descriptor, mode)
        stream.write(text)
        stream.flush()
        os.fsync(descriptor)
    partial.rename(path)


def replace_link(link: Path, target: str) -> None:
    """Point a symlink elsewhere by rename(2): there is no instant without one."""
    if link.is_symlink() and os.readlink(link) == target:
        return
    partial = link.with_name(f".{link.name}.partial")
    partial.unlink(missing_ok=True)
    partial.symlink_to(target)
    partial.rename(link)
