# Copyright (c) webops.wsgi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Certificates of the apps of one host: what is wanted, what lies on disk, what nginx serves.

Every site of nginx names ``<links>/<app>/fullchain.pem`` and ``privkey.pem``. ``<links>/<app>`` is a symbolic link to a
directory that holds one complete pair and is never changed afterwards, so putting another certificate in service is one
``rename(2)`` and a reload, and there is no instant at which a key lies beside a certificate it does not belong to.

The functions are plain: they take what they need, and run programs only through the `Run` they are given.
All moments are timezone-aware datetimes, all durations are seconds unless the name says otherwise.
"""

from __future__ import annotations

import datetime
import hashlib
import itertools
import os
import re
import shutil
import socket
import ssl
import tempfile
import time
import traceback
import typing as t
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

CRYPTOGRAPHY_IMPORT_ERROR: str | None = None
try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
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

OVERDUE_FRACTION = 6
"""A lineage is issued again here when less than 1/6 of its life is left: certbot's timer should have done it long before."""

PASSING = ("Another instance of Certbot is already running", "invalid anti-replay nonce", "badNonce")
"""What certbot says when the same command can work a moment later."""
PASSING_WAIT = 3.0
PASSING_TRIES = 20

Run = t.Callable[[t.Sequence[str], t.Mapping[str, str]], "Completed"]


class CertificateError(Exception):
    """What was found, what was expected and what to do, in words for the person who reads the run."""


@dataclass(frozen=True)
class Completed:
    """Exit status and the joined output of a program."""

    rc: int
    output: str


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


@dataclass(frozen=True)
class ManagedFile:
    """A small file around certbot (deploy hook, systemd drop-in); empty content means it must not exist."""

    path: str
    content: str
    mode: int = 0o644


@dataclass(frozen=True)
class Host:
    """Where things lie on the host, and how its programs are called."""

    run: Run
    links: str = "/etc/nginx/tls"
    store: str = "/etc/nginx/tls.d"
    letsencrypt: str = "/etc/letsencrypt"
    webroot: str = "/var/www/acme"
    agree_tos: bool = True
    ca_bundle: str = ""
    certbot: tuple[str, ...] = ("certbot",)
    nginx: tuple[str, ...] = ("nginx",)
    systemctl: tuple[str, ...] = ("systemctl",)
    address: str = "127.0.0.1"
    port: int = 443
    reload_timeout: float = 10.0
    settle_timeout: float = 0.5

    def link(self, app: str) -> str:
        """Return the path that nginx names for the app."""
        return os.path.join(self.links, app)

    def live(self, app: str) -> str:
        """Return the directory in which certbot keeps the app's current pair."""
        return os.path.join(self.letsencrypt, "live", app)

    def renewal(self, app: str) -> str:
        """Return certbot's renewal configuration of the app."""
        return os.path.join(self.letsencrypt, "renewal", app + ".conf")

    @property
    def ca(self) -> str:
        """The directory of the host's own CA; no app can have a name with an underscore."""
        return os.path.join(self.store, "_ca")


@dataclass
class Outcome:
    """What a phase did, or would do; `before` and `after` are lines for the diff and hold no key material."""

    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    issued: list[str] = field(default_factory=list)
    reloaded: bool = False

    @property
    def changed(self) -> bool:
        """Whether anything was, or would be, changed."""
        return bool(self.actions)

    def change(self, action: str, before: str = "", after: str = "") -> None:
        """Note one change."""
        self.actions.append(action)
        if before:
            self.before.append(before)
        if after:
            self.after.append(after)


# -- certificates ------------------------------------------------------------------------------------------------------

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.S)


def _moment(certificate: x509.Certificate, name: str) -> datetime.datetime:
    """Return ``not_valid_before`` or ``not_valid_after`` in UTC (the ``_utc`` attributes came with cryptography 42)."""
    aware = getattr(certificate, name + "_utc", None)
    if aware is not None:
        return t.cast(datetime.datetime, aware)
    return t.cast(datetime.datetime, getattr(certificate, name)).replace(tzinfo=datetime.UTC)


def _readable(name: x509.Name) -> str:
    """Return the name of an issuer as people know it."""
    parts = {}
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
    if app.key_pem:
        _check_key(app, chain[0])
    return leaf


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
    except Exception as error:
        raise CertificateError(f"{where} is not a private key in PEM that can be read") from error
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form):
        raise CertificateError(
            f"{where} does not belong to the certificate in certificate.cert; provide the matching pair"
        )


# -- making certificates -----------------------------------------------------------------------------------------------


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


# -- the disk ----------------------------------------------------------------------------------------------------------


def _read(path: str) -> str:
    """Return the text of a file, or nothing when there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            return handle.read()
    except (FileNotFoundError, NotADirectoryError):
        return ""


def _write(path: str, content: str, mode: int) -> None:
    """Write a file with its final mode from the first byte on, and see it to the disk."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        os.fchmod(handle, mode)
        os.write(handle, content.encode())
        os.fsync(handle)
    finally:
        os.close(handle)


def replace_file(path: str, content: str, mode: int) -> None:
    """Put a file in place by rename(2), making its directory when it is missing."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    scratch = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.{os.getpid()}")
    if os.path.lexists(scratch):
        os.unlink(scratch)
    _write(scratch, content, mode)
    os.rename(scratch, path)


def write_pair(parent: str, kind: str, pair: Pair) -> str:
    """Put a pair into a directory of its own below `parent`, complete or not at all, and return that directory."""
    os.makedirs(parent, mode=0o700, exist_ok=True)
    os.chmod(parent, 0o700)
    target = os.path.join(parent, f"{kind}-{hashlib.sha256(pair.chain.encode()).hexdigest()[:12]}")
    scratch = tempfile.mkdtemp(prefix=".new-", dir=parent)
    _write(os.path.join(scratch, "privkey.pem"), pair.key, 0o600)
    _write(os.path.join(scratch, "fullchain.pem"), pair.chain, 0o600)
    if os.path.isdir(target):
        shutil.rmtree(target)
    os.rename(scratch, target)
    return target


def point(link: str, target: str) -> None:
    """Make `link` a symbolic link to `target` by one rename(2)."""
    os.makedirs(os.path.dirname(link), mode=0o755, exist_ok=True)
    scratch = os.path.join(os.path.dirname(link), f".{os.path.basename(link)}.{os.getpid()}")
    if os.path.lexists(scratch):
        os.unlink(scratch)
    os.symlink(target, scratch)
    os.rename(scratch, link)


def target_of(link: str) -> str:
    """Return where a symbolic link points, or nothing when it is none."""
    try:
        return os.readlink(link)
    except OSError:
        return ""


def usable(directory: str) -> bool:
    """Return whether nginx could load the pair in `directory`: both files there, readable, and belonging together."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            os.path.join(directory, "fullchain.pem"), os.path.join(directory, "privkey.pem"), password=""
        )
    except (OSError, ValueError):
        return False
    return True


def read_certificate(directory: str) -> Certificate | None:
    """Return the facts of the certificate in `directory`, or None when there is none that can be used."""
    if not usable(directory):
        return None
    try:
        return parse(_read(os.path.join(directory, "fullchain.pem")))
    except CertificateError:
        return None


def _private(directory: str) -> bool:
    """Return whether only root can read the pair in `directory` (one of our own)."""
    try:
        directory_mode = os.stat(directory).st_mode & 0o777
        key_mode = os.stat(os.path.join(directory, "privkey.pem")).st_mode & 0o777
    except OSError:
        return False
    return directory_mode == 0o700 and key_mode == 0o600


@dataclass(frozen=True)
class InUse:
    """What an app's link leads to."""

    kind: str
    target: str
    certificate: Certificate | None


def in_use(host: Host, app: str) -> InUse:
    """Return what the link of an app leads to; the kind is empty when it leads nowhere that is known."""
    target = target_of(host.link(app))
    if not target:
        return InUse("", "", None)
    if target == host.live(app):
        return InUse("letsencrypt", target, read_certificate(target))
    kind = os.path.basename(target).partition("-")[0]
    if os.path.dirname(target) != os.path.join(host.store, app) or kind not in (
        "placeholder",
        "selfsigned",
        "provided",
    ):
        return InUse("", target, read_certificate(target))
    return InUse(kind, target, read_certificate(target) if _private(target) else None)


# -- placeholder, selfsigned, provided ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Placement:
    """What the link of an app must lead to before nginx reads it, and why, when that is not so already."""

    kind: str
    reason: str = ""
    target: str = ""


def _own_reason(app: App, current: InUse, kind: str, now: datetime.datetime) -> str:
    """Return why a certificate made here has to be made again, or nothing."""
    if current.kind != kind:
        return f"no {kind} certificate yet"
    if current.certificate is None:
        return "the pair on disk is damaged or readable by others"
    if current.certificate.names != tuple(sorted(app.domains)):
        return "the domains changed"
    if not current.certificate.valid(now, REMAKE_DAYS):
        return f"less than {REMAKE_DAYS} days left"
    return ""


def _ca_on_disk(host: Host, now: datetime.datetime) -> Pair | None:
    """Return the host's own CA, or None when there is none that outlives a certificate made now."""
    if not _private(host.ca):
        return None
    pair = Pair(_read(os.path.join(host.ca, "fullchain.pem")), _read(os.path.join(host.ca, "privkey.pem")))
    try:
        return pair if usable(host.ca) and parse(pair.chain).valid(now, SELFSIGNED_DAYS + 1) else None
    except CertificateError:
        return None


def _place_letsencrypt(host: Host, app: App, current: InUse, now: datetime.datetime) -> Placement:
    if current.kind == "letsencrypt" and current.certificate is not None:
        return Placement("letsencrypt")
    if usable(host.live(app.name)):
        return Placement("letsencrypt", "certbot has a certificate", host.live(app.name))
    held = current.certificate
    if current.kind in ("selfsigned", "provided") and held and held.valid(now) and all(map(held.covers, app.domains)):
        return Placement(current.kind)
    reason = _own_reason(app, current, "placeholder", now)
    return Placement("placeholder", reason)


def _place_selfsigned(app: App, current: InUse, ca: Pair | None, now: datetime.datetime) -> Placement:
    reason = _own_reason(app, current, "selfsigned", now)
    if not reason and current.certificate is not None:
        if ca is None or current.certificate.issuer_name != load_chain(ca.chain)[0].subject.public_bytes():
            reason = "the host's own CA is another one"
    return Placement("selfsigned", reason)


def _place_provided(app: App, current: InUse, now: datetime.datetime) -> Placement:
    check_provided(App(app.name, app.domains, app.tls, chain_pem=app.chain_pem), now)
    if current.kind != "provided":
        return Placement("provided", "no provided certificate yet")
    if current.certificate is None:
        return Placement("provided", "the pair on disk is damaged or readable by others")
    on_disk = {name: _read(os.path.join(current.target, name)) for name in ("fullchain.pem", "privkey.pem")}
    if on_disk["fullchain.pem"] != app.chain_pem:
        return Placement("provided", "another certificate is provided")
    if app.key_pem and on_disk["privkey.pem"] != app.key_pem:
        return Placement("provided", "another key is provided")
    return Placement("provided")


def place(host: Host, app: App, now: datetime.datetime, ca: Pair | None) -> Placement:
    """Return what the link of a served app must lead to before nginx reads it.

    Raises CertificateError when a provided certificate cannot be used.
    """
    current = in_use(host, app.name)
    if app.tls == "provided":
        return _place_provided(app, current, now)
    if app.tls == "selfsigned":
        return _place_selfsigned(app, current, ca, now)
    return _place_letsencrypt(host, app, current, now)


def _summary(app: App, kind: str, names: t.Iterable[str]) -> str:
    return f"{app.name}: {kind} certificate for {', '.join(sorted(names))}"


def _prune(host: Host, app: str, target: str) -> None:
    """Remove the app's pairs that its link does not lead to."""
    parent = os.path.join(host.store, app)
    for entry in os.listdir(parent) if os.path.isdir(parent) else []:
        if os.path.join(parent, entry) != target:
            shutil.rmtree(os.path.join(parent, entry))
    if os.path.isdir(parent) and not os.listdir(parent):
        os.rmdir(parent)


def ensure_placeholder(
    host: Host, apps: t.Sequence[App], now: datetime.datetime, check: bool = False, label: str = ""
) -> Outcome:
    """Make sure that the certificate files every served app's site names are there, so that nginx can start.

    Nothing here asks a CA or needs nginx. All provided certificates are checked before anything is written.
    Raises CertificateError when one cannot be used.
    """
    outcome = Outcome()
    served = [app for app in apps if app.served]
    ca = _ca_on_disk(host, now) if any(app.tls == "selfsigned" for app in served) else None
    placements = [(app, place(host, app, now, ca)) for app in served]
    for app, placement in placements:
        if placement.kind == "provided" and placement.reason and app.key_pem:
            check_provided(app, now)
    for app, placement in placements:
        if not placement.reason:
            continue
        current = in_use(host, app.name)
        outcome.change(
            f"{app.name}: {placement.kind} certificate put in place: {placement.reason}",
            _summary(app, current.kind, current.certificate.names) if current.certificate else "",
            _summary(app, placement.kind, app.domains),
        )
        if check:
            continue
        if placement.kind == "selfsigned" and ca is None:
            ca = make_ca(label or socket.gethostname(), now)
            shutil.rmtree(host.ca, ignore_errors=True)
            os.makedirs(host.store, mode=0o755, exist_ok=True)
            os.rename(write_pair(host.store, "_ca", ca), host.ca)
            os.chmod(host.store, 0o755)
            replace_file(os.path.join(host.store, "ca.pem"), ca.chain, 0o644)
        target = placement.target or write_pair(
            os.path.join(host.store, app.name), placement.kind, _pair(app, placement.kind, ca, now)
        )
        point(host.link(app.name), target)
        _prune(host, app.name, target)
    return outcome


def _pair(app: App, kind: str, ca: Pair | None, now: datetime.datetime) -> Pair:
    if kind == "provided":
        return Pair(app.chain_pem, app.key_pem)
    return make_certificate(app, ca if kind == "selfsigned" else None, now)


# -- certbot -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Lineage:
    """A certificate that certbot keeps, as it lies on disk."""

    certificate: Certificate | None
    server: str
    known: bool


def read_lineage(host: Host, app: str) -> Lineage:
    """Return what certbot has for the app; `known` tells whether there is a renewal configuration."""
    settings = dict(re.findall(r"^\s*([a-z_]+)\s*=\s*(.*?)\s*$", _read(host.renewal(app)), re.M))
    return Lineage(read_certificate(host.live(app)), settings.get("server", ""), bool(settings))


def identity_differences(lineage: Lineage, app: App) -> list[str]:
    """Return in what the certificate on disk is another one than the one wanted: names, key type, authority."""
    certificate = lineage.certificate
    if certificate is None:
        return ["no certificate yet"]
    reasons = []
    if set(certificate.names) != set(app.domains):
        reasons.append(f"names {', '.join(certificate.names)} -> {', '.join(sorted(app.domains))}")
    if certificate.key_type != app.acme.key_type:
        reasons.append(f"key type {certificate.key_type} -> {app.acme.key_type}")
    if lineage.server != app.acme.directory:
        reasons.append(f"CA {lineage.server or 'unknown'} -> {app.acme.directory}")
    return reasons


def differences(lineage: Lineage, app: App, now: datetime.datetime) -> list[str]:
    """Return why the app's certificate has to be issued; nothing when the one on disk is what is wanted."""
    reasons = identity_differences(lineage, app)
    certificate = lineage.certificate
    if certificate is not None and certificate.not_after <= now:
        reasons.append(f"expired on {certificate.not_after:%Y-%m-%d}")
    elif certificate is not None and certificate.overdue(now):
        reasons.append(f"renewal overdue, valid only until {certificate.not_after:%Y-%m-%d}")
    return reasons


def certbot_command(host: Host, app: App, lineage: Lineage) -> list[str]:
    """Return the command that issues the app's certificate into the lineage of its name."""
    acme = app.acme
    command = [*host.certbot, "certonly", "--non-interactive", "--cert-name", app.name, "--server", acme.directory]
    command += ["--key-type", acme.key_type, "--webroot", "--webroot-path", host.webroot]
    command += ["--email", acme.email, "--no-eff-email"] if acme.email else ["--register-unsafely-without-email"]
    if host.agree_tos:
        command.append("--agree-tos")
    if lineage.known:
        command += ["--renew-with-new-domains", "--force-renewal"]
        if "staging" in acme.directory and "staging" not in lineage.server:
            command.append("--break-my-certs")
    for domain in app.domains:
        command += ["--domain", domain]
    return command


_NOISE = re.compile(
    r"^(Saving debug log|Plugins selected|Requesting a certificate|Renewing an existing|Performing the following|"
    r"Account registered|Waiting for|Cleaning up|Hint:|Some challenges have failed|Ask for help|- - -|$)"
)
_FAILED = re.compile(
    r"Domain:\s*(?P<domain>\S+)\s+Type:\s*(?P<type>\S+)\s+Detail:\s*(?P<detail>.+?)(?=\n\s*\n|\n\s*Domain:|\Z)", re.S
)


def cause(output: str) -> str:
    """Return why certbot failed, in one line, from what it printed."""
    failed = [
        f"{found['domain']}: {' '.join(found['detail'].split())} ({found['type']})"
        for found in _FAILED.finditer(output)
    ]
    if failed:
        return "; ".join(failed)
    text = output.partition("An unexpected error occurred:")[2] or output
    lines = [line.strip() for line in text.splitlines() if not _NOISE.match(line.strip())]
    line = " ".join(lines[-3:] if text is output else lines[:3])
    connection = re.search(
        r"HTTPS?ConnectionPool\(host='([^']+)', port=(\d+)\).*?(?:\[Errno -?\d+\] |\()([A-Z][^'\")\[]+)", line
    )
    if connection:
        return f"the CA at {connection[1]}:{connection[2]} cannot be reached: {connection[3].strip()}"
    return line or "certbot said nothing; see /var/log/letsencrypt/letsencrypt.log"


def unreachable(output: str) -> bool:
    """Return whether certbot never reached the CA, so that asking it for the next app is pointless in this run."""
    return "ConnectionPool(" in output and "/dir" in output


def run_certbot(host: Host, command: t.Sequence[str], sleep: t.Callable[[float], None] = time.sleep) -> Completed:
    """Run certbot, again while its timer's run holds the lock or the CA refuses a nonce."""
    environment = {"REQUESTS_CA_BUNDLE": host.ca_bundle} if host.ca_bundle else {}
    completed = host.run(command, environment)
    for _attempt in range(PASSING_TRIES):
        if completed.rc == 0 or not any(phrase in completed.output for phrase in PASSING):
            break
        sleep(PASSING_WAIT)
        completed = host.run(command, environment)
    return completed


def issue(host: Host, app: App, lineage: Lineage) -> Completed:
    """Ask the CA for the app's certificate.

    Returns certbot's answer; raises CertificateError when certbot reports success but what was wanted is not there.
    """
    os.makedirs(host.webroot, mode=0o755, exist_ok=True)
    completed = run_certbot(host, certbot_command(host, app, lineage))
    if completed.rc == 0:
        left = identity_differences(read_lineage(host, app.name), app)
        if left:
            raise CertificateError(f"certbot reported success, but the certificate is not as wanted: {'; '.join(left)}")
    return completed


def _issue_all(
    host: Host, apps: t.Sequence[App], now: datetime.datetime, check: bool, outcome: Outcome
) -> dict[str, str]:
    """Issue what differs from what is wanted, repoint the links, and return the former target of each repointed link."""
    former: dict[str, str] = {}
    down: dict[str, str] = {}
    for app in apps:
        if not app.present or app.tls != "letsencrypt":
            continue
        lineage = read_lineage(host, app.name)
        reasons = differences(lineage, app, now)
        if reasons:
            before = lineage.certificate
            text = f"{app.name}: certificate for {', '.join(app.domains)} issued by {app.acme.directory}: {'; '.join(reasons)}"
            described = (
                _summary(app, "letsencrypt", before.names) if before else "",
                f"{_summary(app, 'letsencrypt', app.domains)} from {app.acme.directory}",
            )
            if check:
                outcome.change(text, *described)
                continue
            problem = down.get(app.acme.directory) or _issue_one(host, app, lineage, down)
            if problem:
                outcome.errors.append(_issue_error(host, app, problem))
                continue
            outcome.change(text, *described)
            outcome.issued.append(app.name)
            former.setdefault(app.name, target_of(host.link(app.name)))
        if target_of(host.link(app.name)) != host.live(app.name):
            if not reasons:
                outcome.change(f"{app.name}: the certificate of certbot put in place")
            if not check:
                former.setdefault(app.name, target_of(host.link(app.name)))
                point(host.link(app.name), host.live(app.name))
    return former


def _issue_one(host: Host, app: App, lineage: Lineage, down: dict[str, str]) -> str:
    """Issue one certificate and return what went wrong, or nothing; note in `down` a CA that cannot be reached."""
    try:
        completed = issue(host, app, lineage)
    except CertificateError as error:
        return str(error)
    if completed.rc == 0:
        return ""
    problem = cause(completed.output)
    if unreachable(completed.output):
        down[app.acme.directory] = problem
    return problem


def _issue_error(host: Host, app: App, problem: str) -> str:
    current = in_use(host, app.name)
    served = f"it keeps its {current.kind} certificate" if current.certificate else "it has no certificate to serve"
    if current.certificate:
        served += f" (valid until {current.certificate.not_after:%Y-%m-%d})"
    return f'app "{app.name}": no certificate was issued for {", ".join(app.domains)} by {app.acme.directory}: {problem}; {served}'


# -- removal -----------------------------------------------------------------------------------------------------------


def _leftovers(host: Host, app: App) -> list[str]:
    """Return what lies on the host for an app that is not served over TLS (any more)."""
    paths = [host.link(app.name), os.path.join(host.store, app.name)]
    if not app.present:
        paths += [host.renewal(app.name), host.live(app.name)]
    return [path for path in paths if os.path.lexists(path)]


def _remove_all(host: Host, apps: t.Sequence[App], check: bool, outcome: Outcome) -> None:
    """Remove the certificates of apps that are gone, once nginx does not name them any more."""
    gone = [(app, paths) for app in apps if not app.served and (paths := _leftovers(host, app))]
    if not gone:
        return
    dump = "" if check or not shutil.which(host.nginx[0]) else host.run([*host.nginx, "-T"], {}).output
    for app, paths in gone:
        if host.link(app.name) + "/" in dump:
            outcome.errors.append(
                f'app "{app.name}": its certificate is not removed: the configuration of nginx still names '
                f"{host.link(app.name)}/; let the role nginx_proxy remove the site first"
            )
            continue
        if not check:
            problem = _remove_one(host, app)
            if problem:
                outcome.errors.append(problem)
                continue
        outcome.change(f"{app.name}: certificate removed", f"{app.name}: {', '.join(paths)}")


def _remove_one(host: Host, app: App) -> str:
    """Remove link, pairs and, for an absent app, certbot's lineage; return what went wrong, or nothing."""
    if os.path.lexists(host.link(app.name)):
        os.unlink(host.link(app.name))
    shutil.rmtree(os.path.join(host.store, app.name), ignore_errors=True)
    if app.present or not any(os.path.lexists(path) for path in (host.renewal(app.name), host.live(app.name))):
        return ""
    if os.path.lexists(host.renewal(app.name)) and shutil.which(host.certbot[0]):
        completed = run_certbot(host, [*host.certbot, "delete", "--non-interactive", "--cert-name", app.name])
        if completed.rc != 0:
            return f'app "{app.name}": certbot could not delete its certificate: {cause(completed.output)}'
    if os.path.lexists(host.renewal(app.name)):
        os.unlink(host.renewal(app.name))
    for path in (host.live(app.name), os.path.join(host.letsencrypt, "archive", app.name)):
        shutil.rmtree(path, ignore_errors=True)
    return ""


# -- files and timer of certbot ----------------------------------------------------------------------------------------


def _settle_files(host: Host, files: t.Sequence[ManagedFile], check: bool, outcome: Outcome) -> None:
    """Bring the deploy hook and the systemd drop-in to what is wanted."""
    units = False
    for wanted in files:
        exists = os.path.lexists(wanted.path)
        if not wanted.content:
            if not exists:
                continue
            outcome.change(f"{wanted.path} removed", f"{wanted.path}:\n{_read(wanted.path)}")
            if not check:
                os.unlink(wanted.path)
        else:
            mode = os.stat(wanted.path).st_mode & 0o777 if exists else 0
            before = _read(wanted.path)
            if before == wanted.content and mode == wanted.mode:
                continue
            outcome.change(
                f"{wanted.path} written",
                f"{wanted.path}:\n{before}" if exists else "",
                f"{wanted.path}:\n{wanted.content}",
            )
            if not check:
                replace_file(wanted.path, wanted.content, wanted.mode)
        units = units or "/systemd/" in wanted.path
    if units and not check:
        host.run([*host.systemctl, "daemon-reload"], {})


def _settle_timer(host: Host, timer: str, check: bool, outcome: Outcome) -> None:
    """Have the renewal timer enabled and running."""
    shown = host.run([*host.systemctl, "show", "--property=LoadState,ActiveState,UnitFileState", timer], {})
    state = dict(line.split("=", 1) for line in shown.output.splitlines() if "=" in line)
    if state.get("ActiveState") == "active" and state.get("UnitFileState") == "enabled":
        return
    if state.get("LoadState") != "loaded":
        if not check:
            outcome.errors.append(f"{timer} is not there, so no certificate would be renewed; is certbot installed?")
        return
    outcome.change(
        f"{timer} enabled",
        f"{timer}: {state.get('UnitFileState')}, {state.get('ActiveState')}",
        f"{timer}: enabled, active",
    )
    if not check:
        completed = host.run([*host.systemctl, "enable", "--now", timer], {})
        if completed.rc != 0:
            outcome.errors.append(
                f"{timer} could not be enabled, so no certificate would be renewed: {completed.output.strip()}"
            )


# -- the wire ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Seen:
    """What answered a TLS connection: the fingerprint of its certificate, or why there is none."""

    fingerprint: str = ""
    problem: str = ""


def _wire_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def look(host: Host, name: str, context: ssl.SSLContext, timeout: float = 5.0) -> Seen:
    """Return which certificate the host serves for `name`; it is compared, not trusted, so it is not verified here."""
    try:
        with socket.create_connection((host.address, host.port), timeout=timeout) as plain:
            with context.wrap_socket(plain, server_hostname=name.replace("*", "wildcard")) as secured:
                certificate = secured.getpeercert(binary_form=True)
    except OSError as error:
        return Seen(problem=str(error))
    return Seen(fingerprint=hashlib.sha256(certificate or b"").hexdigest())


def look_all(host: Host, names: t.Sequence[str]) -> dict[str, Seen]:
    """Return what the host serves for each name, asked at the same time."""
    if not names:
        return {}
    context = _wire_context()
    with ThreadPoolExecutor(max_workers=min(16, len(names))) as pool:
        return dict(zip(names, pool.map(lambda name: look(host, name, context), names), strict=False))


def _mismatches(host: Host, expected: t.Mapping[str, str]) -> dict[str, Seen]:
    """Return the names for which another certificate than the expected one is served, with what was seen."""
    seen = look_all(host, list(expected))
    return {name: seen[name] for name, fingerprint in expected.items() if seen[name].fingerprint != fingerprint}


def _await(host: Host, expected: t.Mapping[str, str], seconds: float) -> dict[str, Seen]:
    """Look until every name shows the expected certificate or the time is over; return what still differs."""
    deadline = time.monotonic() + seconds
    wrong = _mismatches(host, expected)
    while wrong and time.monotonic() < deadline:
        time.sleep(0.05)
        wrong = _mismatches(host, {name: expected[name] for name in wrong})
    return wrong


def _reload(host: Host) -> str:
    """Test the configuration of nginx and reload it; return what went wrong, or nothing."""
    tested = host.run([*host.nginx, "-t"], {})
    if tested.rc != 0:
        return f"the configuration of nginx does not pass its test, so it was not reloaded: {tested.output.strip()}"
    reloaded = host.run([*host.systemctl, "reload-or-restart", "nginx.service"], {})
    if reloaded.rc != 0:
        return f"nginx could not be reloaded: {reloaded.output.strip()}"
    return ""


def _expected(host: Host, apps: t.Sequence[App]) -> tuple[dict[str, str], dict[str, str]]:
    """Return for each domain the fingerprint on disk, and the app it belongs to."""
    expected: dict[str, str] = {}
    owners: dict[str, str] = {}
    for app in apps:
        certificate = in_use(host, app.name).certificate if app.served else None
        for domain in app.domains if certificate else ():
            expected[domain] = certificate.fingerprint if certificate else ""
            owners[domain] = app.name
    return expected, owners


def _restore(host: Host, former: t.Mapping[str, str]) -> None:
    """Point links back to where they pointed before this run."""
    for name, target in former.items():
        if target and target != target_of(host.link(name)) and usable(target):
            point(host.link(name), target)


def _serve(host: Host, apps: t.Sequence[App], former: t.Mapping[str, str], outcome: Outcome) -> None:
    """Have nginx serve what lies on disk, and look whether it does."""
    expected, owners = _expected(host, apps)
    if not expected:
        return
    if former or _await(host, expected, host.settle_timeout):
        problem = _reload(host)
        if problem:
            _restore(host, former)
            outcome.errors.append(problem)
            return
        outcome.reloaded = True
        if not former:
            outcome.change("nginx reloaded: it served other certificates than those on disk")
    else:
        return
    wrong = _await(host, expected, host.reload_timeout)
    outcome.errors += _wire_errors(host, wrong, expected, owners)


def _wire_errors(
    host: Host, wrong: t.Mapping[str, Seen], expected: t.Mapping[str, str], owners: t.Mapping[str, str]
) -> list[str]:
    """Return one error for each name served with another certificate, and one for all that do not answer alike."""
    where = f"on {host.address}:{host.port}, {host.reload_timeout:g} s after a reload of nginx"
    errors = []
    silent: dict[str, list[str]] = {}
    for name, seen in wrong.items():
        if not seen.fingerprint:
            silent.setdefault(seen.problem, []).append(name)
            continue
        errors.append(
            f'app "{owners[name]}": {name} is served with another certificate (sha256 {seen.fingerprint[:16]}) than the one '
            f"in {host.link(owners[name])} (sha256 {expected[name][:16]}) {where}"
        )
    for problem, names in silent.items():
        errors.append(f"no TLS answer for {', '.join(names)} {where}: {problem}")
    return errors


def _predict_serve(
    host: Host, apps: t.Sequence[App], now: datetime.datetime, nginx_reloads: bool, outcome: Outcome
) -> None:
    """Tell in check mode whether a reload would be needed beyond those for the changes already noted."""
    if nginx_reloads or outcome.issued:
        return
    ca = _ca_on_disk(host, now)
    remade = [app.name for app in apps if app.served and place(host, app, now, ca).reason]
    expected, _owners = _expected(host, apps)
    wrong = _await(host, expected, host.settle_timeout)
    if any(seen.fingerprint for seen in wrong.values()) or (remade and expected and not wrong):
        outcome.change("nginx reloaded: it served other certificates than those on disk")


def ensure_issued(
    host: Host,
    apps: t.Sequence[App],
    now: datetime.datetime,
    check: bool = False,
    files: t.Sequence[ManagedFile] = (),
    timer: str = "",
    nginx_reloads: bool = False,
) -> Outcome:
    """Have every certificate issued, served and renewed; remove those of apps that are gone.

    What fails for one app does not keep the others from going on; it is in `errors` of the outcome.

    :param files: deploy hook and drop-ins, brought to their content when an app uses certbot
    :param timer: unit that renews, enabled when an app uses certbot
    :param nginx_reloads: in check mode, whether nginx would be reloaded before this phase anyway
    """
    outcome = Outcome()
    if any(app.present and app.tls == "letsencrypt" for app in apps):
        _settle_files(host, files, check, outcome)
        if timer:
            _settle_timer(host, timer, check, outcome)
    former = _issue_all(host, apps, now, check, outcome)
    if check:
        _predict_serve(host, apps, now, nginx_reloads or outcome.changed, outcome)
    else:
        _serve(host, apps, former, outcome)
        if not outcome.errors:
            for name in former:
                _prune(host, name, target_of(host.link(name)))
    _remove_all(host, apps, check, outcome)
    return outcome


# -- the table ---------------------------------------------------------------------------------------------------------


def table(host: Host, apps: t.Sequence[App]) -> dict[str, dict[str, t.Any]]:
    """Return for each served app what its link leads to now."""
    rows: dict[str, dict[str, t.Any]] = {}
    for app in apps:
        if not app.served:
            continue
        current = in_use(host, app.name)
        certificate = current.certificate
        rows[app.name] = {
            "kind": current.kind,
            "domains": list(certificate.names) if certificate else [],
            "issuer": certificate.issuer if certificate else "",
            "not_after": certificate.not_after.strftime("%Y-%m-%dT%H:%M:%SZ") if certificate else "",
            "fingerprint": certificate.fingerprint if certificate else "",
        }
    return rows


def predict_fresh(apps: t.Sequence[App], ensure: str) -> Outcome:
    """Return what a phase would do on a host that has no python3-cryptography yet, and so no certificate of this collection."""
    outcome = Outcome()
    for app in apps:
        if not app.served:
            continue
        if ensure == "placeholder":
            kind = "placeholder" if app.tls == "letsencrypt" else app.tls
            outcome.change(
                f"{app.name}: {kind} certificate put in place: no {kind} certificate yet",
                after=_summary(app, kind, app.domains),
            )
        elif app.tls == "letsencrypt":
            outcome.change(
                f"{app.name}: certificate for {', '.join(app.domains)} issued by {app.acme.directory}: no certificate yet",
                after=f"{_summary(app, 'letsencrypt', app.domains)} from {app.acme.directory}",
            )
    return outcome
