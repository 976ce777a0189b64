# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release and its units, put on disk before anything of it is started."""

from __future__ import annotations

import socket

from ansible_collections.webops.wsgi.plugins.module_utils.host.files import replace_link, write_file
from ansible_collections.webops.wsgi.plugins.module_utils.release import assembly
from ansible_collections.webops.wsgi.plugins.module_utils.release import files as release_files
from ansible_collections.webops.wsgi.plugins.module_utils.release.layout import Paths, read_text, release_numbers
from ansible_collections.webops.wsgi.plugins.module_utils.release.plan import (
    ReleaseError,
    ServiceManager,
    Step,
    unit_files,
    unwanted_files,
)


def prepare(paths: Paths, step: Step, systemd: ServiceManager) -> None:
    """Have the release and its units on disk.

    Raises:
        ReleaseError: The release cannot be written, or the address it wants is taken.
    """
    app = step.app
    _refuse_taken_address(paths, step)
    if step.kind == "deploy":
        step.number = str(int((release_numbers(paths, app) or ["0"])[-1]) + 1)
        assembly.assemble(paths, step.desired, step.number)
    elif step.kind == "rollback":  # the files of an earlier release are nowhere else
        replace_link(paths.release(app, step.number) / "socket", str(paths.socket(app, step.number)))
    else:
        assembly.check_settings(paths, step.desired)
        release_files.restore(paths, step.desired, step.number)
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
    listen = step.desired.listen
    held = read_text(paths.units / f"{step.app}.listen.socket") or ""
    if not listen or f"ListenStream={listen}" in held.splitlines():
        return
    host, _colon, port = listen.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host.strip("[]"), int(port)), family=family).close()
    except OSError as error:
        reason = f"listen is {listen}, which cannot be bound: {error.strerror}; choose another port"
        raise ReleaseError(f'app "{step.app}": {reason}') from None


def _close_listener(paths: Paths, step: Step, systemd: ServiceManager) -> None:
    """Let go of an address that is about to change, or that the app has no longer."""
    names = [f"{step.app}.listen.socket", f"{step.app}.listen.service"]
    up = [unit for unit, state in systemd.states(names).items() if state.runs]
    if up:
        systemd.stop(*up)
    for path in unwanted_files(paths, step.desired):
        (paths.wants(step.app) / path.name).unlink(missing_ok=True)
        path.unlink()
