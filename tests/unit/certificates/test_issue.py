# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates on disk and on the wire: real ones, a real TLS server, and a stand-in for certbot's commands."""

from __future__ import annotations

import os
import pathlib
from dataclasses import replace

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.certificates import making as making
from ansible_collections.webops.wsgi.plugins.module_utils.certificates import placement
from ansible_collections.webops.wsgi.plugins.module_utils.certificates import store as store
from ansible_collections.webops.wsgi.plugins.module_utils.certificates import wire as wire
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme import setup
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.model import Acme, CertificateError
from certificate_stand_ins import DIRECTORY, NO_CA, NOW, Authority, Programs, app, issued, snapshot, start


class TestIssued:
    def test_issue_and_serve(self, host: store.Host, programs: Programs) -> None:
        start(host, programs, app("api"), app("own", tls="selfsigned"))
        outcome = issued(replace(host, ca_bundle="/etc/ca.pem"), app("api"), app("own", tls="selfsigned"))
        assert outcome.issued == ["api"]
        assert not outcome.errors
        assert programs.environment == {"REQUESTS_CA_BUNDLE": "/etc/ca.pem"}
        assert programs.nginx.reloads == 1
        assert store.table(host, [app()])["api"]["kind"] == "letsencrypt"
        assert sorted(os.listdir(host.store)) == ["_ca", "ca.pem", "own"]

    def test_nothing_to_do_asks_nobody(self, host: store.Host, programs: Programs) -> None:
        start(host, programs, app())
        issued(host, app())
        programs.calls.clear()
        outcome = issued(host, app(), timer="certbot.timer")
        assert not outcome.changed
        assert [call[1] for call in programs.calls] == ["show"]

    def test_added_domain_is_issued_once(self, host: store.Host, programs: Programs) -> None:
        start(host, programs, app())
        issued(host, app())
        more = app("api", "api.example.test", "www.example.test")
        programs.nginx.sites["www.example.test"] = "api"
        assert issued(host, more).issued == ["api"]
        assert not issued(host, more).changed
        assert len(programs.asked("certonly")) == 2

    def test_ca_down_is_asked_once_and_the_sites_stay(self, host: store.Host, programs: Programs) -> None:
        programs.account_problem = NO_CA
        start(host, programs, app("api"), app("web"))
        outcome = issued(host, app("api"), app("web"))
        assert len(programs.asked("register")) == 1
        assert not programs.asked("certonly")
        assert len(outcome.errors) == 2
        assert outcome.errors[1].startswith(
            f'app "web": no certificate was issued for web.example.test by {DIRECTORY}: '
            "the CA at ca.example.test cannot be reached: Connection refused; it keeps its placeholder certificate"
        )
        assert not outcome.changed
        expected = wire.expected_on_wire(host, [app("api"), app("web")])
        assert not wire.wait_for(host, expected.fingerprints, 0)

    def test_one_failure_leaves_the_others_going(self, host: store.Host, programs: Programs) -> None:
        programs.certbot_problems = {"api": "Domain: api.example.test\nType: dns\nDetail: no such host\n"}
        start(host, programs, app("api"), app("web"))
        outcome = issued(host, app("api"), app("web"))
        assert outcome.issued == ["web"]
        assert len(outcome.errors) == 1
        assert "api.example.test: no such host (dns)" in outcome.errors[0]
        assert store.table(host, [app("api"), app("web")])["web"]["kind"] == "letsencrypt"

    def test_lost_reload_is_caught_up(self, host: store.Host, programs: Programs, authority: Authority) -> None:
        start(host, programs, app())
        issued(host, app())
        programs.put("api", authority.pair("api.example.test"))
        outcome = issued(host, app())
        assert outcome.actions == [wire.RELOADED]
        assert not outcome.errors
        assert not issued(host, app()).changed

    def test_reload_that_does_not_help_names_the_domain(
        self, host: store.Host, programs: Programs, authority: Authority
    ) -> None:
        start(host, programs, app())
        issued(host, app())
        programs.put("api", authority.pair("api.example.test"))
        programs.nginx.deaf = True
        errors = issued(host, app()).errors
        assert len(errors) == 1
        assert errors[0].startswith('app "api": api.example.test is served with another certificate')

    def test_domain_that_nginx_does_not_know(self, host: store.Host, programs: Programs) -> None:
        start(host, programs, app())
        del programs.nginx.sites["api.example.test"]
        assert "no TLS answer for api.example.test" in issued(host, app()).errors[0]

    def test_broken_nginx_keeps_the_former_certificate(self, host: store.Host, programs: Programs) -> None:
        start(host, programs, app())
        former = os.readlink(host.link("api"))
        programs.nginx_problem = "nginx: [emerg] unknown directive"
        outcome = issued(host, app())
        assert "unknown directive" in outcome.errors[0]
        assert os.readlink(host.link("api")) == former
        assert store.usable(former)
        assert programs.nginx.reloads == 0
        programs.nginx_problem = ""
        placement.ensure_placeholder(host, [app()], NOW)
        assert not issued(host, app()).errors
        assert len(programs.asked("certonly")) == 1

    def test_certbot_without_profiles(self, host: store.Host, programs: Programs) -> None:
        start(host, programs, app())
        programs.certbot_problems = {"api": "certbot: error: unrecognized arguments: --preferred-profile shortlived\n"}
        errors = issued(host, app(acme=Acme(DIRECTORY, profile="shortlived", preflight=False))).errors
        assert "this certbot knows no profiles; set certbot_install_method: venv" in errors[0]

    def test_hook_that_stops_nginx(self, host: store.Host, programs: Programs) -> None:
        hooks = pathlib.Path(host.letsencrypt) / "renewal-hooks" / "pre"
        hooks.mkdir(parents=True)
        (hooks / "mail").write_text("#!/bin/sh\nsystemctl stop postfix\n")
        (hooks / "web").write_text("#!/bin/sh\nsystemctl stop nginx\n")
        start(host, programs, app())
        (warning,) = issued(host, app()).warnings
        assert warning.startswith(f"{hooks}/web stops nginx")

    def test_without_certbot(self, host: store.Host, programs: Programs) -> None:
        start(host, programs, app())
        errors = issued(replace(host, certbot=("/nonexistent/certbot",)), app()).errors
        assert "/nonexistent/certbot is not installed" in errors[0]

    def test_missing_certificate_is_reported(self, host: store.Host) -> None:
        outcome = issued(host, app(tls="selfsigned"))
        assert 'app "api": there is no usable certificate' in outcome.errors[0]

    def test_check_mode_predicts_what_the_run_does(
        self, host: store.Host, programs: Programs, tmp_path: pathlib.Path
    ) -> None:
        files = [setup.ManagedFile(str(tmp_path / "hooks" / "hook"), "#!/bin/sh\n", 0o755)]
        apps = (app("api"), app("web"))
        start(host, programs, *apps)
        before = snapshot(tmp_path)
        predicted = issued(host, *apps, check=True, files=files)
        assert snapshot(tmp_path) == before
        assert not programs.asked("certonly")
        assert predicted == issued(host, *apps, files=files)
        assert not issued(host, *apps, check=True, files=files).changed

    def test_check_mode_on_a_fresh_host(self, host: store.Host, tmp_path: pathlib.Path) -> None:
        programs_gone = replace(host, port=1, run=lambda *_: store.Completed(127, "not found"))
        outcome = issued(programs_gone, app("api"), app("own", tls="selfsigned"), check=True, timer="certbot.timer")
        assert outcome.issued == ["api"]
        assert not outcome.errors
        assert snapshot(tmp_path) == {}

    def test_check_mode_before_anything_is_installed(
        self, host: store.Host, authority: Authority, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(making, "AVAILABLE", False)
        nothing = replace(host, port=1, run=lambda *_: store.Completed(127, "not found"))
        pair = authority.pair("given.example.test")
        apps = [app("api"), app("own", tls="selfsigned")]
        apps.append(app("given", tls="provided", chain_pem=pair.chain, key_pem=pair.key))
        assert len(placement.ensure_placeholder(nothing, apps, NOW, check=True).actions) == 3
        assert issued(nothing, *apps, check=True).issued == ["api"]
        with pytest.raises(CertificateError, match="install python3-cryptography"):
            placement.ensure_placeholder(nothing, apps, NOW)

    def test_check_mode_leaves_a_kept_lineage_to_the_phase_before(self, host: store.Host, programs: Programs) -> None:
        start(host, programs, app())
        issued(host, app())
        issued(host, app(tls="off"))
        programs.nginx.sites.clear()
        issued(host, app(tls="off"))
        assert placement.ensure_placeholder(host, [app()], NOW, check=True).changed
        assert not issued(host, app(), check=True, nginx_reloads=True).changed
        start(host, programs, app())
        assert not issued(host, app()).changed

    def test_check_mode_predicts_the_reload_for_a_replaced_certificate(
        self, host: store.Host, programs: Programs, authority: Authority
    ) -> None:
        old, new = authority.pair("api.example.test"), authority.pair("api.example.test")
        start(host, programs, app(tls="provided", chain_pem=old.chain, key_pem=old.key))
        renewed = app(tls="provided", chain_pem=new.chain, key_pem=new.key)
        predicted = issued(host, replace(renewed, key_pem=""), check=True)
        assert predicted.actions == [wire.RELOADED]
        assert not issued(host, replace(renewed, key_pem=""), check=True, nginx_reloads=True).changed
        placement.ensure_placeholder(host, [renewed], NOW)
        assert issued(host, replace(renewed, key_pem="")) == predicted
