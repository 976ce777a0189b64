# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes once another release serves: old instances, what they have outside their directories, old releases."""

from __future__ import annotations

import os
import subprocess

from ansible_collections.webops.wsgi.plugins.module_utils.host.files import remove_tree
from ansible_collections.webops.wsgi.plugins.module_utils.host.progress import waiting
from ansible_collections.webops.wsgi.plugins.module_utils.image.kept import forget_image
from ansible_collections.webops.wsgi.plugins.module_utils.managers.model import JOB, SERVER, TIMER, Manager
from ansible_collections.webops.wsgi.plugins.module_utils.release.drain import drain
from ansible_collections.webops.wsgi.plugins.module_utils.release.layout import (
    FAILED,
    WITHDRAWN,
    Paths,
    current_release,
    has_proved,
    processes,
    release_numbers,
)
from ansible_collections.webops.wsgi.plugins.module_utils.release.plan import Step
from ansible_collections.webops.wsgi.plugins.module_utils.release.shares import take_back


def retire(paths: Paths, step: Step, manager: Manager) -> None:
    """Stop everything of other releases, once nobody is connected to them any more."""
    app = step.app
    others = {number: old for number, old in manager.known(app).items() if number != step.number}
    states = manager.states(process for old in others.values() for process in old)
    up = [process for process, state in states.items() if not state.gone]
    timers = [process for process in up if process.kind == TIMER]
    if timers:
        manager.stop(*timers)
    ours = processes(paths, app, step.number, TIMER)
    if ours:
        manager.start(*ours)
    rest = [process for process in up if process not in timers]
    if rest:
        servers = [paths.instance(app, process.number) for process in rest if process.kind == SERVER]
        limit = step.desired.drain
        with waiting(app, "waits for the requests that the release before still answers", limit, paths.progress):
            drain(servers, limit)
        with waiting(app, "waits until the release before has stopped", folder=paths.progress):
            manager.stop(*rest)
    for link in (paths.previous_socket(app), paths.previous_instance(app)):
        link.unlink(missing_ok=True)
    for number in others:
        forget(paths, app, number, manager)
    prune(paths, app, step.desired.keep, manager)


def forget(paths: Paths, app: str, number: str, manager: Manager) -> None:
    """Remove what a release has outside its directory."""
    manager.forget(app, number)
    if os.path.ismount(paths.instance(app, number)):  # its manager has unmounted it, unless something was killed
        subprocess.run(["umount", "--lazy", str(paths.instance(app, number))], check=False, capture_output=True)
    remove_tree(paths.instance(app, number))


def prune(paths: Paths, app: str, keep: int, manager: Manager) -> None:
    """Remove all but the last releases that proved themselves, and the builds that no release uses any more.

    Of those that failed, the last stays for a person to look at, and of those that somebody went back from, the last
    stays as the way forward. The current one always stays, and so does one whose job still runs. What the proxy was let
    read for others than the current one it may read no more: one that is gone back to gives it again.
    """
    take_back(paths, app)
    numbers = release_numbers(paths, app)
    proved = [number for number in numbers if has_proved(paths, app, number)]
    withdrawn = [number for number in proved if (paths.release(app, number) / WITHDRAWN).exists()]
    good = [number for number in proved if number not in withdrawn]
    failed = [number for number in numbers if (paths.release(app, number) / FAILED).exists()]
    kept = {current_release(paths, app), *good[-keep:], *withdrawn[-1:], *failed[-1:]}
    kept |= _busy(paths, app, [number for number in numbers if number not in kept], manager)
    for number in set(numbers) - kept:
        remove_tree(paths.release(app, number))
        manager.discard(app, number)
    for leftover in (paths.root / app / "releases").glob(".*.partial"):
        remove_tree(leftover)
    # Somebody may have removed the link of one.
    builds = [paths.release(app, number) / "app" for number in release_numbers(paths, app)]
    used = {os.path.basename(os.readlink(build)) for build in builds if build.is_symlink()}
    for build in (paths.root / app / "builds").iterdir():
        if build.name not in used:
            forget_image(build)
            remove_tree(build)


def _busy(paths: Paths, app: str, numbers: list[str], manager: Manager) -> set[str]:
    """Those of the releases whose job is still running; it ends by itself."""
    states = manager.states(job for number in numbers for job in processes(paths, app, number, JOB))
    return {job.number for job, state in states.items() if not state.gone}
