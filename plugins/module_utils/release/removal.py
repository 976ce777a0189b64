# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removing an app that the inventory wants absent."""

from __future__ import annotations

import os
from pathlib import Path

from ansible_collections.webops.wsgi.plugins.module_utils.host.files import remove_tree
from ansible_collections.webops.wsgi.plugins.module_utils.host.lock import lock
from ansible_collections.webops.wsgi.plugins.module_utils.host.marks import KEPT
from ansible_collections.webops.wsgi.plugins.module_utils.managers.model import Manager
from ansible_collections.webops.wsgi.plugins.module_utils.release.layout import Paths, instances
from ansible_collections.webops.wsgi.plugins.module_utils.release.retirement import forget


def remove(paths: Paths, app: str, purge: bool, manager: Manager) -> None:
    """Stop an app and remove everything of it; its data only when asked to.

    Raises:
        LockedError: Another run works on the app.
    """
    with lock(paths.root / app):
        manager.remove(app)
        for number in instances(paths, app):
            forget(paths, app, number, manager)
        for path in _files(paths, app):
            path.unlink(missing_ok=True)
        if not purge:
            _keep_data(paths.state / app)
        folders = [paths.run / app, paths.root / app, paths.cache(app), *paths.workshops(app)]
        for folder in [*folders, *_data(paths, app, purge)]:
            remove_tree(folder)


def _files(paths: Paths, app: str) -> list[Path]:
    """The app's files that belong to no release, but for those of its manager."""
    return [paths.runtime_file(app), paths.maintenance / app]


def _data(paths: Paths, app: str, purge: bool) -> list[Path]:
    """What stays unless a person wants it gone: what the app has written, and what was logged of its clients."""
    return [paths.state / app, *paths.access_logs(app)] if purge else []


def _keep_data(home: Path) -> None:
    """Close the data of an app whose user goes: the user's number may be given to the next app.

    The app wrote there, so what lies at the name of the mark may be anything: the directory is root's before it is
    looked at. When the app comes back, its manager gives the directory to the app's user.
    """
    if not home.is_dir() or home.is_symlink():
        return
    os.chown(home, os.geteuid(), os.getegid())
    home.chmod(0o700)
    remove_tree(home / KEPT)
    os.close(os.open(home / KEPT, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))


def leftovers(paths: Paths, app: str, purge: bool, manager: Manager) -> list[str]:
    """What is still on the host of an app that should be absent."""
    candidates = [paths.root / app, paths.cache(app), *paths.workshops(app), *_files(paths, app)]
    candidates += [*manager.files(app), *_data(paths, app, purge)]
    return [str(path) for path in candidates if os.path.lexists(path)]
