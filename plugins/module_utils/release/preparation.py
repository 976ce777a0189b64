# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release and what its manager reads of it, put on disk before anything of it is started."""

from __future__ import annotations

from ansible_collections.webops.wsgi.plugins.module_utils.host.files import replace_link, write_file
from ansible_collections.webops.wsgi.plugins.module_utils.managers.model import Manager
from ansible_collections.webops.wsgi.plugins.module_utils.managers.systemd import create_runtime_files
from ansible_collections.webops.wsgi.plugins.module_utils.release import assembly
from ansible_collections.webops.wsgi.plugins.module_utils.release import files as release_files
from ansible_collections.webops.wsgi.plugins.module_utils.release.layout import (
    Paths,
    manager_of,
    read_text,
    release_numbers,
)
from ansible_collections.webops.wsgi.plugins.module_utils.release.plan import Step


def prepare(paths: Paths, step: Step, manager: Manager) -> None:
    """Have the release and what its manager reads on disk.

    Raises:
        ReleaseError: The release cannot be written.
        ManagerError: The host cannot give it what it wants, such as an address that is taken.
    """
    app = step.app
    manager.check(step.desired)
    if step.kind == "deploy":
        step.number = str(int((release_numbers(paths, app) or ["0"])[-1]) + 1)
        assembly.assemble(paths, step.desired, step.number)
    elif step.kind == "rollback":  # the files of an earlier release are nowhere else
        replace_link(paths.release(app, step.number) / "socket", str(paths.socket(app, step.number)))
    else:
        assembly.check_settings(paths, step.desired)
        release_files.restore(paths, step.desired, step.number)
    manager.install(step.desired, step.number)
    if step.previous and manager_of(paths, app, step.previous) == manager_of(paths, app, step.number):
        # While the new one is on trial, the one before may have to start again. Another manager has what it needs.
        manager.install(step.desired, step.previous)
    runtime = paths.runtime_file(app)
    if read_text(runtime) != step.desired.runtime:
        write_file(runtime, step.desired.runtime)
    create_runtime_files(str(runtime))
