# SPDX-License-Identifier: GPL-3.0-or-later
"""Which authority is asked, several certificates at the same time, and the next authority when one refuses."""

from __future__ import annotations

import os
import pathlib
import threading
from dataclasses import replace

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.certificates import issue as issue
from ansible_collections.webops.wsgi.plugins.module_utils.certificates import model
from ansible_collections.webops.wsgi.plugins.module_utils.certificates import store as store
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme import authorities, lineage
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme.ledger import Attempt, Ledger
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.model import Acme, App
from certificate_stand_ins import DIRECTORY, NO_CA, NOW, Authority, Programs, app, issued, renewal, start


class TestSideBySide:
    def test_new_certificates_are_issued_at_the_same_time(
        self, host: store.Host, programs: Programs, tmp_path: pathlib.Path
    ) -> None:
        apps = [app(f"app{number}") for number in range(authorities.SIDE_BY_SIDE)]
        start(host, programs, *apps)
        programs.together = threading.Barrier(len(apps), timeout=10)  # broken unless all of them are asked for at once
        outcome = issued(host, *apps)
        assert not outcome.errors
        assert outcome.issued == [each.name for each in apps]
        assert [call[1] for call in programs.calls if call[0] == "/bin/sh"][:2] == ["certbot", "certbot"]
        assert len(programs.asked("register")) == 1
        programs.together = None
        for each in apps:
            alone = renewal(DIRECTORY, host.webroot, live=host.live(each.name)).splitlines()[1:]
            assert pathlib.Path(host.renewal(each.name)).read_text().splitlines()[1:] == alone
            assert pathlib.Path(host.live(each.name), "fullchain.pem").resolve().parent == pathlib.Path(
                host.letsencrypt, "archive", each.name
            )
            assert pathlib.Path(host.logs, f"{each.name}.log").read_text() == f"asked for {each.name}\n"
        assert sorted(os.listdir(host.letsencrypt)) == ["accounts", "archive", "live", "renewal"]
        assert not issued(host, *apps).changed

    def test_refusal_by_the_authority_holds_for_those_that_wait_their_turn(
        self, host: store.Host, programs: Programs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(authorities, "SIDE_BY_SIDE", 1)
        apps = [app("api"), app("web"), app("one")]
        programs.certbot_problems = {"api": NO_CA, "web": NO_CA, "one": NO_CA}
        start(host, programs, *apps)
        assert len(issued(host, *apps).errors) == 3
        assert len(programs.asked("certonly")) == 1

    def test_a_second_pair_of_new_apps_uses_the_account(self, host: store.Host, programs: Programs) -> None:
        apps = [app("api"), app("web"), app("one"), app("two")]
        start(host, programs, *apps)
        issued(host, *apps[:2])
        assert issued(host, *apps).issued == ["one", "two"]


class TestFallbacks:
    SECOND = "https://other.example.test/dir"
    LIMITED = "urn:ietf:params:acme:error:rateLimited :: There were too many requests :: too many new orders"
    BAD_DOMAIN = "  Domain: api.example.test\n  Type:   dns\n  Detail: no such name\n\n"

    def of_two(self, *names: str) -> list[App]:
        second = model.Authority(self.SECOND, ca_bundle="/etc/second.pem")
        return [app(name, acme=Acme(DIRECTORY, fallbacks=(second,), preflight=False)) for name in names]

    def run(self, host: store.Host, *apps: App) -> store.Outcome:
        return issue.ensure_issued(host, apps, NOW)

    BUSY = "An unexpected error occurred:\nacme.errors.ClientError: <Response [429]>\n"

    @pytest.mark.parametrize("said", [NO_CA, LIMITED, BUSY])
    def test_the_next_is_asked_and_its_certificate_stays(self, host: store.Host, programs: Programs, said: str) -> None:
        apps = self.of_two("api")
        start(host, programs, *apps)
        programs.refusals = {DIRECTORY: said}
        outcome = self.run(replace(host, ca_bundle="/etc/first.pem"), *apps)
        assert (outcome.issued, outcome.errors) == (["api"], [])
        assert lineage.read_lineage(host, "api").server == self.SECOND
        assert programs.environment == {"REQUESTS_CA_BUNDLE": "/etc/second.pem"}
        assert outcome.warnings[0].startswith(f'app "api": its certificate is by {self.SECOND}, not by {DIRECTORY}: ')
        assert f"issued by {self.SECOND}" in outcome.actions[0]
        programs.calls.clear()
        again = self.run(host, *apps)
        assert not again.changed
        assert programs.calls == []

    def test_each_authority_has_limits_of_its_own(self, host: store.Host, programs: Programs) -> None:
        apps = self.of_two("api")
        start(host, programs, *apps)
        programs.refusals = {DIRECTORY: self.LIMITED}
        self.run(host, *apps)
        noted = [(each.directory, bool(each.failed)) for each in Ledger(host.ledger).attempts()]
        assert noted == [(DIRECTORY, True), (self.SECOND, False)]

    def test_limits_without_a_reason_are_the_authority_s(self, host: store.Host, programs: Programs) -> None:
        start(host, programs, app())
        programs.refusals = {DIRECTORY: self.BUSY}
        self.run(host, app())
        programs.refusals.clear()
        assert self.run(replace(host, max_failures=1), *self.of_two("api")).issued == ["api"]
        assert lineage.read_lineage(host, "api").server == self.SECOND

    def test_limits_reached_at_the_first_are_a_refusal(self, host: store.Host, programs: Programs) -> None:
        apps = self.of_two("api")
        start(host, programs, *apps)
        Ledger(host.ledger).note(Attempt(NOW.timestamp(), DIRECTORY, ("api.example.test",)))
        assert self.run(replace(host, max_certificates=1), *apps).issued == ["api"]
        assert [call[call.index("--server") + 1] for call in programs.asked("certonly")] == [self.SECOND]

    def test_a_domain_that_fails_is_asked_for_nowhere_else(self, host: store.Host, programs: Programs) -> None:
        apps = self.of_two("api")
        start(host, programs, *apps)
        programs.certbot_problems = {"api": self.BAD_DOMAIN}
        for _run in range(2):
            (error,) = self.run(replace(host, max_failures=1), *apps).errors
            assert "no such name (dns)" in error
            assert self.SECOND not in error
        assert len(programs.asked("certonly")) == 1

    def test_when_all_refuse_each_is_named(self, host: store.Host, programs: Programs) -> None:
        apps = self.of_two("api")
        start(host, programs, *apps)
        programs.refusals = {DIRECTORY: NO_CA, self.SECOND: self.LIMITED}
        (error,) = self.run(host, *apps).errors
        assert f"by {DIRECTORY}: the CA at ca.example.test cannot be reached" in error
        assert f"by {self.SECOND}: too many new orders (rateLimited)" in error

    def test_many_new_ones(self, host: store.Host, programs: Programs) -> None:
        apps = self.of_two("api", "web", "one")
        start(host, programs, *apps)
        programs.refusals = {DIRECTORY: NO_CA}
        outcome = self.run(host, *apps)
        assert (outcome.issued, outcome.errors) == (["api", "web", "one"], [])

    @pytest.mark.parametrize(("age", "left", "asked"), [(20, 70, False), (40, 50, True)])
    def test_the_first_is_tried_again_before_the_timer_renews(
        self, host: store.Host, programs: Programs, authority: Authority, age: float, left: float, asked: bool
    ) -> None:
        apps = self.of_two("api")
        programs.put("api", authority.pair("api.example.test", age=age, left=left), self.SECOND)
        start(host, programs, *apps)
        self.run(replace(host, renew_left=33), *apps)
        assert bool(programs.asked("certonly")) is asked
        assert lineage.read_lineage(host, "api").server == (DIRECTORY if asked else self.SECOND)

    def test_a_first_that_still_refuses_costs_nothing(
        self, host: store.Host, programs: Programs, authority: Authority
    ) -> None:
        apps = self.of_two("api")
        programs.put("api", authority.pair("api.example.test", age=40, left=50), self.SECOND)
        start(host, programs, *apps)
        programs.refusals = {DIRECTORY: NO_CA}
        outcome = self.run(host, *apps)
        assert outcome.errors == outcome.issued == []
        assert "has stood in for" in outcome.warnings[0]
