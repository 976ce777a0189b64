# Copyright (c) webops.wsgi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Certificates: their facts, whether they suit an app, and the ones made on the host itself.

Nothing here touches the disk. All moments are timezone-aware datetimes. The library ``cryptography`` may be missing on
a host that is looked at in check mode before anything is installed; `CRYPTOGRAPHY_IMPORT_ERROR` says so then.
"""

from __future__ import annotations

import datetime
import itertools
import re
import traceback
import typing as t
from dataclasses import dataclass, field

CRYPTOGRAPHY_IMPORT_ERROR: str | None = None
try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError:
    CRYPTOGRAPHY_IMPORT_ERROR = traceback.format_exc()

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
LETS_ENCRYPT_STAGING = "https://acme-staging-v02.api.letsencrypt.org/directory"

PLACEHOLDER_DAYS = 365
SELFSIGNED_DAYS = 397
CA_DAYS = 3650
REMAKE_DAYS = 30
"""Own certificates are made again when they are valid for less than this many days."""
WARN_DAYS = 30
"""A provided certificate that is valid for less than this many days is spoken of."""
OVERDUE_FRACTION = 6
"""When less than 1/6 of a certificate's life is left, its renewal is overdue: a timer should long have done it."""
RSA_BITS = 2048
"""Shortest RSA key that OpenSSL accepts at Debian's security level."""


class CertificateError(Exception):
    """What was found, what was expected and what to do, in words for the person who reads the run."""


@dataclass(frozen=True)
class Certificate:
    """The facts of one certificate that decisions are made from."""

    names: tuple[str, ...]
    issuer: str
    not_before: datetime.datetime
    not_after: datetime.datetime
    fingerprint: str
    key_type: str
    issuer_name: bytes

    def covers(self, domain: str) -> bool:
        """Return whether `domain` is one of the names, a wildcard counting for exactly one label."""
        parent = "*." + domain.partition(".")[2]
        return domain in self.names or (not domain.startswith("*.") and parent in self.names)

    def valid(self, now: datetime.datetime, days: float = 0) -> bool:
        """Return whether it is valid now and still will be in `days` days."""
        return self.not_before <= now and now + datetime.timedelta(days=days) < self.not_after

    def overdue(self, now: datetime.datetime) -> bool:
        """Return whether so little of its life is left that its renewal cannot have worked."""
        return self.not_after - now < (self.not_after - self.not_before) / OVERDUE_FRACTION


@dataclass(frozen=True)
class Acme:
    """How one app's certificate is asked for."""

    directory: str = LETS_ENCRYPT
    email: str = ""
    key_type: str = "ecdsa"


@dataclass(frozen=True)
class App:
    """What the inventory says about the certificate of one app."""

    name: str
    domains: tuple[str, ...]
    tls: str
    present: bool = True
    acme: Acme = Acme()
    chain_pem: str = field(default="", repr=False)
    key_pem: str = field(default="", repr=False)

    @property
    def served(self) -> bool:
        """Whether nginx serves this app over TLS."""
        return self.present and self.tls != "off"


_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.S)


def _moment(certificate: x509.Certificate, name: str) -> datetime.datetime:
    """Return ``not_valid_before`` or ``not_valid_after`` in UTC (the ``_utc`` attributes came with cryptography 42)."""
    aware = getattr(certificate, name + "_utc", None)
    if aware is not None:
        return t.cast(datetime.datetime, aware)
    return t.cast(datetime.datetime, getattr(certificate, name)).replace(tzinfo=datetime.UTC)


def _readable(name: x509.Name) -> str:
    """Return the name of an issuer as people know it."""
    parts: dict[x509.ObjectIdentifier, str] = {}
    for attribute in name:
        parts.setdefault(attribute.oid, str(attribute.value))
    common, organisation = parts.get(NameOID.COMMON_NAME, ""), parts.get(NameOID.ORGANIZATION_NAME, "")
    if organisation and organisation not in common:
        return " ".join(part for part in (organisation, common) if part)
    return common or name.rfc4514_string()


def _key_type(key: t.Any) -> str:
    """Return the type of a public key in certbot's words."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return "ecdsa"
    if isinstance(key, rsa.RSAPublicKey):
        return "rsa"
    return type(key).__name__.strip("_").removesuffix("PublicKey").lower()


def describe(certificate: x509.Certificate) -> Certificate:
    """Return the facts of a loaded certificate."""
    try:
        alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = tuple(name.lower() for name in alternative.get_values_for_type(x509.DNSName))
    except x509.ExtensionNotFound:
        names = ()
    return Certificate(
        names=tuple(sorted(names)),
        issuer=_readable(certificate.issuer),
        not_before=_moment(certificate, "not_valid_before"),
        not_after=_moment(certificate, "not_valid_after"),
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
        key_type=_key_type(certificate.public_key()),
        issuer_name=certificate.issuer.public_bytes(),
    )


def load_chain(pem: str) -> list[x509.Certificate]:
    """Return the certificates of a PEM text in the order they stand in it.

    Raises CertificateError when there is none or one cannot be read.
    """
    if CRYPTOGRAPHY_IMPORT_ERROR is not None:
        raise CertificateError("python3-cryptography is not installed")
    try:
        chain = [x509.load_pem_x509_certificate(block.encode()) for block in _PEM.findall(pem)]
    except ValueError as error:
        raise CertificateError(f"a certificate in it cannot be read: {error}") from error
    if not chain:
        raise CertificateError("it holds no PEM certificate (-----BEGIN CERTIFICATE-----)")
    return chain


def parse(pem: str) -> Certificate:
    """Return the facts of the first certificate of a PEM text. Raises CertificateError."""
    block = _PEM.search(pem)
    return describe(load_chain(block.group(0) if block else "")[0])


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


def check_provided(app: App, now: datetime.datetime) -> Certificate:
    """Check a certificate a person provides before anything uses it, and return its facts.

    Raises CertificateError naming what is wrong: no or unreadable PEM, key that does not match or is encrypted,
    not yet valid, expired, names not covered, chain not in order.
    """
    where = f'app "{app.name}": certificate.cert'
    try:
        chain = load_chain(app.chain_pem)
    except CertificateError as error:
        raise CertificateError(f"{where}: {error}") from error
    leaf = describe(chain[0])
    if leaf.not_after <= now:
        raise CertificateError(f"{where} expired on {leaf.not_after:%Y-%m-%d}; provide a renewed one")
    if leaf.not_before > now:
        raise CertificateError(
            f"{where} is not valid before {leaf.not_before:%Y-%m-%d %H:%M} UTC; check the host's clock"
        )
    missing = [domain for domain in app.domains if not leaf.covers(domain)]
    if missing:
        raise CertificateError(
            f"{where} does not cover {', '.join(missing)}: it is for {', '.join(leaf.names) or 'no DNS name at all'}"
        )
    for below, above in itertools.pairwise(chain):
        if not _issued_by(below, above):
            raise CertificateError(
                f"{where}: the chain is not in order: {_readable(below.subject) or 'a certificate'} was not issued by "
                f"{_readable(above.subject)}, which follows it; put the site's certificate first, each issuer after it"
            )
    _check_strength(where, chain)
    if app.key_pem:
        _check_key(app, chain[0])
    return leaf


def _check_strength(where: str, chain: t.Sequence[x509.Certificate]) -> None:
    """Raise CertificateError when OpenSSL at Debian's security level would not load a certificate of the chain."""
    for certificate in chain:
        key = certificate.public_key()
        name = _readable(certificate.subject) or "a certificate in it"
        if isinstance(key, rsa.RSAPublicKey) and key.key_size < RSA_BITS:
            raise CertificateError(
                f"{where}: {name} has an RSA key of {key.key_size} bits; at least {RSA_BITS} are needed"
            )
        algorithm = certificate.signature_hash_algorithm
        if certificate.issuer != certificate.subject and isinstance(algorithm, (hashes.SHA1, hashes.MD5)):
            raise CertificateError(f"{where}: {name} is signed with {algorithm.name}, which no client accepts any more")


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
        raise CertificateError(f"{where} is not a private key in PEM that can be read") from error
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form):
        raise CertificateError(
            f"{where} does not belong to the certificate in certificate.cert; provide the matching pair"
        )


@dataclass(frozen=True)
class Pair:
    """A certificate chain and its private key, both PEM."""

    chain: str
    key: str = field(repr=False)


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
        x509.SubjectAlternativeName([x509.DNSName(domain) for domain in app.domains]), critical=False
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(ca=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    builder = builder.add_extension(authority, critical=False)
    return _pem(builder.sign(signer, hashes.SHA256()), key)
