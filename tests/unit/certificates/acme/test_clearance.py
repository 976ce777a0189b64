# SPDX-License-Identifier: GPL-3.0-or-later
"""Which domains are asked for, and how often."""

from __future__ import annotations

import datetime
import pathlib
import re
import shutil
import typing as t
from dataclasses import replace

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.certificates import issue as issue
from ansible_collections.webops.wsgi.plugins.module_utils.certificates import store as store
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme import clearance as clearance
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme import preflight as preflight
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme.ledger import Ledger
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.model import Acme, App
from certificate_stand_ins import DIRECTORY, NO_CA, NOW, Programs, app, days, start


class TestClearance:
    """A domain that the authority could not reach is not asked for; what was asked too often is not asked again."""

    @pytest.fixture(autouse=True)
    def seen(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
        """Return what the preflight sees: nothing wrong, unless a test adds it."""
        seen: dict[str, str] = {}
        monkeypatch.setattr(
            preflight, "look", lambda domains, *_: {domain: seen[domain] for domain in domains if domain in seen}
        )
        return seen

    def apps(self, holds_back: str) -> list[App]:
        acme = Acme(DIRECTORY, holds_back=holds_back)
        return [app("api", "api.example.test", "www.example.test", acme=acme), app("web", acme=Acme(DIRECTORY))]

    def run(self, host: store.Host, apps: t.Sequence[App], now: datetime.datetime = NOW) -> store.Outcome:
        return issue.ensure_issued(host, apps, now)

    @pytest.mark.parametrize(
        ("holds_back", "issued", "kinds"),
        [
            ("app", ["web"], ["placeholder", "letsencrypt"]),
            ("domain", ["api", "web"], ["letsencrypt", "letsencrypt"]),
            ("host", [], ["placeholder", "placeholder"]),
        ],
    )
    def test_what_a_failing_domain_holds_back(
        self,
        host: store.Host,
        programs: Programs,
        seen: dict[str, str],
        holds_back: str,
        issued: list[str],
        kinds: t.Any,
    ) -> None:
        apps = self.apps(holds_back)
        start(host, programs, *apps)
        seen["www.example.test"] = "no DNS: NXDOMAIN"
        outcome = self.run(host, apps)
        assert outcome.issued == issued
        assert [row["kind"] for row in store.table(host, apps).values()] == kinds
        assert len(programs.asked("certonly")) == len(issued)
        assert "www.example.test: no DNS: NXDOMAIN" in outcome.errors[0]
        again = self.run(host, apps)
        assert not again.issued
        assert len(again.errors) == len(outcome.errors)
        assert not again.changed
        del seen["www.example.test"]
        fixed = self.run(host, apps)
        assert not fixed.errors
        assert store.table(host, apps)["api"]["domains"] == ["api.example.test", "www.example.test"]
        assert not self.run(host, apps).changed

    def test_app_without_preflight_is_asked_for(
        self, host: store.Host, programs: Programs, seen: dict[str, str]
    ) -> None:
        start(host, programs, app())
        seen["api.example.test"] = "404"
        assert self.run(host, [app()]).issued == ["api"]

    @pytest.mark.parametrize("word", ["Domain", "Identifier"])
    @pytest.mark.parametrize("domain", ["api.example.test", "*.api.example.test"])
    def test_broken_set_up_is_asked_for_three_times_an_hour(
        self, host: store.Host, programs: Programs, word: str, domain: str
    ) -> None:
        wanted = app("api", domain, acme=Acme(DIRECTORY, preflight=False))
        start(host, programs, wanted)
        programs.certbot_problems = {"api": f"{word}: api.example.test\nType: connection\nDetail: firewall\n"}
        for minutes in range(0, 50, 5):
            errors = self.run(host, [wanted], NOW + datetime.timedelta(minutes=minutes)).errors
            assert "firewall (connection)" in errors[0]
        assert len(programs.asked("certonly")) == 3
        assert f"asked again from {NOW + datetime.timedelta(hours=1):%Y-%m-%d %H:%M} UTC" in errors[0]
        self.run(host, [wanted], NOW + datetime.timedelta(minutes=61))
        assert len(programs.asked("certonly")) == 4
        self.run(replace(host, max_failures=0), [wanted], NOW + datetime.timedelta(minutes=62))
        assert len(programs.asked("certonly")) == 5

    def test_authority_that_was_not_reached_counts_nothing(self, host: store.Host, programs: Programs) -> None:
        wanted = app(acme=Acme(DIRECTORY))
        start(host, programs, wanted)
        for said in (NO_CA, "You must agree to the terms of service"):
            programs.certbot_problems = {"api": said}
            for _number in range(5):
                self.run(host, [wanted])
        assert len(programs.asked("certonly")) == 10

    def test_lock_out_is_waited_for(self, host: store.Host, programs: Programs) -> None:
        wanted = app(acme=Acme(DIRECTORY))
        start(host, programs, wanted)
        ends = (NOW + days(2)).strftime("%Y-%m-%d %H:%M:%S")
        programs.certbot_problems = {
            "api": "An unexpected error occurred:\ntoo many certificates (5) already issued for this exact set of "
            f"identifiers in the last 168h0m0s, retry after {ends} UTC: see https://letsencrypt.org/docs/rate-limits/\n"
        }
        assert "too many certificates" in self.run(host, [wanted]).errors[0]
        programs.certbot_problems.clear()
        assert "not to ask again before" in self.run(host, [wanted], NOW + days(1)).errors[0]
        assert len(programs.asked("certonly")) == 1
        assert self.run(host, [wanted], NOW + days(2.1)).issued == ["api"]

    def test_same_names_again_and_again(self, host: store.Host, programs: Programs) -> None:
        wanted = app(acme=Acme(DIRECTORY))
        start(host, programs, wanted)
        for _number in range(6):
            outcome = self.run(host, [wanted])
            shutil.rmtree(programs.letsencrypt, ignore_errors=True)
        assert len(programs.asked("certonly")) == 4
        assert "4 certificates for exactly these names were issued within 7 days" in outcome.errors[0]

    def test_clock_that_was_ahead(self, host: store.Host, programs: Programs) -> None:
        wanted = app(acme=Acme(DIRECTORY))
        start(host, programs, wanted)
        programs.certbot_problems = {"api": "Domain: api.example.test\nType: connection\nDetail: firewall\n"}
        for _number in range(4):
            errors = self.run(host, [wanted], NOW + days(400)).errors
        assert "asked again from" in errors[0]
        programs.certbot_problems.clear()
        assert self.run(host, [wanted]).issued == ["api"]
        assert [each.at for each in Ledger(host.ledger).attempts()] == [NOW.timestamp()]

    def test_full_disk(self, host: store.Host, programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
        apps = [app("api"), app("web")]
        start(host, programs, *apps)
        monkeypatch.setattr(clearance, "ROOM", 1 << 62)
        errors = self.run(host, apps).errors
        assert re.search(r"by \S+: the disk of \S+ is full \(\d+ KiB are free\); make room; it keeps", errors[0])
        assert not programs.asked("certonly")
        monkeypatch.undo()
        assert self.run(host, apps).issued == ["api", "web"]

    def test_ledger_with_a_damaged_line(self, host: store.Host, programs: Programs) -> None:
        wanted = app(acme=Acme(DIRECTORY))
        start(host, programs, wanted)
        path = pathlib.Path(host.ledger)
        path.parent.mkdir()
        path.write_text('{"at": 1}\nnot JSON\n')
        assert self.run(host, [wanted]).issued == ["api"]
        assert len(path.read_text().splitlines()) == 1
