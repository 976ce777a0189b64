# SPDX-License-Identifier: GPL-3.0-or-later
"""How a certificate of certbot's differs from the one that is wanted."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.certificates import model
from ansible_collections.webops.wsgi.plugins.module_utils.certificates import store as store
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme import command as certbot_command
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme import lineage as certbot_lineage
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.model import Acme, App
from certificate_stand_ins import DIRECTORY, NOW, Authority, app, lineage_of, renewal


class TestLineage:
    @pytest.mark.parametrize(
        ("wanted", "reason"),
        [
            (app(), ""),
            (app("api", "api.example.test", "www.example.test"), "names "),
            (app(acme=Acme(DIRECTORY, key_type="rsa")), "key type ecdsa -> rsa"),
            (app(acme=Acme(model.LETS_ENCRYPT)), f"CA {DIRECTORY} -> {model.LETS_ENCRYPT}"),
            (app(acme=Acme(DIRECTORY, email="other@example.test")), ""),
        ],
    )
    def test_identity(self, authority: Authority, wanted: App, reason: str) -> None:
        reasons = certbot_lineage.differences(lineage_of(authority, "api.example.test"), wanted, NOW)
        assert "; ".join(reasons).startswith(reason)
        assert bool(reasons) is bool(reason)

    def test_another_profile(self, authority: Authority, host: store.Host) -> None:
        lineage = lineage_of(authority, "api.example.test")
        short = app(acme=Acme(DIRECTORY, profile="shortlived"))
        assert certbot_lineage.differences(lineage, short, NOW) == ["profile default -> shortlived"]
        assert "--preferred-profile shortlived" in " ".join(certbot_command.certonly_command(host, short, lineage))
        had = replace(lineage, renewal=lineage.renewal + "preferred_profile = shortlived\n")
        assert not certbot_lineage.differences(had, short, NOW)
        assert certbot_lineage.differences(had, app(), NOW) == ["profile shortlived -> default"]

    def test_challenge_in_dns(self, authority: Authority, host: store.Host) -> None:
        acme = Acme(DIRECTORY, dns_plugin="dns-rfc2136", dns_propagation=5)
        wanted = app("api", "*.example.test", acme=acme)
        command = " ".join(certbot_command.certonly_command(host, wanted, certbot_lineage.Lineage(None, "")))
        assert (
            f"--authenticator dns-rfc2136 --dns-rfc2136-credentials {host.letsencrypt}/credentials/api.ini" in command
        )
        assert "--dns-rfc2136-propagation-seconds 5" in command
        assert "--webroot" not in command
        facts = model.parse(authority.pair("*.example.test").chain)
        assert not certbot_lineage.differences(
            certbot_lineage.Lineage(facts, renewal(DIRECTORY, authenticator="dns-rfc2136")), wanted, NOW
        )
        assert certbot_lineage.differences(certbot_lineage.Lineage(facts, renewal(DIRECTORY)), wanted, NOW) == [
            "challenge webroot -> dns-rfc2136"
        ]

    @pytest.mark.parametrize("authenticator", ["standalone", "nginx"])
    def test_a_challenge_that_another_program_answered(self, authority: Authority, authenticator: str) -> None:
        """That certificate is as good; only its next renewal has to go another way."""
        facts = model.parse(authority.pair("api.example.test").chain)
        lineage = certbot_lineage.Lineage(facts, renewal(DIRECTORY, authenticator=authenticator))
        assert not certbot_lineage.differences(lineage, app(), NOW)

    @pytest.mark.parametrize(("left", "reason"), [(30, ""), (10, "renewal overdue"), (-1, "expired on")])
    def test_age(self, authority: Authority, left: float, reason: str) -> None:
        reasons = certbot_lineage.differences(lineage_of(authority, "api.example.test", left=left), app(), NOW)
        assert "; ".join(reasons).startswith(reason)
        assert bool(reasons) is bool(reason)

    def test_order_of_domains_does_not_matter(self, authority: Authority) -> None:
        lineage = lineage_of(authority, "b.example.test", "a.example.test")
        assert not certbot_lineage.differences(lineage, app("api", "a.example.test", "b.example.test"), NOW)
