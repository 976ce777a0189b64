# SPDX-License-Identifier: GPL-3.0-or-later
"""What nginx is given before it starts."""

from __future__ import annotations

import os
import pathlib
import socket
import ssl
from dataclasses import replace

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.certificates import placement
from ansible_collections.webops.wsgi.plugins.module_utils.certificates import store as store
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.model import CertificateError
from certificate_stand_ins import NOW, Authority, Programs, app, days, snapshot, start


class TestPlaceholder:
    APPS = (app("api"), app("own", tls="selfsigned"), app("plain", tls="off"), app("gone", present=False))

    def test_first_run(self, host: store.Host) -> None:
        outcome = placement.ensure_placeholder(host, self.APPS, NOW)
        assert len(outcome.actions) == 2
        rows = store.table(host, self.APPS)
        assert {name: row["kind"] for name, row in rows.items()} == {"api": "placeholder", "own": "selfsigned"}
        assert rows["api"]["domains"] == ["api.example.test"]
        for name in rows:
            pair = pathlib.Path(host.link(name)).resolve()
            assert pair.stat().st_mode & 0o777 == 0o700
            assert pair.parent.stat().st_mode & 0o777 == 0o700
            assert (pair / "privkey.pem").stat().st_mode & 0o777 == 0o600

    def test_second_run_changes_nothing(self, host: store.Host, tmp_path: pathlib.Path) -> None:
        placement.ensure_placeholder(host, self.APPS, NOW)
        before = snapshot(tmp_path)
        assert not placement.ensure_placeholder(host, self.APPS, NOW).changed
        assert snapshot(tmp_path) == before

    def test_check_mode_predicts_and_writes_nothing(self, host: store.Host, tmp_path: pathlib.Path) -> None:
        predicted = placement.ensure_placeholder(host, self.APPS, NOW, check=True)
        assert snapshot(tmp_path) == {}
        assert predicted == placement.ensure_placeholder(host, self.APPS, NOW)

    def test_no_key_in_the_diff(self, host: store.Host) -> None:
        assert "PRIVATE" not in repr(placement.ensure_placeholder(host, self.APPS, NOW))

    def test_selfsigned_is_trusted_by_who_trusts_the_host(self, host: store.Host, programs: Programs) -> None:
        start(host, programs, app("own", "own.example.test", "www.own.example.test", "192.0.2.1", tls="selfsigned"))
        context = ssl.create_default_context(cafile=os.path.join(host.store, "ca.pem"))
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        assert store.table(host, [app("own", tls="selfsigned")])["own"]["domains"][0] == "192.0.2.1"
        for name in ("own.example.test", "www.own.example.test"):
            with (
                socket.create_connection((host.address, host.port)) as plain,
                context.wrap_socket(plain, server_hostname=name) as secured,
            ):
                assert secured.getpeercert()

    @pytest.mark.parametrize("tls", ["letsencrypt", "selfsigned"])
    @pytest.mark.parametrize(
        ("domains", "later", "reason"),
        [
            (("api.example.test", "www.example.test"), 0, "the domains changed"),
            (("api.example.test",), 380, "less than 30 days left"),
        ],
    )
    def test_made_again(self, host: store.Host, tls: str, domains: tuple[str, ...], later: int, reason: str) -> None:
        placement.ensure_placeholder(host, [app("api", tls=tls)], NOW)
        outcome = placement.ensure_placeholder(host, [app("api", *domains, tls=tls)], NOW + days(later))
        assert reason in outcome.actions[0]
        assert store.table(host, [app("api")])["api"]["domains"] == sorted(domains)
        assert len(os.listdir(os.path.join(host.store, "api"))) == 1

    @pytest.mark.parametrize("damage", ["truncated", "removed", "readable", "foreign key"])
    def test_damaged_pair_is_made_again(self, host: store.Host, authority: Authority, damage: str) -> None:
        placement.ensure_placeholder(host, [app()], NOW)
        key = pathlib.Path(host.link("api")) / "privkey.pem"
        if damage == "truncated":
            key.write_text(key.read_text()[:50])
        elif damage == "removed":
            key.unlink()
        elif damage == "readable":
            key.chmod(0o644)
        else:
            key.write_text(authority.pair("x.example.test").key)
        assert placement.ensure_placeholder(host, [app()], NOW).changed
        assert store.usable(host.link("api"))

    def test_lost_ca_is_made_again_and_signs_again(self, host: store.Host) -> None:
        apps = [app("one", tls="selfsigned"), app("two", tls="selfsigned")]
        placement.ensure_placeholder(host, apps, NOW)
        os.unlink(os.path.join(host.ca, "privkey.pem"))
        outcome = placement.ensure_placeholder(host, apps, NOW)
        assert [action.partition(":")[0] for action in outcome.actions] == ["one", "two"]
        assert not placement.ensure_placeholder(host, apps, NOW).changed

    def test_certbot_certificate_is_preferred(self, host: store.Host, programs: Programs, authority: Authority) -> None:
        programs.put("api", authority.pair("api.example.test"))
        placement.ensure_placeholder(host, [app()], NOW)
        assert store.in_use(host, "api").kind == "letsencrypt"

    def test_damaged_certbot_certificate_is_stood_in_for(
        self, host: store.Host, programs: Programs, authority: Authority
    ) -> None:
        programs.put("api", authority.pair("api.example.test"))
        placement.ensure_placeholder(host, [app()], NOW)
        (programs.letsencrypt / "live" / "api" / "privkey.pem").unlink()
        placement.ensure_placeholder(host, [app()], NOW)
        assert store.in_use(host, "api").kind == "placeholder"

    def test_on_the_way_to_letsencrypt_the_old_certificate_serves(self, host: store.Host) -> None:
        placement.ensure_placeholder(host, [app(tls="selfsigned")], NOW)
        assert not placement.ensure_placeholder(host, [app()], NOW).changed

    def test_directory_in_place_of_the_link(self, host: store.Host) -> None:
        os.makedirs(host.link("api"))
        with pytest.raises(CertificateError, match="is a directory, not a symbolic link; move it away"):
            placement.ensure_placeholder(host, [app()], NOW)

    def test_provided(self, host: store.Host, authority: Authority) -> None:
        first, second = authority.pair("api.example.test", left=20), authority.pair("api.example.test")
        given = app(tls="provided", chain_pem=first.chain, key_pem=first.key)
        outcome = placement.ensure_placeholder(host, [given], NOW)
        assert outcome.changed
        assert outcome.warnings == ['app "api": the provided certificate expires in 20 days; provide a new one']
        assert not placement.ensure_placeholder(host, [given], NOW).changed
        renewed = replace(given, chain_pem=second.chain, key_pem=second.key)
        assert "another certificate" in placement.ensure_placeholder(host, [renewed], NOW).actions[0]
        assert pathlib.Path(host.link("api"), "privkey.pem").read_text() == second.key

    def test_bad_provided_certificate_stops_before_anything_is_written(
        self, host: store.Host, authority: Authority, tmp_path: pathlib.Path
    ) -> None:
        bad = app("bad", tls="provided", chain_pem=authority.pair("bad.example.test").chain, key_pem="nonsense")
        with pytest.raises(CertificateError, match='app "bad"'):
            placement.ensure_placeholder(host, [app("api"), bad], NOW)
        assert snapshot(tmp_path) == {}
