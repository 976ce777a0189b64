# Copyright (c) webops.wsgi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which authority is asked for a certificate: the first that may be, and the next one when it refuses."""

from __future__ import annotations

import datetime
import shutil
import typing as t
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme import profiles
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme.clearance import no_room
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme.command import register
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme.ledger import (
    REFUSES_FOR_NOW,
    Attempt,
    Ledger,
    Limits,
)
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme.order import (
    have_webroot,
    issue,
    issue_aside,
    sweep,
)
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme.output import (
    HAS_ACCOUNT,
    cause,
    failed_domains,
    hinted,
    refuses,
    unreachable,
)
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.model import App, CertificateError
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.store import Completed, Host

SIDE_BY_SIDE = 4
"""How many new certificates are asked for at the same time; certbot sleeps for most of the time that one takes."""


class Answer(t.NamedTuple):
    """What came of asking one authority: what went wrong, or nothing, and whether another one may do better."""

    problem: str
    refused: bool = False


@dataclass
class Issuer:
    """Issues certificates and remembers which CA cannot be reached.

    `served_by` has the directory of the authority that has issued each app's certificate, `warnings` what the others
    have said.
    """

    host: Host
    now: datetime.datetime
    down: dict[str, str] = field(default_factory=dict)
    asked: dict[str, Answer] = field(default_factory=dict)
    served_by: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def ledger(self) -> Ledger:
        """What this host has asked for."""
        return Ledger(self.host.ledger, Limits(self.host.max_failures, self.host.max_certificates))

    def ask_for_new(self, apps: t.Sequence[App]) -> None:
        """Ask the first authority of apps that have no certificate for all at the same time; `problem` goes on."""
        sweep(self.host)
        apps = [first for first in (app.choices()[0] for app in apps) if not self._closed(first).problem]
        if len(apps) < 2 or not shutil.which(self.host.certbot[0]):
            return
        have_webroot(self.host)
        for app in {app.acme.directory: app for app in reversed(apps)}.values():
            registered = register(self.host, app)
            if registered.rc != 0 and HAS_ACCOUNT not in registered.output:
                self._note(app, registered)
                self.down[app.acme.directory] = hinted(registered.output)
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            answers = pool.map(lambda app: self._ask(app, issue_aside), apps)
            self.asked = {app.name: answer for app, answer in zip(apps, answers, strict=True)}

    def problem(self, app: App) -> str:
        """Issue the app's certificate, unless that has been tried, and return what went wrong, or nothing.

        An authority that refuses or cannot be reached is followed by the next; a domain that fails is the end.
        """
        if app.name not in self.asked and not shutil.which(self.host.certbot[0]):
            return f"{self.host.certbot[0]} is not installed"
        said: list[str] = []
        for choice in app.choices():
            answer = self.asked.pop(app.name, None) or self._ask(choice, issue)
            if not answer.problem:
                self.served_by[app.name] = choice.acme.directory
                if said:
                    served = f"its certificate is by {choice.acme.directory}, not by {app.acme.directory}"
                    self.warnings.append(f'app "{app.name}": {served}: {"; ".join(said)}')
                return ""
            said.append(f"by {choice.acme.directory}: {answer.problem}" if said else answer.problem)
            if not answer.refused:
                break
        return "; ".join(said)

    def _closed(self, app: App) -> Answer:
        """Return why the app's CA is not to be asked now, or nothing."""
        directory = app.acme.directory
        if directory in self.down:
            return Answer(self.down[directory], refused=True)
        full = no_room(self.host)
        if full:
            return Answer(full)
        closed = self.ledger.closed(directory, app.domains, self.now)
        return Answer(closed, not self.ledger.tells_of_a_domain(directory, app.domains, self.now))

    def _ask(self, app: App, how: t.Callable[[Host, App, datetime.datetime], Completed]) -> Answer:
        closed = self._closed(app)
        if closed.problem:
            return closed
        bundle = app.acme.ca_bundle
        host = self.host if bundle is None else replace(self.host, ca_bundle=bundle)
        unknown = profiles.problem(app.acme.profile, app.acme.directory, host.ca_bundle)
        if unknown:
            return Answer(unknown, refused=True)
        try:
            completed = how(host, app, self.now)
        except CertificateError as error:
            return Answer(str(error))
        self._note(app, completed)
        if completed.rc == 0:
            return Answer("")
        if completed.rc < 0:
            return Answer(f"certbot was ended by signal {-completed.rc}")
        if unreachable(completed.output):
            self.down[app.acme.directory] = cause(completed.output)
        return Answer(hinted(completed.output), refuses(completed.output))

    def _note(self, app: App, completed: Completed) -> None:
        """Note what the CA has counted: a certificate, a failed authorisation, or that it refuses for now."""
        failed = failed_domains(completed.output, app.domains)
        if completed.rc != 0 and not failed and REFUSES_FOR_NOW.search(completed.output):
            failed = app.domains
        if completed.rc == 0 or failed:
            why = "" if completed.rc == 0 else cause(completed.output)
            failed = () if completed.rc == 0 else failed
            attempt = Attempt(self.now.timestamp(), app.acme.directory, app.domains, failed, why)
            self.ledger.note(attempt)
