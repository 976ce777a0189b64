# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read out of a certificate: real ones, of a library of its own."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
import typing as t

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.certificates import model
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.model import CertificateError
from certificate_stand_ins import NOW, Authority, days, pem
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID


class TestFacts:
    def test_of_a_certificate(self, authority: Authority) -> None:
        facts = model.parse(authority.pair("b.example.test", "A.example.test", left=10).chain)
        assert facts.names == ("a.example.test", "b.example.test")
        assert facts.issuer == "Test Intermediate"
        assert facts.not_after == NOW + days(10)
        assert facts.key_type == "ecdsa"

    def test_key_type_rsa(self, authority: Authority) -> None:
        key = rsa.generate_private_key(65537, 2048)
        assert model.parse(authority.pair("a.example.test", key=key).chain).key_type == "rsa"

    @pytest.mark.parametrize(
        ("issuer", "shown"),
        [
            ({NameOID.COMMON_NAME: "R11", NameOID.ORGANIZATION_NAME: "Let's Encrypt"}, "Let's Encrypt R11"),
            ({NameOID.COMMON_NAME: "Pebble Intermediate CA 3a3f42"}, "Pebble Intermediate CA 3a3f42"),
            ({NameOID.COMMON_NAME: "Müller CA", NameOID.ORGANIZATION_NAME: "Müller"}, "Müller CA"),
            ({NameOID.COUNTRY_NAME: "DE", NameOID.LOCALITY_NAME: "Köln"}, "DE, Köln"),
        ],
    )
    @pytest.mark.parametrize("key_type", ["ecdsa", "rsa", "ed25519"])
    @pytest.mark.parametrize("year", [2027, 2060])
    def test_agree_with_the_library(self, issuer: dict[t.Any, str], shown: str, key_type: str, year: int) -> None:
        keys: dict[str, t.Any] = {
            "ecdsa": lambda: ec.generate_private_key(ec.SECP384R1()),
            "rsa": lambda: rsa.generate_private_key(65537, 2048),
            "ed25519": ed25519.Ed25519PrivateKey.generate,
        }
        key = keys[key_type]()
        names = [f"{'a' * number}.example.test" for number in range(1, 40)]
        general = [x509.DNSName(name) for name in names]
        general.insert(3, x509.IPAddress(ipaddress.ip_address("192.0.2.1")))
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(x509.Name([x509.NameAttribute(kind, value) for kind, value in issuer.items()]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime.datetime(1999, 1, 2, 3, 4, 5, tzinfo=datetime.UTC))
            .not_valid_after(datetime.datetime(year, 1, 2, 3, 4, 5, tzinfo=datetime.UTC))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(general), critical=True)
            .sign(key, None if key_type == "ed25519" else hashes.SHA256())
        )
        facts = model.parse(pem(certificate))
        assert facts == model.Certificate(
            names=tuple(sorted([*names, "192.0.2.1"])),
            issuer=shown,
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
            fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
            key_type=key_type,
            issuer_name=certificate.issuer.public_bytes(),
            subject_name=certificate.subject.public_bytes(),
        )

    def test_no_alternative_names(self, authority: Authority) -> None:
        assert model.parse(pem(authority.root)).names == ()

    def test_cut_off(self, authority: Authority) -> None:
        der = authority.root.public_bytes(serialization.Encoding.DER)
        for length in range(1, len(der), 7):
            with pytest.raises(CertificateError, match="cannot be read"):
                model.parse(ssl.DER_cert_to_PEM_cert(der[:length]))

    @pytest.mark.parametrize(
        ("domain", "covered"),
        [
            ("a.example.test", True),
            ("example.test", True),
            ("a.b.example.test", False),
            ("*.example.test", True),
            ("*.other.test", False),
        ],
    )
    def test_covers(self, authority: Authority, domain: str, covered: bool) -> None:
        facts = model.parse(authority.pair("*.example.test", "example.test").chain)
        assert facts.covers(domain) is covered

    @pytest.mark.parametrize(
        ("age", "left", "overdue"), [(1, 89, False), (74, 16, False), (76, 14, True), (5.5, 0.5, True)]
    )
    def test_overdue(self, authority: Authority, age: float, left: float, overdue: bool) -> None:
        facts = model.parse(authority.pair("a.example.test", age=age, left=left).chain)
        assert facts.overdue(NOW) is overdue
