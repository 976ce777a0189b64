# SPDX-License-Identifier: GPL-3.0-or-later
"""The directory that holds a configuration tree's generations: which of them are kept, and who works on it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import posixpath
import secrets
import shutil
import time
from collections.abc import Iterator

from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.files import TreeError
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.spec import Spec

SCRATCH_NEW = ".new-"
SCRATCH_PREVIEW = ".preview-"
SCRATCH_LINK = ".link-"
PREVIOUS = "previous"
SERVED = "served"
REPLACED = "replaced"
LOCK_TIMEOUT = 60.0


@contextlib.contextmanager
def locked(path: str) -> Iterator[None]:
    """Hold the directory ``path`` for one run; the kernel lets go when the process dies.

    :raises TreeError: another run holds it for longer than LOCK_TIMEOUT seconds.
    """
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        deadline = time.monotonic() + LOCK_TIMEOUT
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    message = f"another run has been at work on {path} for {LOCK_TIMEOUT:.0f} s; try again when it ends"
                    raise TreeError(message) from None
                time.sleep(0.1)
        yield
    finally:
        os.close(handle)


def read_link(path: str) -> str | None:
    """Target of the symlink at ``path``; None when there is no symlink."""
    try:
        return os.readlink(path)
    except OSError:
        return None


def scratch_name(prefix: str, folder: str) -> str:
    """A name in ``folder`` that nothing has; the next run sweeps what a killed one left under such a name."""
    return posixpath.join(folder, f"{prefix}{os.getpid()}-{secrets.token_hex(4)}")


def replace_link(path: str, target: str, scratch: str) -> None:
    """Make ``path`` a symlink to ``target`` in one rename; ``scratch`` is a directory on the same file system."""
    temporary = scratch_name(SCRATCH_LINK, scratch)
    os.symlink(target, temporary)
    try:
        os.rename(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise


class Store:
    """The generations of one tree, and the links in their directory that name those that are needed."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec

    def path(self, name: str) -> str:
        return posixpath.join(self.spec.store, name)

    @property
    def served(self) -> str:
        """The last generation known to be in service; empty when there is none."""
        return read_link(self.path(SERVED)) or ""

    def has(self, name: str) -> bool:
        return bool(name) and os.path.isdir(self.path(name))

    def put_live(self, name: str) -> None:
        """Make a generation the tree, by one rename of ``root``."""
        replace_link(self.spec.root, f"{self.spec.base}.d/{name}", self.spec.store)

    def mark(self, live: str, generation: str) -> bool:
        """Note the generation in service and the one before it; returns whether there was anything to write.

        :param live: the generation that was live when the run began
        """
        served = self.served
        if served == generation:
            return False
        if self.has(served):
            replace_link(self.path(PREVIOUS), served, self.spec.store)
        elif live != generation and self.has(live):
            replace_link(self.path(PREVIOUS), live, self.spec.store)
        replace_link(self.path(SERVED), generation, self.spec.store)
        return True

    def clutter(self) -> list[str]:
        """Scratch entries and generations that are neither live nor the one before."""
        target = read_link(self.spec.root)
        needed = {REPLACED, PREVIOUS, SERVED, posixpath.basename(target) if target else ""}
        needed |= {read_link(self.path(PREVIOUS)) or "", self.served}
        return [name for name in os.listdir(self.spec.store) if name not in needed]

    def sweep(self) -> None:
        """Remove what nobody needs."""
        for name in self.clutter():
            path = self.path(name)
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            else:
                os.unlink(path)
