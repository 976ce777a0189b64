# SPDX-License-Identifier: GPL-3.0-or-later
"""Links outside a configuration tree that lead into it, and the files that stood in their places."""

from __future__ import annotations

import contextlib
import os
import posixpath
import shutil
from collections.abc import Mapping

from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.files import TreeError
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.spec import Spec
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.store import (
    REPLACED,
    SCRATCH_LINK,
    Store,
    read_link,
    replace_link,
    scratch_name,
)


def check_links(spec: Spec) -> None:
    """:raises TreeError: a directory stands where a link should go."""
    for path in spec.links:
        if os.path.isdir(path) and not os.path.islink(path):
            raise TreeError(f"links: {path} is a directory, expected a file, a symlink or nothing. Move it away.")


def put_link(store: Store, link: str, target: str) -> None:
    """Make ``link`` lead into the tree; the file that stands there is kept in the store."""
    os.makedirs(posixpath.dirname(link), exist_ok=True)
    _set_aside(store, link)
    replace_link(link, target, posixpath.dirname(link))


def _set_aside(store: Store, link: str) -> None:
    """Keep the file that stands where a link goes."""
    saved = store.path(REPLACED) + link
    if os.path.islink(link) or os.path.isfile(link):
        os.makedirs(posixpath.dirname(saved), exist_ok=True)
        temporary = saved + ".part"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        if os.path.islink(link) and os.path.isfile(saved) and not os.path.islink(saved):
            os.rename(saved, saved + ".orig")
        shutil.copy2(link, temporary, follow_symlinks=False)
        os.rename(temporary, saved)


def restore_links(store: Store, links: Mapping[str, str]) -> None:
    """Put the files back that stood where these links are, or nothing where nothing stood."""
    for link, target in links.items():
        saved = store.path(REPLACED) + link
        if os.path.lexists(saved):
            temporary = scratch_name(SCRATCH_LINK, posixpath.dirname(link))
            shutil.copy2(saved, temporary, follow_symlinks=False)
            os.rename(temporary, link)
        elif read_link(link) == target:
            os.unlink(link)


def sweep_links(spec: Spec) -> None:
    """Remove the scratch entries that a killed run has left beside links."""
    for folder in {posixpath.dirname(link) for link in spec.links}:
        for name in os.listdir(folder) if os.path.isdir(folder) else ():
            if name.startswith(SCRATCH_LINK) and os.path.islink(posixpath.join(folder, name)):
                os.unlink(posixpath.join(folder, name))
