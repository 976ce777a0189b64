# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates that a person provides: which are refused."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.certificates import making as making
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.model import App, CertificateError, Pair
from certificate_stand_ins import NOW, Authority, app, key_pem, pem
from cryptography.hazmat.primitives.asymmetric import ec, rsa


class TestProvided:
    def given(self, pair: Pair, *domains: str) -> App:
        return app("api", *domains, tls="provided", chain_pem=pair.chain, key_pem=pair.key)

    def test_accepted(self, authority: Authority) -> None:
        making.check_provided(self.given(authority.pair("api.example.test")), NOW)

    @pytest.mark.parametrize(
        ("left", "age", "message"),
        [(-1, 90, "certificate.cert expired on"), (90, -1, "certificate.cert is not valid before")],
    )
    def test_dates(self, authority: Authority, left: float, age: float, message: str) -> None:
        with pytest.raises(CertificateError, match=message):
            making.check_provided(self.given(authority.pair("api.example.test", left=left, age=age)), NOW)

    def test_names(self, authority: Authority) -> None:
        given = self.given(authority.pair("api.example.test"), "api.example.test", "www.example.test")
        with pytest.raises(
            CertificateError, match=r'app "api": .* not cover www.example.test: it is for api.example.test'
        ):
            making.check_provided(given, NOW)

    def test_key_of_another_certificate(self, authority: Authority) -> None:
        pair = authority.pair("api.example.test")
        other = Pair(pair.chain, authority.pair("api.example.test").key)
        with pytest.raises(CertificateError, match=r"certificate.key does not belong to the certificate") as raised:
            making.check_provided(self.given(other), NOW)
        assert "PRIVATE KEY" not in str(raised.value)

    def test_key_with_passphrase(self, authority: Authority) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        pair = Pair(authority.pair("api.example.test", key=key).chain, key_pem(key, b"secret"))
        with pytest.raises(CertificateError, match="encrypted with a passphrase"):
            making.check_provided(self.given(pair), NOW)

    def test_order_of_chain(self, authority: Authority) -> None:
        pair = authority.pair("api.example.test")
        leaf, intermediate = making.load_chain(pair.chain)
        wrong = Pair(pem(leaf) + pem(authority.root) + pem(intermediate), pair.key)
        with pytest.raises(CertificateError, match=r"not in order: api\.example\.test was not issued by Test Root"):
            making.check_provided(self.given(wrong), NOW)

    def test_chain_with_the_right_name_but_another_key(self, authority: Authority) -> None:
        pair = authority.pair("api.example.test")
        wrong = Pair(pem(making.load_chain(pair.chain)[0]) + pem(Authority().intermediate), pair.key)
        with pytest.raises(CertificateError, match="the chain is not in order"):
            making.check_provided(self.given(wrong), NOW)

    @pytest.mark.parametrize("text", ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
    def test_no_certificate(self, text: str) -> None:
        with pytest.raises(CertificateError, match=r'app "api": certificate\.cert: '):
            making.check_provided(self.given(Pair(text, "")), NOW)

    @pytest.mark.parametrize(
        "written",
        [
            lambda pem: pem.replace("-----\n-----", "----------"),
            lambda pem: pem.replace("\n", "\n  "),
        ],
    )
    def test_pem_that_only_openssl_refuses(self, authority: Authority, written: t.Callable[[str], str]) -> None:
        pair = authority.pair("api.example.test")
        with pytest.raises(CertificateError, match=r"cannot be loaded by OpenSSL.*each END in a line of its own"):
            making.check_provided(self.given(Pair(written(pair.chain), pair.key)), NOW)

    @pytest.mark.parametrize(
        "written", [lambda pem: pem.replace("\n", "\r\n"), lambda pem: "\ufeff" + pem, lambda pem: f"Bag: ü\n{pem}"]
    )
    def test_pem_that_is_odd(self, authority: Authority, written: t.Callable[[str], str]) -> None:
        pair = authority.pair("api.example.test")
        making.check_provided(self.given(Pair(written(pair.chain), written(pair.key))), NOW)

    def test_no_key(self, authority: Authority) -> None:
        with pytest.raises(CertificateError, match="is not a private key in PEM"):
            making.check_provided(self.given(Pair(authority.pair("api.example.test").chain, "nonsense")), NOW)

    def test_short_key(self, authority: Authority) -> None:
        key = rsa.generate_private_key(65537, 1024)
        with pytest.raises(CertificateError, match="RSA key of 1024 bits; at least 2048"):
            making.check_provided(self.given(authority.pair("api.example.test", key=key)), NOW)
