# SPDX-License-Identifier: GPL-3.0-or-later
"""One certificate at a time: what stands in its way, and what a run that was killed has left."""

from __future__ import annotations

import os
import pathlib

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.certificates import placement
from ansible_collections.webops.wsgi.plugins.module_utils.certificates import store as store
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme import order
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.model import Acme
from certificate_stand_ins import DIRECTORY, NO_CA, NOW, Programs, app, issued, start


class TestOrder:
    def test_credentials_for_dns_are_at_hand(self, host: store.Host, programs: Programs) -> None:
        apps = [
            app(name, acme=Acme(directory=DIRECTORY, dns_plugin="dns-rfc2136"), credentials="key = 1\n")
            for name in ("api", "web")
        ]
        programs.authenticator = "dns-rfc2136"
        start(host, programs, *apps)
        assert issued(host, *apps).issued == ["api", "web"]
        for call in programs.asked("certonly"):
            assert order.ASIDE in call[call.index("--dns-rfc2136-credentials") + 1]
        assert programs.credentials == ["key = 1\n", "key = 1\n"]

    def test_only_what_nobody_works_in_any_more_is_swept(
        self, host: store.Host, programs: Programs, tmp_path: pathlib.Path
    ) -> None:
        start(host, programs, app())
        old, young = (programs.letsencrypt / f"{order.ASIDE}{name}" for name in ("old", "young"))
        for left in (old, young):
            left.mkdir(parents=True)
            (left / "privkey.pem").write_text("key")
        os.utime(old, (0, 0))
        issued(host, app())
        assert not old.exists()
        assert young.exists()

    @pytest.mark.parametrize("lost", ["renewal", "settings", "pair"])
    def test_damaged_lineage_is_set_aside(self, host: store.Host, programs: Programs, lost: str) -> None:
        start(host, programs, app())
        issued(host, app())
        if lost == "renewal":
            os.unlink(host.renewal("api"))
        elif lost == "settings":
            pathlib.Path(host.renewal("api")).write_text("version = 4.0.0\n[renewalparams]\n")
        else:
            os.unlink(os.path.join(host.live("api"), "privkey.pem"))
            placement.ensure_placeholder(host, [app()], NOW)
        outcome = issued(host, app())
        assert outcome.issued == ["api"]
        assert not outcome.errors
        assert len(os.listdir(programs.letsencrypt / "damaged")) == 1
        assert not issued(host, app()).changed

    def test_damaged_lineage_still_serves_when_the_ca_is_down(self, host: store.Host, programs: Programs) -> None:
        start(host, programs, app())
        issued(host, app())
        before = store.in_use(host, "api").certificate
        os.unlink(host.renewal("api"))
        programs.certbot_problems = {"api": NO_CA}
        assert issued(host, app()).errors
        assert store.in_use(host, "api").certificate == before
        assert not placement.ensure_placeholder(host, [app()], NOW).changed

    def test_unreadable_lineage_is_stood_in_for_when_the_ca_is_down(self, host: store.Host, programs: Programs) -> None:
        start(host, programs, app())
        issued(host, app())
        pathlib.Path(host.live("api"), "privkey.pem").write_text("damaged")
        programs.certbot_problems = {"api": NO_CA}
        outcome = issued(host, app())
        assert len(outcome.errors) == 1
        assert "it keeps its placeholder certificate" in outcome.errors[0]
        programs.nginx.test()

    def test_success_without_a_certificate_is_a_failure(
        self, host: store.Host, programs: Programs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        start(host, programs, app())
        monkeypatch.setattr(programs, "_issue", lambda _command: store.Completed(0, "Certificate not yet due"))
        assert "certbot reported success, but" in issued(host, app()).errors[0]
