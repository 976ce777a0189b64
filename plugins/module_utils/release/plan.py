# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases: what should run, compared with what runs.

The one fact that decides which release serves is the symlink C(/srv/<app>/current). The socket that nginx connects to
and the directories it serves are reached through it, so one rename(2) switches all of them together. Everything else
(units, links for the next boot, old instances) is brought in line with it by this run or, if it is killed, by the next.

C(run) makes up the difference, C(activation) says how one release goes live.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.failures.server_log import ServerLog
from ansible_collections.webops.wsgi.plugins.module_utils.managers.model import Manager, Process, State
from ansible_collections.webops.wsgi.plugins.module_utils.release import files as release_files
from ansible_collections.webops.wsgi.plugins.module_utils.release import health as probe
from ansible_collections.webops.wsgi.plugins.module_utils.release import proxy as release_proxy
from ansible_collections.webops.wsgi.plugins.module_utils.release.layout import (
    DEFAULT_MANAGER,
    WITHDRAWN,
    Part,
    Paths,
    current_release,
    description,
    has_proved,
    lasting,
    read_text,
    release_numbers,
)
from ansible_collections.webops.wsgi.plugins.module_utils.release.proxy import Proxy

PREVIOUS = "previous"  # stands for the release before the current one in a request to roll back
FINISHED = ("none", "heal")  # kinds of step that try no other release


class ReleaseError(Exception):
    """A release that could not be activated; the message says which, why, and what serves now."""


@dataclass(frozen=True)
class Bake:
    """How long the old instance stays up beside the new one, and what brings it back.

    Attributes:
        seconds: Length of the window; 0 for none.
        error_percent: Share of answers with a 5xx status above which the new release is given up.
        log_sample: Share of the answers without an error that the proxy logs.
    """

    seconds: float = 0.0
    error_percent: float = 5.0
    log_sample: float = 1.0


@dataclass(frozen=True)
class Desired:
    """The release an app should run.

    Attributes:
        name: The app.
        build: Digest of its build.
        source: The build's source in a person's words.
        config: Digest of the server's configuration directory.
        settings: What its manager reads of the server: limits, sandbox, environment that is no secret.
        files: Texts of systemd's units that belong to no release (template, target, listener), by name.
        runtime: Text of the tmpfiles.d file.
        launch: What starts its processes for a manager that only starts programs, as JSON; empty for none.
        launcher: Text of the program that reads this.
        prepare: Text of what runs before each program of the app; empty for nothing.
        environment: Text of the environment file.
        manager: The process manager that runs it.
        listen: Address on the host itself, such as C(127.0.0.1:8000) or C([::1]:8000); empty for none.
        credentials: Files that systemd hands to the app, by name.
        config_files: Files that the app reads in the release, by name.
        units: What runs beside the server: workers, timers and their jobs, hooks.
        commands: Texts of the scripts that are run there, by name.
        run_hooks: Whether this host runs the hook before the activation.
        health: What a healthy instance answers.
        proxy: How clients reach it.
        start_timeout: Seconds until its server listens.
        log: How its server writes to the journal.
        bake: How long it is watched before the old instance goes.
        settle: Seconds a worker must run without ending.
        look_after: Seconds for which it must have served when the run looks at it once more.
        drain: Most seconds that an old instance keeps its connections after the switch.
        keep: How many releases stay on disk.
    """

    name: str
    build: str
    source: str
    config: str
    settings: str
    files: Mapping[str, str]
    runtime: str
    environment: str = field(repr=False)
    manager: str = DEFAULT_MANAGER
    launch: str = ""
    launcher: str = ""
    prepare: str = ""
    listen: str = ""
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)
    config_files: Mapping[str, str] = field(default_factory=dict, repr=False)
    units: tuple[Part, ...] = ()
    commands: Mapping[str, str] = field(default_factory=dict)
    run_hooks: bool = True
    health: probe.Health = field(default_factory=probe.Health)
    proxy: Proxy = field(default_factory=Proxy)
    start_timeout: float = 60.0
    log: ServerLog = field(default_factory=ServerLog)
    bake: Bake = field(default_factory=Bake)
    settle: float = 3.0
    look_after: float = 6.0
    drain: float = 30.0
    keep: int = 5

    def parts(self) -> dict[str, str]:
        """What a release consists of, in a person's words, each with the digest of its content."""
        background = [[unit.kind, unit.name, _words(unit.text)] for unit in self.units], dict(self.commands)
        # A release without any keeps the digest it had before there were any.
        files = {"files": _digest(dict(self.config_files))} if self.config_files else {}
        manager = {} if self.manager == DEFAULT_MANAGER else {"manager": self.manager}
        launch = [self.launch] if self.launch else []
        return {
            **files,
            **manager,
            "build": self.build,
            "config": self.config,
            "settings": _digest([_words(self.settings), self.prepare, *launch]),
            "environment": _digest(self.environment),
            "credentials": _digest(dict(self.credentials)),
            "workers, timers or hooks": _digest(background),
        }

    @property
    def digest(self) -> str:
        """Equal digests, equal releases."""
        return _digest(self.parts())


def _words(text: str) -> list[str]:
    """What a manager reads of a file: other comments are no other release."""
    return [line for line in text.splitlines() if line and not line.startswith(("#", ";"))]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


# -- what is to be done ------------------------------------------------------------------------------------------


@dataclass
class Step:
    """What one app needs.

    Attributes:
        desired: The release it should run.
        previous: Number of the release to stay with, or to go back to, when the new one fails.
        kind: C(none), C(heal) (same release, something around it is not as it should be), C(finish) (the current
            release was never proved, its deployment was interrupted), C(deploy) or C(rollback).
        reasons: Why, in a person's words.
        number: Number of the release that serves when all went well.
        seconds: How long each part took.
        failed: Whether the release could not be brought into service.
    """

    desired: Desired
    previous: str
    kind: str = "none"
    reasons: list[str] = field(default_factory=list)
    number: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    failed: bool = False

    @property
    def app(self) -> str:
        return self.desired.name

    @property
    def server(self) -> Process:
        return Process(self.app, self.number)

    @property
    def on_trial(self) -> bool:
        """Whether another release is tried, which is given up when it fails."""
        return self.kind not in FINISHED


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
        source = description(paths, desired.name, target).get("source", "")
        of_target = replace(desired, source=source)
        step = Step(of_target, current, "none" if target == current else "rollback", [], target)
        step.reasons = [f"asked for {targets[desired.name]}"]
        steps.append(step)
    return steps


def _rollback_target(paths: Paths, app: str, current: str, asked: str) -> str:
    good = [number for number in release_numbers(paths, app) if has_proved(paths, app, number)]
    if asked != PREVIOUS and asked in good:
        return asked
    earlier = _before(paths, app, current)
    if asked == PREVIOUS and earlier:
        return earlier
    choice = ", ".join(number for number in good if number != current) or "none"
    missing = "earlier good release" if asked == PREVIOUS else f"good release {asked}"
    raise ReleaseError(
        f'app "{app}": there is no {missing} to go back to from {current or "nothing"}; '
        f"good ones on the host are: {choice}. Choose one with -e release=<number>"
    )


def _before(paths: Paths, app: str, current: str) -> str:
    """The last good release before the current one that nobody has rolled back from; empty when there is none."""
    earlier = [
        number
        for number in release_numbers(paths, app)
        if current and int(number) < int(current) and has_proved(paths, app, number)
        if not (paths.release(app, number) / WITHDRAWN).exists()
    ]
    return earlier[-1] if earlier else ""


def plan(paths: Paths, wanted: list[Desired], manager: Manager) -> list[Step]:
    """Compare what is wanted with what runs; changes nothing."""
    steps = [Step(desired, current_release(paths, desired.name)) for desired in wanted]
    up = [process for step in steps if step.previous for process in lasting(paths, step.app, step.previous)]
    up += [process for step in steps for process in manager.listeners(step.desired)]
    states = manager.states(up)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda step: _decide(paths, step, states, manager), steps))
    return steps


def _decide(paths: Paths, step: Step, states: dict[Process, State], manager: Manager) -> None:
    app, current = step.app, step.previous
    found = description(paths, app, current) if current else {}
    if found.get("digest") != step.desired.digest:
        step.kind = "deploy"
        step.reasons = _differences(found, step.desired)
        return
    step.number = current
    if not has_proved(paths, app, current):
        step.kind, step.previous = "finish", _before(paths, app, current)
        step.reasons = [f"the deployment of release {current} was interrupted"]
        return
    step.reasons = _defects(paths, step, states, manager)
    if states[step.server].runs and not step.reasons:
        fault = health_fault(paths, step.desired)
        step.reasons = [fault] if fault else []
    step.kind = "heal" if step.reasons else "none"


def health_fault(paths: Paths, desired: Desired) -> str:
    """What is wrong with what serves, asked over its socket and as a client asks; empty when nothing is."""
    answer = release_proxy.ask(paths, desired.name, desired.proxy, desired.health)
    if answer and not answer.fault and not answer.kept:  # nginx has asked over the same socket
        return ""
    return probe.ask(paths.current_socket(desired.name), desired.health).fault or release_proxy.fault(answer)


def _differences(found: Mapping[str, Any], desired: Desired) -> list[str]:
    if not found:
        return ["first release"]
    before, after = found.get("parts", {}), desired.parts()
    return [name for name in {**after, **before} if before.get(name) != after.get(name)]


def _defects(paths: Paths, step: Step, states: dict[Process, State], manager: Manager) -> list[str]:
    app, number = step.app, step.number
    found = []
    for state in (states[process] for process in [*lasting(paths, app, number), *manager.listeners(step.desired)]):
        if not state.runs:
            found.append(f"{state.name} is {state.word}")
        elif state.unstable:
            found.append(state.restarted)
        found += state.defects
    found += manager.drift(step.desired, number)
    runtime = paths.runtime_file(app)
    found += [f"{runtime} differs"] if read_text(runtime) != step.desired.runtime else []
    found += [f"release {other} is left over" for other in sorted(set(manager.known(app)) - {number}, key=int)]
    found += release_files.differences(paths, step.desired, number)
    return found + _diverted(paths, app)


def _diverted(paths: Paths, app: str) -> list[str]:
    """What keeps the proxy from the socket of the release in service, or lets others decide where it connects."""
    link, target = paths.current_socket(app), str(paths.current(app) / "socket")
    if not link.is_symlink():
        return [f"{link} is missing"]
    found = [] if os.readlink(link) == target else [f"{link} does not lead to {target}"]
    owner = link.parent.stat()
    if owner.st_uid != os.geteuid() or owner.st_mode & 0o022:
        found.append(f"others than root may write to {link.parent}")
    return found
