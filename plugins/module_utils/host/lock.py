# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run at a time for each app."""

from __future__ import annotations

import fcntl
import getpass
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class LockedError(Exception):
    """Another run works on the app; the message says whose, and since when."""


def now() -> str:
    """The time, as the lock and the history have it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def caller() -> str:
    """The person and machine that a run was started by, as the controller knows them."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


@contextmanager
def lock(folder: Path, who: str = "unknown", mode: int = 0o711, what: str = "") -> Iterator[None]:
    """Hold an app's lock; the kernel lets go of it when the holder ends, however it ends.

    Args:
        folder: The app's directory; its name is the app's.
        who: The person and machine that hold it.
        mode: The directory's permissions.
        what: What else than an app is locked.

    Raises:
        LockedError: Another run holds it.
    """
    folder.mkdir(mode=mode, exist_ok=True)
    folder.chmod(mode)
    with open(folder / ".lock", "a+") as holder:
        try:
            fcntl.flock(holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder.seek(0)
            by = holder.read().strip() or "another run"
            what = what or f'app "{folder.name}"'
            raise LockedError(f"{what} is being deployed by {by}; wait for that run to end") from None
        with suppress(OSError):  # on a full disk the lock holds, though it cannot say for whom
            os.truncate(holder.fileno(), 0)
            os.write(holder.fileno(), f"{who} since {now()}".encode())
        yield
