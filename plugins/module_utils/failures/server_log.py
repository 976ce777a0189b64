# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a server writes to the journal of an app, so that its own lines are told from the app's."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class ServerLog:
    """Patterns (regular expressions) of one server's lines; an empty one fits nothing.

    Attributes:
        package: The package whose frames in a traceback are the server's own, never at fault.
        line: A line of the server's, with its C(level) and C(text).
        routine: The beginning of a C(text) that says no more than a traceback beside it, or than that a worker ended.
        ending: The beginning of the names of exceptions by which the server ends itself.
        worker_ended: A worker was ended by a signal: C(signal), and C(pid) if it is told.
        worker_late: The server ended a worker that took too long: C(pid).
        late_fix: What to do about that.
        worker_exited: The beginning of a C(text) that says that a worker has ended by itself, and another is started.
    """

    package: str = ""
    line: str = ""
    routine: str = ""
    ending: str = ""
    worker_ended: str = ""
    worker_late: str = ""
    late_fix: str = ""
    worker_exited: str = ""

    def match(self, pattern: str, text: str) -> re.Match[str] | None:
        """What a pattern finds at the beginning of a text."""
        return re.match(pattern, text) if pattern else None

    def search(self, pattern: str, text: str) -> re.Match[str] | None:
        """What a pattern finds anywhere in a text."""
        return re.search(pattern, text) if pattern else None

    def owns(self, path: str) -> bool:
        """Whether a file of code is the server's."""
        return bool(self.package) and f"/site-packages/{self.package}/" in path
