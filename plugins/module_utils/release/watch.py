# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watching what clients get, in the proxy's access log."""

from __future__ import annotations

import re
from pathlib import Path

# The status in nginx's combined format, or in a line of JSON.
STATUS = re.compile(rb'" (\d{3}) |"(?:http\.response\.)?status(?:_code)?": ?"?(\d{3})\b')
# Refused because a person closed the app, which says nothing of a release.
CLOSED = re.compile(rb'"nginx\.maintenance":"on"\}$| maintenance=on$')
FEW = 3  # server errors that may happen to anybody


class AccessLog:
    """Statuses that an access log has got since this was made."""

    def __init__(self, path: Path, sample: float = 1.0) -> None:
        """Remember where the log ends now.

        Args:
            path: The log.
            sample: Share of the answers below 400 that are in it; of the others all are.
        """
        self._path = path
        self._place = self._identity()
        self._good_weight = 1 / sample
        self.answers = 0.0
        self.errors = 0

    def excess(self, percent: float) -> str:
        """What is wrong when more than C(percent) of all answers so far were server errors; empty when not."""
        self._read()
        if self.errors <= FEW or self.errors * 100 <= percent * self.answers:
            return ""
        return f"{self.errors} of {self.answers:.0f} answers had a status of 500 or more (limit {percent:g} %)"

    def _read(self) -> None:
        inode, offset = self._place
        now = self._identity()
        if now[0] != inode or now[1] < offset:  # rotated
            offset = 0
        try:
            with self._path.open("rb") as stream:
                stream.seek(offset)
                text = stream.read()
        except OSError:
            return
        whole = text[: text.rfind(b"\n") + 1]
        self._place = (now[0], offset + len(whole))
        for line in whole.splitlines():
            found = STATUS.search(line)
            if found and not CLOSED.search(line):
                status = int(found.group(1) or found.group(2))
                self.answers += self._good_weight if status < 400 else 1
                self.errors += status >= 500

    def _identity(self) -> tuple[int, int]:
        try:
            found = self._path.stat()
        except OSError:
            return (0, 0)
        return (found.st_ino, found.st_size)
