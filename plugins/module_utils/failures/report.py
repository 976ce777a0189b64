# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person reads first when a release fails: the cause, the app's own part of a traceback, the fix.

The journal has everything, but two workers' identical tracebacks, thirty frames of importlib and the server, and the
cause in the middle. The first line of a report is the app and the cause; the last one says where to read the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from ansible_collections.webops.wsgi.plugins.module_utils.failures import faults
from ansible_collections.webops.wsgi.plugins.module_utils.failures import journal as failure_journal
from ansible_collections.webops.wsgi.plugins.module_utils.failures.journal import Contents, Frame, Traceback
from ansible_collections.webops.wsgi.plugins.module_utils.failures.remedies import remedy
from ansible_collections.webops.wsgi.plugins.module_utils.failures.server_log import ServerLog
from ansible_collections.webops.wsgi.plugins.module_utils.managers.model import Log

FRAMES = 8  # of the app's own, the innermost ones
LINES = 10  # of what a program wrote, when it left no traceback

_JOB = re.compile(r"Job for (\S+) failed because the control process exited with error code\.?")
_ENDED = re.compile(r"(?:exited with an error|exited unexpectedly|ended with exit code \d+)$")


@dataclass(frozen=True)
class Failure:
    """What is known of a release that failed.

    Attributes:
        app: The app.
        state: What became of the release, and what serves now.
        reason: Why it was given up, as the one who did so sees it.
        told: What tells more.
        host: Where that is; empty leaves it out.
        log: How the app's server writes to it.
    """

    app: str
    state: str
    reason: str
    told: Log
    host: str = ""
    log: ServerLog = field(default_factory=ServerLog)


@dataclass(frozen=True)
class _Cause:
    text: str
    details: list[str]
    fix: str


def report(failure: Failure) -> str:
    """The message of a failure; its first line is the app and the cause."""
    reason = _reason(failure.reason)
    cause = _cause(failure, reason)
    lines = [f'app "{failure.app}": {cause.text}', *(f"  {line}" for line in cause.details)]
    if cause.fix:
        lines.append(f"Fix: {cause.fix.replace('<app>', failure.app)}.")
    lines.append(failure.state if cause.text.startswith(reason) else f"{failure.state}: {reason}")
    where = f" on {failure.host}" if failure.host else ""
    lines.append(f"Read the rest{where}: {failure.told.command}")
    return "\n".join(lines)


def cause(failure: Failure) -> list[str]:
    """The best explanation that a journal has: its first line is the cause, the last one the fix where one is known."""
    found = _cause(failure, _reason(failure.reason))
    fix = [f"Fix: {found.fix.replace('<app>', failure.app)}"] if found.fix else []
    return [line for line in [found.text, *found.details, *fix] if line]


def _reason(text: str) -> str:
    """A reason without what systemd says around it: that a job failed, and that the journal tells more."""
    lines = [line for line in text.splitlines() if not line.startswith('See "systemctl status')]
    return _JOB.sub(r"\1 exited with an error", "\n".join(lines))


def _cause(failure: Failure, reason: str) -> _Cause:
    """The best explanation that the journal has: a signal, a time limit, an exception, or the program's last words."""
    text, log = failure.told.text, failure.log
    contents = failure_journal.read(text, log)
    # Another's log, such as nginx's, does not tell what ended the app.
    if failure.told.own:
        for missing in faults.missing_places(text):
            return _Cause(missing.text, [], missing.fix)
        for death in faults.deaths(text, log):
            return _Cause(str(death), [], death.fix)
        for late in faults.late_workers(text, log):
            at = [found for found in contents.tracebacks if found.error.startswith("SystemExit")][-1:]
            return _Cause(str(late), [line for found in at for line in _place(failure, found)], late.fix)
    told = [found for found in contents.tracebacks if not _ends(found, log)]
    if told:
        last = told[-1]
        return _Cause(last.error, [*last.more, *_place(failure, last)], remedy(last.words, last.code))
    words = _last_words(contents)
    fix = remedy("\n".join([reason, *words]))
    # That a program has ended says little; what it said last, more.
    ended = _ENDED.search(reason) or any(log.match(log.worker_exited, line) for line in contents.server)
    return _Cause(f"{reason}: {words.pop()}" if words and ended else reason, words, fix)


def _ends(traceback: Traceback, log: ServerLog) -> bool:
    """Whether it is by this exception that a program, or its server, ends."""
    # KeyboardInterrupt is what a program raises that is told to end while it imports the app.
    return traceback.error.startswith(("SystemExit", "KeyboardInterrupt")) or bool(
        log.match(log.ending, traceback.error)
    )


def _place(failure: Failure, traceback: Traceback) -> Iterator[str]:
    """The app's own frames, and those of the exception that led to this one."""
    yield from map(str, _own(failure, traceback.frames))
    if traceback.cause:
        yield f"caused by {traceback.cause.error}"
        yield from map(str, _own(failure, traceback.cause.frames))


def _own(failure: Failure, frames: list[Frame]) -> list[Frame]:
    """The frames that a person can do something about; of an app that is a package, the last ones."""
    own = [frame for frame in frames if frame.of(failure.app)]
    kept = own or [frame for frame in frames if not frame.foreign(failure.log)][-3:]
    return list(dict.fromkeys(kept))[-FRAMES:]


def _last_words(contents: Contents) -> list[str]:
    """What the program wrote last or, when it wrote nothing, the server's errors; each line once."""
    return list(dict.fromkeys(reversed(contents.own or contents.server)))[:LINES][::-1]
