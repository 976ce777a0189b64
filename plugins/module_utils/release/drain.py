# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting until nobody is connected to an old instance any more.

What servers do to requests in progress when they are told to end differs; one without connections has none to lose.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

SOCKETS = Path("/proc/net/unix")
ACCEPTS = 0x10000  # flag of a socket that takes connections, __SO_ACCEPTCON of the kernel
INTERVAL = 0.05  # seconds between two looks
QUIET = 3  # looks in a row without a connection, for one that is being made
BLIND = 1.0  # seconds to wait for an instance whose sockets cannot be seen, since it has a network of its own


def drain(folders: Iterable[Path], limit: float, sockets: Path = SOCKETS) -> None:
    """Wait until the sockets below some directories have had no connection for a moment, or the limit has passed."""
    below = tuple(f"{folder}/" for folder in folders)
    began = time.monotonic()
    quiet = 0
    while quiet < QUIET and time.monotonic() - began < limit:
        listeners, connections = look(below, sockets)
        if not listeners:
            time.sleep(min(limit, BLIND))
            return
        quiet = 0 if connections else quiet + 1
        time.sleep(min(INTERVAL, limit))


def look(below: tuple[str, ...], sockets: Path = SOCKETS) -> tuple[int, int]:
    """How many sockets below the directories take connections, and how many connections they have.

    One that waits to be accepted is a connection as well: both have the path that the server's socket is bound to.
    """
    listeners = connections = 0
    for line in sockets.read_text(errors="replace").splitlines()[1:]:
        fields = line.split(maxsplit=7)
        if len(fields) < 8 or not fields[7].startswith(below):
            continue
        if int(fields[3], 16) & ACCEPTS:
            listeners += 1
        else:
            connections += 1
    return listeners, connections
