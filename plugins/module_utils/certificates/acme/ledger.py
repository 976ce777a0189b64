# Copyright (c) webops.wsgi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What was asked of certificate authorities, so that no run asks more often than they allow.

Let's Encrypt refuses an account after 5 failed authorisations of a name within an hour, and after 5 certificates for
the same set of names within 7 days (https://letsencrypt.org/docs/rate-limits/). A set-up that stays broken, or one
that is built anew on every run, would reach that and then be locked out when it is fixed.
"""

from __future__ import annotations

import datetime
import json
import re
import threading
import typing as t
from dataclasses import asdict, dataclass

from ansible_collections.webops.wsgi.plugins.module_utils.certificates.store import read_text
from ansible_collections.webops.wsgi.plugins.module_utils.host.files import write_file

FAILURES_WITHIN = datetime.timedelta(hours=1)
CERTIFICATES_WITHIN = datetime.timedelta(days=7)
_WRITING = threading.Lock()  # certificates may be asked for side by side
REFUSES_FOR_NOW = re.compile(
    r"rateLimited|too many (?:requests|failed|certificates|new)|<Response \[429\]>|the CA answered 429", re.I
)
"""What an authority says that has been asked too often."""
_RETRY = re.compile(r"retry after (\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d) ?(?:UTC|Z)", re.I)


@dataclass(frozen=True)
class Attempt:
    """One order, as it stands in the ledger; `failed` names the domains that failed, `cause` says why."""

    at: float
    directory: str
    domains: tuple[str, ...]
    failed: tuple[str, ...] = ()
    cause: str = ""


@dataclass(frozen=True)
class Limits:
    """How often a host may ask: failures of a domain in an hour, certificates of the same names in 7 days; 0: any."""

    failures: int = 3
    certificates: int = 4


@dataclass(frozen=True)
class Ledger:
    """The file that attempts are noted in, and the limits that follow from it."""

    path: str
    limits: Limits = Limits()

    def attempts(self) -> list[Attempt]:
        """Return the attempts noted, oldest first; lines that cannot be read are passed over."""
        found = []
        for line in read_text(self.path).splitlines():
            try:
                given = json.loads(line)
                names = {key: tuple(given[key]) for key in ("domains", "failed")}
                found.append(Attempt(float(given["at"]), str(given["directory"]), **names, cause=str(given["cause"])))
            except (ValueError, KeyError, TypeError):
                continue
        return found

    def note(self, attempt: Attempt) -> None:
        """Note an attempt, and drop what no limit looks at any more."""
        with _WRITING:
            age = CERTIFICATES_WITHIN.total_seconds()
            kept = [each for each in self.attempts() if attempt.at - age < each.at <= attempt.at]
            lines = (json.dumps(asdict(each)) for each in [*kept, attempt])
            write_file(self.path, "".join(f"{line}\n" for line in lines), 0o600)

    def closed(self, directory: str, domains: t.Collection[str], now: datetime.datetime) -> str:
        """Return why the authority must not be asked for these domains yet, or nothing."""
        attempts = self._asked(directory, now)
        return (
            _told_to_wait(attempts, set(domains), now)
            or self._failures(attempts, domains, now)
            or self._certificates(attempts, set(domains), now)
        )

    def tells_of_a_domain(self, directory: str, domains: t.Collection[str], now: datetime.datetime) -> bool:
        """Return whether it is a domain that closes the authority: one that would fail at another one too."""
        attempts = self._asked(directory, now)
        closed = self._failures(attempts, domains, now)
        return bool(closed) and not REFUSES_FOR_NOW.search(closed) and not _told_to_wait(attempts, set(domains), now)

    def _asked(self, directory: str, now: datetime.datetime) -> list[Attempt]:
        """Return the attempts at one authority; what lies in the future was noted while the clock was wrong."""
        return [each for each in self.attempts() if each.directory == directory and each.at <= now.timestamp()]

    def _failures(self, attempts: t.Sequence[Attempt], domains: t.Collection[str], now: datetime.datetime) -> str:
        since = (now - FAILURES_WITHIN).timestamp()
        for domain in domains:
            failed = [each for each in attempts if each.at > since and domain in each.failed]
            if 0 < self.limits.failures <= len(failed):
                ends = _moment(failed[-self.limits.failures].at) + FAILURES_WITHIN
                return (
                    f"{domain} has failed {len(failed)} times within an hour, and the authority locks out who goes on; "
                    f"it is asked again from {_clock(ends)} (certbot_max_failures). Last cause: {failed[-1].cause}"
                )
        return ""

    def _certificates(self, attempts: t.Sequence[Attempt], domains: set[str], now: datetime.datetime) -> str:
        since = (now - CERTIFICATES_WITHIN).timestamp()
        got = [each for each in attempts if each.at > since and set(each.domains) == domains and not each.failed]
        if not 0 < self.limits.certificates <= len(got):
            return ""
        ends = _moment(got[-self.limits.certificates].at) + CERTIFICATES_WITHIN
        return (
            f"{len(got)} certificates for exactly these names were issued within 7 days, and the authority counts; "
            f"it is asked again from {_clock(ends)} (certbot_max_certificates)"
        )


def _told_to_wait(attempts: t.Iterable[Attempt], domains: set[str], now: datetime.datetime) -> str:
    """Return that the authority itself has named a time before which it will not answer."""
    for attempt in attempts:
        found = _RETRY.search(attempt.cause)
        if found and domains & set(attempt.failed):
            ends = datetime.datetime.fromisoformat(found[1].replace(" ", "T")).replace(tzinfo=datetime.UTC)
            if now < ends:
                return f"the authority has said not to ask again before {_clock(ends)}: {attempt.cause}"
    return ""


def _moment(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def _clock(moment: datetime.datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
