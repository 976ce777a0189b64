# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing a release: build, configuration, environment, credentials and units joined in one directory."""

from __future__ import annotations

import json
import shutil

from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.files import TreeFile, digest_of
from ansible_collections.webops.wsgi.plugins.module_utils.host.files import remove_tree, write_file
from ansible_collections.webops.wsgi.plugins.module_utils.host.lock import now
from ansible_collections.webops.wsgi.plugins.module_utils.release import files
from ansible_collections.webops.wsgi.plugins.module_utils.release.layout import Paths
from ansible_collections.webops.wsgi.plugins.module_utils.release.plan import Desired, ReleaseError

FREE_NEEDED = 50_000_000  # bytes; a release is small, but what it starts writes logs and state


def assemble(paths: Paths, desired: Desired, number: str) -> None:
    """Write the release beside the others; it appears under its number whole or not at all.

    Raises:
        ReleaseError: The disk is too full, or another run has removed the build or written other server settings.
        OSError: A file could not be written.
    """
    releases = paths.root / desired.name / "releases"
    releases.mkdir(mode=0o711, exist_ok=True)
    releases.chmod(0o711)
    _refuse(paths, desired)
    partial = releases / f".{number}.partial"
    remove_tree(partial)
    try:
        partial.mkdir(mode=0o711)
        partial.chmod(0o711)
        files.write(paths, desired, number, partial)
        check_settings(paths, desired)
        facts = {
            "manager": desired.manager,
            "digest": desired.digest,
            "parts": desired.parts(),
            "build": desired.build,
            "source": desired.source,
        }
        write_file(partial / "release.json", json.dumps({**facts, "created": now()}, indent=2) + "\n", 0o600)
        partial.rename(releases / number)
    except (OSError, ReleaseError):
        remove_tree(partial)
        raise


def check_settings(paths: Paths, desired: Desired) -> None:
    """See that the server settings on the host are this run's.

    Another run may have written its own between the task that writes them and the one that copies them.

    Raises:
        ReleaseError: They are another run's.
    """
    folder = paths.config / desired.name
    found = {
        f"{desired.name}/{path.relative_to(folder)}": TreeFile("", path.read_text(), path.stat().st_mode & 0o777)
        for path in folder.rglob("*")
        if path.is_file()
    }
    if digest_of(found) != desired.config:
        raise ReleaseError(
            f'app "{desired.name}": its server settings in {folder} are not those of this run, another run has written '
            "them meanwhile; run again when that has ended"
        )


def _refuse(paths: Paths, desired: Desired) -> None:
    if not desired.build or not (paths.root / desired.name / "builds" / desired.build).is_dir():
        raise ReleaseError(
            f'app "{desired.name}": build {desired.build} is gone, another run has removed it meanwhile; run again'
        )
    free = shutil.disk_usage(paths.root).free
    if free < FREE_NEEDED:
        raise ReleaseError(
            f'app "{desired.name}": {paths.root} has {free // 1_000_000} MB free, a release needs '
            f"{FREE_NEEDED // 1_000_000} MB; make room, or keep fewer releases with release_keep"
        )
