# Copyright (c) webops.wsgi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the inventory says about an app's certificate, and the facts of the certificates that are there.

Only Python's own library is needed to read them: a run that finds everything as wanted does not load ``cryptography``,
and a check run can look at a host before that is installed. All moments are timezone-aware datetimes.
"""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import re
import ssl
import typing as t
from dataclasses import dataclass, field, replace

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
LETS_ENCRYPT_STAGING = "https://acme-staging-v02.api.letsencrypt.org/directory"

SELFSIGNED_DAYS = 397
REMAKE_DAYS = 30
"""Own certificates are made again when they are valid for less than this many days."""
WARN_DAYS = 30
"""A provided certificate that is valid for less than this many days is spoken of."""
OVERDUE_FRACTION = 6
"""When less than 1/6 of a certificate's life is left, its renewal is overdue: a timer should long have done it."""


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
    subject_name: bytes
    authority: bool = False

    def covers(self, domain: str) -> bool:
        """Return whether `domain` is one of the names, a wildcard counting for exactly one label."""
        parent = "*." + domain.partition(".")[2]
        return domain in self.names or (not domain.startswith("*.") and parent in self.names)

    def valid(self, now: datetime.datetime, days: float = 0) -> bool:
        """Return whether it is valid now and still will be in `days` days."""
        return self.not_before <= now and now + datetime.timedelta(days=days) < self.not_after

    @property
    def life(self) -> datetime.timedelta:
        """From the first to the last moment of its validity."""
        return self.not_after - self.not_before

    def renewal_seconds(self, percent: int) -> int:
        """Return how many seconds before its end it is renewed when that is with `percent` of its life left."""
        return int(self.life.total_seconds()) * percent // 100

    def overdue(self, now: datetime.datetime) -> bool:
        """Return whether so little of its life is left that its renewal cannot have worked."""
        return self.not_after - now < self.life / OVERDUE_FRACTION


@dataclass(frozen=True)
class Authority:
    """An authority that stands in for another one; `ca_bundle` is what certbot trusts when it talks to it."""

    directory: str
    eab_kid: str = ""
    eab_hmac_key: str = field(default="", repr=False)
    ca_bundle: str = ""


@dataclass(frozen=True)
class Acme:
    """How one app's certificate is asked for.

    :param dns_plugin: the plugin of certbot that answers the challenge in DNS; empty for http-01 by the webroot
    :param dns_propagation: seconds from its answer until the authority looks, 0 for what the plugin thinks right
    :param eab_kid: name of the key that binds a new account to one at the authority (RFC 8555, 7.3.4)
    :param fallbacks: authorities that are asked, in this order, when the first one refuses or cannot be reached
    :param ca_bundle: what certbot trusts instead of what it does on the whole host, None for that
    :param preflight: whether the challenge's path is fetched before the authority is asked
    :param holds_back: what a domain holds back that failed there: itself (``domain``), its ``app``, or the ``host``
    """

    directory: str = LETS_ENCRYPT
    email: str = ""
    key_type: str = "ecdsa"
    profile: str = ""
    dns_plugin: str = ""
    dns_propagation: int = 0
    eab_kid: str = ""
    eab_hmac_key: str = field(default="", repr=False)
    fallbacks: tuple[Authority, ...] = ()
    ca_bundle: str | None = None
    preflight: bool = True
    holds_back: str = "app"

    @property
    def directories(self) -> list[str]:
        """All authorities that may have issued what is wanted."""
        return [self.directory, *(each.directory for each in self.fallbacks)]

    def choices(self) -> list[Acme]:
        """Return the same for each authority alone, in the order in which they are asked."""
        others = [
            replace(
                self,
                directory=each.directory,
                eab_kid=each.eab_kid,
                eab_hmac_key=each.eab_hmac_key,
                ca_bundle=each.ca_bundle,
                fallbacks=(),
            )
            for each in self.fallbacks
        ]
        return [replace(self, fallbacks=()), *others]


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
    credentials: str = field(default="", repr=False)

    @property
    def by_dns(self) -> bool:
        """Whether certbot answers the authority's challenge in DNS."""
        return self.present and self.tls == "letsencrypt" and bool(self.acme.dns_plugin)

    def choices(self) -> list[App]:
        """Return the app for each authority alone, in the order in which they are asked."""
        return [replace(self, acme=acme) for acme in self.acme.choices()]

    @property
    def served(self) -> bool:
        """Whether nginx serves this app over TLS."""
        return self.present and self.tls != "off"


@dataclass(frozen=True)
class Pair:
    """A certificate chain and its private key, both PEM."""

    chain: str
    key: str = field(repr=False)


_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.S)

# Object identifiers and tags of X.509, as they stand in the DER encoding.
_COMMON_NAME, _ORGANISATION, _ALTERNATIVE_NAMES = b"\x55\x04\x03", b"\x55\x04\x0a", b"\x55\x1d\x11"
_BASIC_CONSTRAINTS = b"\x55\x1d\x13"
_KEY_TYPES = {
    bytes.fromhex("2a8648ce3d0201"): "ecdsa",
    bytes.fromhex("2a864886f70d010101"): "rsa",
    bytes.fromhex("2b6570"): "ed25519",
}
_VERSION, _EXTENSIONS, _DNS_NAME, _ADDRESS, _UTC_TIME, _UTF16 = 0xA0, 0xA3, 0x82, 0x87, 0x17, 0x1E
_TRUE = b"\x01\x01\xff"


@dataclass(frozen=True)
class _Element:
    """One element of a DER encoding: its tag, its content, and all of it."""

    tag: int
    content: bytes
    whole: bytes

    @property
    def children(self) -> list[_Element]:
        """The elements that this one consists of."""
        return _elements(self.content)


def _elements(data: bytes) -> list[_Element]:
    """Return the elements that stand one after the other in `data`. Raises IndexError when it ends too early."""
    found = []
    while data:
        length, start = data[1], 2
        if length & 0x80:
            start += length & 0x7F
            length = int.from_bytes(data[2:start], "big")
        end = start + length
        if end > len(data):
            raise IndexError
        found.append(_Element(data[0], data[start:end], data[:end]))
        data = data[end:]
    return found


def _moment(element: _Element) -> datetime.datetime:
    """Return a time of a certificate, which is in UTC; the short form has two digits for a year from 1950 to 2049."""
    text = element.content.decode()
    if element.tag == _UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text
    return datetime.datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=datetime.UTC)


def _readable(name: _Element) -> str:
    """Return the name of an issuer as people know it."""
    parts: dict[bytes, str] = {}
    for relative in name.children:
        for attribute in relative.children:
            kind, value = attribute.children
            encoding = "utf-16-be" if value.tag == _UTF16 else "utf-8"
            parts.setdefault(kind.content, value.content.decode(encoding, "replace"))
    common, organisation = parts.get(_COMMON_NAME, ""), parts.get(_ORGANISATION, "")
    if organisation and organisation not in common:
        return " ".join(part for part in (organisation, common) if part)
    return common or ", ".join(parts.values())


def _host_names(extensions: t.Iterable[_Element]) -> list[str]:
    """Return the host names and addresses among the subject's alternative names."""
    for extension in extensions:
        kind, *_critical, value = extension.children
        if kind.content == _ALTERNATIVE_NAMES:
            (names,) = value.children
            hosts = [name.content.decode().lower() for name in names.children if name.tag == _DNS_NAME]
            numbers = [name.content for name in names.children if name.tag == _ADDRESS]
            return hosts + [str(ipaddress.ip_address(number)) for number in numbers]
    return []


def _may_issue(extensions: t.Iterable[_Element]) -> bool:
    """Return whether the subject is an authority."""
    for extension in extensions:
        kind, *_critical, value = extension.children
        if kind.content == _BASIC_CONSTRAINTS:
            return any(part.whole == _TRUE for part in value.children[0].children)
    return False


def _facts(der: bytes) -> Certificate:
    """Return the facts of a certificate in DER. Raises ValueError or IndexError when it is none."""
    (certificate,) = _elements(der)
    fields = [element for element in certificate.children[0].children if element.tag != _VERSION]
    issuer, validity, subject, key = fields[2:6]
    extensions = [element.children[0] for element in fields[6:] if element.tag == _EXTENSIONS]
    identifier = key.children[0].children[0].content
    return Certificate(
        names=tuple(sorted(_host_names(extensions[0].children))) if extensions else (),
        issuer=_readable(issuer),
        not_before=_moment(validity.children[0]),
        not_after=_moment(validity.children[1]),
        fingerprint=hashlib.sha256(der).hexdigest(),
        key_type=_KEY_TYPES.get(identifier, identifier.hex()),
        issuer_name=issuer.whole,
        subject_name=subject.whole,
        authority=_may_issue(extensions[0].children) if extensions else False,
    )


def blocks(pem: str) -> list[str]:
    """Return the certificates of a PEM text in the order they stand in it. Raises CertificateError for none."""
    found = _PEM.findall(pem)
    if not found:
        raise CertificateError("it holds no PEM certificate (-----BEGIN CERTIFICATE-----)")
    return t.cast(list[str], found)


def parse(pem: str) -> Certificate:
    """Return the facts of the first certificate of a PEM text. Raises CertificateError."""
    try:
        return _facts(ssl.PEM_cert_to_DER_cert(blocks(pem)[0]))
    except (ValueError, IndexError) as error:
        raise CertificateError(f"a certificate in it cannot be read: {error or 'it ends too early'}") from error


def check_authorities(pem: str, now: datetime.datetime) -> None:
    """Check the authorities that clients' certificates may come from. Raises CertificateError with the fix."""
    found = [parse(block) for block in blocks(pem)]
    known = {each.subject_name for each in found}
    for each in found:
        if not each.authority:
            raise CertificateError(
                "it has a certificate of no authority; write those that sign your clients' certificates"
            )
        if each.not_after <= now:
            raise CertificateError(
                f"it has an authority that expired on {each.not_after:%Y-%m-%d}; write the one that followed it"
            )
        if each.not_before > now:
            raise CertificateError(
                f"it has an authority that is not valid before {each.not_before:%Y-%m-%d %H:%M} UTC; check the clock"
            )
        if each.issuer_name not in known:
            raise CertificateError(
                f"it lacks {each.issuer}, which signed an authority in it; nginx needs all up to the root, add it"
            )


def check_suits(app: App, now: datetime.datetime) -> Certificate:
    """Check dates and names of a certificate a person provides, and return its facts. Raises CertificateError."""
    where = f'app "{app.name}": certificate.cert'
    try:
        leaf = parse(app.chain_pem)
    except CertificateError as error:
        raise CertificateError(f"{where}: {error}") from error
    if leaf.not_after <= now:
        raise CertificateError(f"{where} expired on {leaf.not_after:%Y-%m-%d}; provide a renewed one")
    if leaf.not_before > now:
        begin = f"{leaf.not_before:%Y-%m-%d %H:%M} UTC"
        raise CertificateError(f"{where} is not valid before {begin}; check the host's clock")
    missing = [domain for domain in app.domains if not leaf.covers(domain)]
    if missing:
        raise CertificateError(
            f"{where} does not cover {', '.join(missing)}: it is for {', '.join(leaf.names) or 'no name at all'}; "
            "provide one for all domains"
        )
    return leaf
