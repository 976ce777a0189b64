# SPDX-License-Identifier: GPL-3.0-or-later
"""An app under a new name."""

from __future__ import annotations

import pathlib
import typing as t
from dataclasses import replace

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.certificates import issue as issue
from ansible_collections.webops.wsgi.plugins.module_utils.certificates import model, placement
from ansible_collections.webops.wsgi.plugins.module_utils.certificates import store as store
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme import adopt as adopt
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme import lineage
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.model import Acme, App
from certificate_stand_ins import DIRECTORY, NOW, Killed, Programs, app, snapshot, start


class TestRenamed:
    """An app under a new name keeps its certificate, and no authority is asked."""

    def both(self, host: store.Host, apps: t.Sequence[App], check: bool = False) -> list[store.Outcome]:
        """Run both phases as the module does."""
        adopted = adopt.adopt(host, apps, check)
        rest = [each for each in apps if not (check and adopt.twin(host, each))]
        first = adopted.merge(placement.ensure_placeholder(host, rest, NOW, check))
        return [first, issue.ensure_issued(host, apps, NOW, check=check, nginx_reloads=True)]

    def served(self, host: store.Host, programs: Programs) -> tuple[App, App]:
        before, after = app("api"), app("core", "api.example.test")
        start(host, programs, before)
        issue.ensure_issued(host, [before], NOW)
        programs.calls.clear()
        return before, after

    def test_takes_over(self, host: store.Host, programs: Programs, tmp_path: pathlib.Path) -> None:
        before, after = self.served(host, programs)
        fingerprint = store.table(host, [before])["api"]["fingerprint"]
        programs.nginx.sites["api.example.test"] = "core"
        apps = [replace(before, present=False), after]
        untouched = snapshot(tmp_path)
        predicted = self.both(host, apps, check=True)
        assert snapshot(tmp_path) == untouched
        done = self.both(host, apps)
        assert done == predicted
        assert done[0].actions == ["core: the certificate of api taken over, which is for the same domains"]
        assert not programs.asked("certonly")
        assert store.table(host, [after])["core"]["fingerprint"] == fingerprint
        assert not any(outcome.changed for outcome in self.both(host, apps))
        renewal_text = pathlib.Path(host.renewal("core")).read_text()
        assert "live/core/cert.pem" in renewal_text
        assert "live/api" not in renewal_text

    def test_killed_before_certbot_knows_of_it(self, host: store.Host, programs: Programs) -> None:
        _before, after = self.served(host, programs)
        with pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.setattr(adopt, "write_file", lambda *_: (_ for _ in ()).throw(Killed))
            with pytest.raises(Killed):
                adopt.adopt(host, [after], False)
        assert adopt.adopt(host, [after], False).changed
        assert not lineage.differences(lineage.read_lineage(host, "core"), after, NOW)

    @pytest.mark.parametrize(
        "other",
        [
            app("core", "api.example.test", "www.example.test"),
            app("core", "api.example.test", acme=Acme(DIRECTORY, key_type="rsa")),
            app("core", "api.example.test", acme=Acme(model.LETS_ENCRYPT)),
            app("core", "api.example.test", tls="selfsigned"),
        ],
    )
    def test_takes_over_nothing_else(self, host: store.Host, programs: Programs, other: App) -> None:
        self.served(host, programs)
        assert not adopt.adopt(host, [other], False).changed

    BY_HAND = (
        "version = 4.0.0\ncert = /etc/letsencrypt/live/api/cert.pem\n[renewalparams]\npre_hook = stop nginx\n"
        "authenticator = {}\ninstaller = nginx\npost_hook = start nginx\nserver = {}\nkey_type = ecdsa\n"
        "[acme_renewal_info]\nari_retry_after = 1\n"
    )

    @pytest.mark.parametrize("authenticator", ["standalone", "nginx"])
    def test_a_certificate_that_a_person_has_asked_for(
        self, host: store.Host, programs: Programs, authenticator: str
    ) -> None:
        """With nginx stopped, or changed by certbot: it is kept, and renewed by what nginx serves now."""
        before, after = self.served(host, programs)
        fingerprint = store.table(host, [before])["api"]["fingerprint"]
        pathlib.Path(host.renewal("api")).write_text(self.BY_HAND.format(authenticator, DIRECTORY))
        programs.nginx.sites["api.example.test"] = "core"
        self.both(host, [after])
        assert store.table(host, [after])["core"]["fingerprint"] == fingerprint
        assert not programs.asked("certonly")
        lines = pathlib.Path(host.renewal("core")).read_text().splitlines()
        assert not [line for line in lines if "nginx" in line]
        at = lines.index("authenticator = webroot")
        assert lines[at + 1] == f"webroot_path = {host.webroot},"
        assert lines.index("[renewalparams]") < at < lines.index("[acme_renewal_info]")
        assert not any(outcome.changed for outcome in self.both(host, [after]))

    def test_one_with_more_names_serves_until_there_is_another(self, host: store.Host, programs: Programs) -> None:
        """Clients are shown no placeholder while the authority is asked."""
        before = app("api", "api.example.test", "www.example.test")
        start(host, programs, before)
        issue.ensure_issued(host, [before], NOW)
        after = app("core", "api.example.test")
        assert not adopt.adopt(host, [after], False).changed
        placement.ensure_placeholder(host, [after], NOW)
        shown = store.table(host, [after])["core"]
        assert (shown["kind"], shown["domains"]) == ("kept", ["api.example.test", "www.example.test"])
