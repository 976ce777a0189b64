# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the log of an app holds: tracebacks of Python, the server's own lines, its process manager's, and the app's."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ansible_collections.webops.wsgi.plugins.module_utils.failures.server_log import ServerLog

MESSAGE_LINES = 5  # of an exception's message after its first line

_HEADER = re.compile(r"(?:Exception Group )?Traceback \(most recent call last\):$")
_FRAME = re.compile(r'  File "(?P<path>[^"]*)", line (?P<line>\d+)(?:, in (?P<function>.*))?$')
_CHAINED = re.compile(r"(?:The above exception was the direct cause|During handling of the above exception)\b.*:$")
_MARKERS = re.compile(r"[\s~^]*$")
_GROUP = re.compile(r"\s+\| ?")
_GROUP_RULE = re.compile(r"\s+\+[-+]+")
_MANAGER = re.compile(
    r"(?:(?:Starting|Started|Stopping|Stopped|Finished|Reloading|Reloaded|Failed to start|Dependency failed for) "
    r"\S+\.(?:service|socket|timer|target) - "
    r"|\S+\.(?:service|socket|timer): "
    r"|Failed to attach \d+ to compat systemd cgroup "
    r"|supervisord: )"
)
_PID = re.compile(r" \(pid:\d+\)")


@dataclass(frozen=True)
class Frame:
    """One line of a traceback, with the code on it."""

    path: str
    line: str
    function: str
    code: str = ""

    def of(self, app: str) -> bool:
        """Whether it is the app's own code and no package's."""
        return self.path.startswith(f"/srv/{app}/") and "/site-packages/" not in self.path and not self.configures()

    def configures(self) -> bool:
        """Whether it is of the files that a release has for its server, around every app."""
        return bool(re.match(r"/srv/[^/]+/releases/[^/]+/etc/", self.path))

    def foreign(self, log: ServerLog) -> bool:
        """Whether it belongs to Python or the server, which are never at fault."""
        return self.path.startswith(("<", "/usr/lib/")) or self.configures() or log.owns(self.path)

    def __str__(self) -> str:
        place = f"{re.split(r'/(?:site-packages|app/src|builds/[^/]*/src)/', self.path)[-1]}:{self.line}"
        return f"{place}{f' in {self.function}' if self.function else ''}{f': {self.code}' if self.code else ''}"


@dataclass
class Traceback:
    """An exception and where it came from.

    Attributes:
        frames: From the outermost to the innermost.
        error: Its type and the first line of its message.
        more: The rest of its message.
        cause: The exception it was raised from, or while handling.
    """

    frames: list[Frame] = field(default_factory=list)
    error: str = ""
    more: list[str] = field(default_factory=list)
    cause: Traceback | None = None

    @property
    def message(self) -> str:
        """The first line of its message, without its type."""
        return self.error.partition(": ")[2] or self.error

    @property
    def words(self) -> str:
        """Its type and its whole message."""
        return "\n".join([self.error, *self.more])

    @property
    def code(self) -> list[str]:
        """The lines of code that it went through."""
        return [frame.code for frame in self.frames]


@dataclass(frozen=True)
class Contents:
    """A journal, taken apart.

    Attributes:
        tracebacks: Every exception with a traceback, in its order; one that led to another is that one's cause.
        own: The other lines that the program itself wrote.
        server: The server's errors.
    """

    tracebacks: list[Traceback]
    own: list[str]
    server: list[str]


def read(journal: str, log: ServerLog) -> Contents:
    """Take the text of a journal apart, without the process manager's lines and the server's routine."""
    lines = _flat(journal.splitlines())
    contents = Contents([], [], [])
    chained = False
    while lines:
        line = lines.pop(0)
        if _CHAINED.match(line.strip()):
            chained = bool(contents.tracebacks)
        elif _HEADER.search(line):
            traceback = _traceback(lines, log)
            if not traceback.error:  # who wrote it was killed meanwhile, or the journal ends here
                continue
            if chained:
                traceback.cause = contents.tracebacks.pop()
            contents.tracebacks.append(traceback)
            chained = False
        else:
            _sort(line, contents, log)
    return contents


def _sort(line: str, contents: Contents, log: ServerLog) -> None:
    """Add a line outside of tracebacks to whose it is."""
    told = log.match(log.line, line)
    if not told:
        repeated = any(line.startswith(traceback.message) for traceback in contents.tracebacks[-1:])
        if line.strip() and not _MANAGER.match(line) and not repeated:
            contents.own.append(line.rstrip())
    elif told["level"] in ("ERROR", "CRITICAL") and not log.match(log.routine, told["text"]):
        contents.server.append(_PID.sub("", told["text"]))


def _flat(lines: list[str]) -> list[str]:
    """Lines without the frame that Python draws around a group of exceptions."""
    flat, grouped = [], False
    for line in lines:
        if line.lstrip().startswith("+ Exception Group Traceback"):
            grouped = True
        if grouped and _GROUP_RULE.match(line):
            continue
        inside = grouped and _GROUP.match(line)
        grouped = bool(inside) or line.lstrip().startswith("+ Exception Group Traceback")
        flat.append(_GROUP.sub("", line, count=1) if inside else line)
    return flat


def _traceback(lines: list[str], log: ServerLog) -> Traceback:
    """Take one traceback, whose header has been read, off the lines."""
    traceback = Traceback()
    while lines and (lines[0].startswith("  ") or not lines[0].strip()):
        line = lines.pop(0)
        if found := _FRAME.match(line):
            traceback.frames.append(Frame(found["path"], found["line"], found["function"] or ""))
        elif traceback.frames and not traceback.frames[-1].code and not _MARKERS.match(line):
            last = traceback.frames[-1]
            traceback.frames[-1] = Frame(last.path, last.line, last.function, line.strip())
    if lines and not _HEADER.search(lines[0]) and not _MANAGER.match(lines[0]):
        traceback.error = lines.pop(0).strip()
        traceback.more = _rest_of_message(traceback.message, lines, log)
    return traceback


def _rest_of_message(first: str, lines: list[str], log: ServerLog) -> list[str]:
    """Take the further lines of an exception's message off the lines."""
    taken: list[str] = []
    while lines and len(taken) < MESSAGE_LINES and not _ends_message(first, lines[0], log):
        taken.append(lines.pop(0).strip())
    return taken


def _ends_message(first: str, line: str, log: ServerLog) -> bool:
    """Whether a line is no part of a message any more; a server may repeat the message without its type."""
    return bool(
        not line.strip()
        or line.startswith("[")
        or log.match(log.line, line)
        or line.startswith(first)
        or _CHAINED.match(line.strip())
        or _HEADER.search(line)
        or _MANAGER.match(line)
    )
