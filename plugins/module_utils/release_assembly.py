# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing a release: build, configuration, environment, credentials and units joined in one directory."""

from __future__ import annotations

import grp
import json
import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.app_lock import now
from ansible_collections.webops.wsgi.plugins.module_utils.files import write_file
from ansible_collections.webops.wsgi.plugins.module_utils.release import Desired, ReleaseError
from ansible_collections.webops.wsgi.plugins.module_utils.release_layout import (
    COMMANDS,
    CREDENTIALS,
    SETTINGS,
    UNITS,
    Paths,
)

FREE_NEEDED = 50_000_000  # bytes; a release is small, but what it starts writes logs and state
COPY_WHOLE = 'rm -rf -- "$2"; cp -R -- "$1" "$2"; mv -T -- "$2" "$3"'  # it appears whole or not at all


def assemble(paths: Paths, desired: Desired, number: str) -> None:
    """Write the release beside the others; it appears under its number whole or not at all.

    Raises:
        ReleaseError: The disk is too full, or another run has removed the build.
        OSError: A file could not be written.
    """
    releases = paths.root / desired.name / "releases"
    releases.mkdir(mode=0o711, exist_ok=True)
    releases.chmod(0o711)
    _refuse(paths, desired)
    partial = releases / f".{number}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        _write(paths, desired, number, partial)
        _plant_seed(paths, desired.name, desired.build)
        partial.rename(releases / number)
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _refuse(paths: Paths, desired: Desired) -> None:
    if not (paths.root / desired.name / "builds" / desired.build).is_dir():
        raise ReleaseError(
            f'app "{desired.name}": build {desired.build} is gone, another run has removed it meanwhile; run again'
        )
    free = shutil.disk_usage(paths.root).free
    if free < FREE_NEEDED:
        raise ReleaseError(
            f'app "{desired.name}": {paths.root} has {free // 1_000_000} MB free, a release needs '
            f"{FREE_NEEDED // 1_000_000} MB; make room, or keep fewer releases with release_keep"
        )


def _write(paths: Paths, desired: Desired, number: str, folder: Path) -> None:
    app = desired.name
    folder.mkdir(mode=0o711)
    folder.chmod(0o711)
    (folder / "app").symlink_to(f"../../builds/{desired.build}")
    (folder / "socket").symlink_to(paths.socket(app, number))
    shutil.copytree(paths.config / app, folder / "etc")
    (folder / "etc" / "start").rename(folder / "start")
    (folder / COMMANDS).mkdir()
    for name, text in desired.commands.items():
        write_file(folder / COMMANDS / name, text)
    _own_by_group(folder, app)
    write_file(folder / SETTINGS, desired.settings)
    for unit in desired.units:
        write_file(folder / UNITS / unit.kind / unit.name, unit.text)
    # After the rest has been given to the group: only systemd, which is root, reads these.
    write_file(folder / "etc" / "environment", desired.environment, 0o600)
    (folder / CREDENTIALS).mkdir(mode=0o700)
    for name, content in desired.credentials.items():
        write_file(folder / CREDENTIALS / name, content, 0o600)
    facts = {"digest": desired.digest, "parts": desired.parts(), "build": desired.build, "source": desired.source}
    write_file(folder / "release.json", json.dumps({**facts, "created": now()}, indent=2) + "\n", 0o600)


def _own_by_group(folder: Path, app: str) -> None:
    group = grp.getgrnam(app).gr_gid
    for top in (folder / "etc", folder / COMMANDS):
        os.chown(top, -1, group)
        top.chmod(0o750)
    runs = [folder / "start", *(folder / COMMANDS).iterdir()]
    for path in [*runs, *(folder / "etc").rglob("*")]:
        os.chown(path, -1, group)
        path.chmod(0o750 if path.is_dir() or path in runs else 0o640)


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
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, errors="replace", check=False, **rights)
    if done.returncode:
        raise ReleaseError(f'app "{app}": {arguments[-1]} could not be filled: {done.stderr.strip()}')
