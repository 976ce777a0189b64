# Copyright (c) webops.wsgi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Certificates made on the host itself, and the check of those that a person provides.

The only part that needs the library ``cryptography`` (38 on Debian 12, 43 on Debian 13), and imported only where a
certificate has to be made or checked.
"""

from __future__ import annotations

import datetime
import ipaddress
import itertools
import os
import ssl
import tempfile
import typing as t

from ansible_collections.webops.wsgi.plugins.module_utils.certificates.model import (
    SELFSIGNED_DAYS,
    App,
    CertificateError,
    Pair,
    blocks,
    check_suits,
)
from ansible_collections.webops.wsgi.plugins.module_utils.host import dns

AVAILABLE = True
try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError:
    AVAILABLE = False

PLACEHOLDER_DAYS = 365
CA_DAYS = 3650
RSA_BITS = 2048
"""Shortest RSA key that OpenSSL accepts at Debian's security level."""


def require() -> None:
    """Raise CertificateError when the library is missing."""
    if not AVAILABLE:
        raise CertificateError("the Python library cryptography is missing on the host: install python3-cryptography")


def load_chain(pem: str) -> list[x509.Certificate]:
    """Return the certificates of a PEM text in the order they stand in it.

    Raises CertificateError when there is none or one cannot be read.
    """
    try:
        return [x509.load_pem_x509_certificate(block.encode()) for block in blocks(pem)]
    except ValueError as error:
        raise CertificateError(f"a certificate in it cannot be read: {error}") from error


def _label(certificate: x509.Certificate) -> str:
    """Return what to call a certificate in a message."""
    common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(common[0].value) if common else certificate.subject.rfc4514_string() or "a certificate in it"


def _issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Return whether `issuer` issued `certificate`: by name, and by signature where the library can tell."""
    if certificate.issuer != issuer.subject:
        return False
    verify = getattr(certificate, "verify_directly_issued_by", None)
    if verify is None:
        return True
    try:
        verify(issuer)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def check_provided(app: App, now: datetime.datetime) -> None:
    """Check a certificate a person provides before anything uses it.

    Raises CertificateError naming what is wrong: no or unreadable PEM, key that does not match, is encrypted or short,
    dates, names not covered, chain not in order.
    """
    check_suits(app, now)
    where = f'app "{app.name}": certificate.cert'
    try:
        chain = load_chain(app.chain_pem)
    except CertificateError as error:
        raise CertificateError(f"{where}: {error}") from error
    for below, above in itertools.pairwise(chain):
        if not _issued_by(below, above):
            raise CertificateError(
                f"{where}: the chain is not in order: {_label(below)} was not issued by {_label(above)}, "
                "which follows it; put the site's certificate first, each issuer after it"
            )
    _check_strength(where, chain)
    if app.key_pem:
        _check_key(app, chain[0])
        _check_loads(app)


def _check_strength(where: str, chain: t.Sequence[x509.Certificate]) -> None:
    """Raise CertificateError when OpenSSL at Debian's security level would not load a certificate of the chain."""
    for certificate in chain:
        key = certificate.public_key()
        name = _label(certificate)
        if isinstance(key, rsa.RSAPublicKey) and key.key_size < RSA_BITS:
            raise CertificateError(
                f"{where}: {name} has an RSA key of {key.key_size} bits; "
                f"at least {RSA_BITS} are needed; provide one with a longer key"
            )
        algorithm = certificate.signature_hash_algorithm
        if certificate.issuer != certificate.subject and isinstance(algorithm, (hashes.SHA1, hashes.MD5)):
            raise CertificateError(
                f"{where}: {name} is signed with {algorithm.name}, which no client accepts; provide a renewed one"
            )


def _check_key(app: App, certificate: x509.Certificate) -> None:
    """Raise CertificateError unless the app's private key can be read and belongs to `certificate`."""
    where = f'app "{app.name}": certificate.key'
    try:
        key = serialization.load_pem_private_key(app.key_pem.encode(), password=None)
    except TypeError as error:
        raise CertificateError(
            f"{where} is encrypted with a passphrase, which nginx could not ask for; "
            "store it without one (and keep the file itself in ansible-vault)"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError(
            f"{where} is not a private key in PEM that can be read; provide the matching one"
        ) from error
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form):
        raise CertificateError(
            f"{where} does not belong to the certificate in certificate.cert; provide the matching pair"
        )


def _check_loads(app: App) -> None:
    """Raise CertificateError unless OpenSSL loads the pair: it takes PEM more strictly than others."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory(prefix="wsgi-certificate-") as directory:  # 0700
        paths = [os.path.join(directory, name) for name in ("cert.pem", "key.pem")]
        for path, text in zip(paths, (app.chain_pem, app.key_pem), strict=True):
            with open(path, "w", encoding="utf-8") as handle:
                handle.write(text)
        try:
            context.load_cert_chain(*paths)
        except OSError as error:
            raise CertificateError(
                f'app "{app.name}": certificate.cert and certificate.key cannot be loaded by OpenSSL, which nginx uses '
                f"({error.strerror}); write each BEGIN and each END in a line of its own, without spaces before it"
            ) from error


def _name(common: str, organisation: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
            x509.NameAttribute(NameOID.COMMON_NAME, common[:64]),
        ]
    )


def _builder(subject: x509.Name, issuer: x509.Name, key: t.Any, days: int, now: datetime.datetime) -> t.Any:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate, key: t.Any) -> Pair:
    return Pair(
        chain=certificate.public_bytes(serialization.Encoding.PEM).decode(),
        key=key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
    )


def make_ca(label: str, now: datetime.datetime) -> Pair:
    """Return a new certification authority of ten years for one host."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"{label[:40]} own CA {x509.random_serial_number() % 16**8:08x}", "webops.wsgi")
    builder = _builder(name, name, key, CA_DAYS, now)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return _pem(builder.add_extension(_usage(ca=True), critical=True).sign(key, hashes.SHA256()), key)


def _alternative(name: str) -> x509.GeneralName:
    """Return how a certificate has a host name or an address."""
    return x509.IPAddress(ipaddress.ip_address(name)) if dns.is_address(name) else x509.DNSName(name)


def make_certificate(app: App, ca: Pair | None, now: datetime.datetime) -> Pair:
    """Return a new certificate for the app's domains: signed by `ca`, or by itself (a placeholder) without one."""
    key = ec.generate_private_key(ec.SECP256R1())
    if ca is None:
        subject = issuer = _name(app.domains[0], "webops.wsgi placeholder")
        signer: t.Any = key
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    else:
        authority_certificate = load_chain(ca.chain)[0]
        subject, issuer = _name(app.domains[0], "webops.wsgi"), authority_certificate.subject
        signer = serialization.load_pem_private_key(ca.key.encode(), password=None)
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    builder = _builder(subject, issuer, key, PLACEHOLDER_DAYS if ca is None else SELFSIGNED_DAYS, now)
    builder = builder.add_extension(
        x509.SubjectAlternativeName([_alternative(domain) for domain in app.domains]), critical=False
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(ca=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    builder = builder.add_extension(authority, critical=False)
    return _pem(builder.sign(signer, hashes.SHA256()), key)
