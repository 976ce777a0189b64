# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Log files of any size, a block of whole lines at a time.

A plain file is read from its end, so that whoever runs out of time has the latest. A compressed one cannot be.
"""

from __future__ import annotations

import gzip
import os
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

BLOCK = 1 << 20  # bytes; a longer line is no line of nginx's


class NotALogError(OSError):
    """The path leads to something else than a file."""


def latest_first(path: Path, size: int = BLOCK) -> Iterator[bytes]:
    """The lines of a plain file in blocks, the last block first."""
    with _opened(path) as stream:
        position, rest = os.fstat(stream.fileno()).st_size, b""
        while position:
            length = min(size, position)
            position -= length
            stream.seek(position)
            block = stream.read(length) + rest
            cut = (block.find(b"\n") + 1 or len(block)) if position else 0
            rest, lines = block[:cut] if cut <= 2 * size else b"", block[cut:]
            if lines:
                yield lines


def unpacked(path: Path, size: int = BLOCK) -> Iterator[bytes]:
    """The lines of a file that gzip compressed in blocks, the first block first; as many as can be read."""
    rest = b""
    with _opened(path) as stream, gzip.GzipFile(fileobj=stream) as unpacking:
        while True:
            try:
                read = unpacking.read(size)
            except (OSError, EOFError, zlib.error):
                break
            if not read:
                break
            block = rest + read
            cut = block.rfind(b"\n") + 1
            rest = block[cut:] if len(block) - cut < size else b""
            if cut:
                yield block[:cut]
    if rest:
        yield rest


def _opened(path: Path) -> IO[bytes]:
    """A file to read. The directory is nginx' own, so whoever has taken nginx over may have put anything there."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise NotALogError(f"{path} is not a file")
    return os.fdopen(handle, "rb")
