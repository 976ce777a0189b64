# Copyright (c) webops.wsgi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The certificates that lie on a host, and which of them nginx is given.

Every site of nginx names ``<links>/<app>/fullchain.pem`` and ``privkey.pem``. ``<links>/<app>`` is a symbolic link to a
directory that holds one complete pair and is never changed afterwards, so putting another certificate in service is one
``rename(2)`` and a reload, and at no instant does a key lie beside a certificate it does not belong to.

The functions run programs only through the `Run` of their host. Durations are seconds unless the name says otherwise.
"""

from __future__ import annotations

import datetime
import functools
import hashlib
import os
import shutil
import socket
import ssl
import tempfile
import typing as t
from dataclasses import dataclass, field, fields

from ansible_collections.webops.wsgi.plugins.module_utils.certificates import (
    REMAKE_DAYS,
    SELFSIGNED_DAYS,
    WARN_DAYS,
    App,
    Certificate,
    CertificateError,
    Pair,
    check_suits,
    parse,
)

NONE_YET = "no certificate yet"
KINDS = ("placeholder", "selfsigned", "provided", "kept")
"""Kinds of pairs in the store; ``kept`` came from a lineage of certbot that was damaged since."""

Run = t.Callable[[t.Sequence[str], t.Mapping[str, str]], "Completed"]


@dataclass(frozen=True)
class Completed:
    """Exit status and the joined output of a program."""

    rc: int
    output: str


@dataclass(frozen=True)
class Host:
    """Where things lie on the host, and how its programs are called."""

    run: Run
    links: str = "/etc/nginx/tls"
    store: str = "/etc/nginx/tls.d"
    letsencrypt: str = "/etc/letsencrypt"
    ledger: str = "/var/lib/letsencrypt/wsgi-attempts.jsonl"
    max_failures: int = 3
    max_certificates: int = 4
    resolver: str = ""
    authority_ports: t.Mapping[str, int] = field(default_factory=lambda: {"http": 80, "https": 443})
    logs: str = "/var/log/letsencrypt"
    webroot: str = "/var/www/acme"
    renew_left: int = 33
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

    def credentials(self, app: str) -> str:
        """Return the file with which certbot changes DNS for the app."""
        return os.path.join(self.letsencrypt, "credentials", app + ".ini")

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
    warnings: list[str] = field(default_factory=list)
    issued: list[str] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        """Whether anything was, or would be, changed."""
        return bool(self.actions)

    def merge(self, later: Outcome) -> Outcome:
        """Return what both have done, one after the other."""
        return Outcome(*(getattr(self, each.name) + getattr(later, each.name) for each in fields(self)))

    def change(self, action: str, before: str = "", after: str = "") -> None:
        """Note one change."""
        self.actions.append(action)
        if before:
            self.before.append(before)
        if after:
            self.after.append(after)


def read_text(path: str) -> str:
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
        left = memoryview(content.encode())
        while left:  # a disk that is nearly full takes a part
            left = left[os.write(handle, left) :]
        os.fsync(handle)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error
    finally:
        os.close(handle)


def replace_file(path: str, content: str, mode: int) -> None:
    """Put a file in place by rename(2), making its directory when it is missing."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    scratch = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.new")
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
    """Make `link` a symbolic link to `target` by one rename(2), unless it is one.

    Raises CertificateError when a directory is in its place.
    """
    if target_of(link) == target:
        return
    if os.path.isdir(link) and not os.path.islink(link):
        raise CertificateError(f"{link} is a directory, not a symbolic link; move it away and run again")
    os.makedirs(os.path.dirname(link), mode=0o755, exist_ok=True)
    scratch = os.path.join(os.path.dirname(link), f".{os.path.basename(link)}.new")
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
    try:
        files = [os.stat(os.path.join(directory, name)) for name in ("fullchain.pem", "privkey.pem")]
    except OSError:
        return None
    return _read_certificate(directory, tuple((file.st_ino, file.st_mtime_ns, file.st_size) for file in files))


@functools.cache
def _read_certificate(directory: str, _state: tuple[tuple[int, int, int], ...]) -> Certificate | None:
    """Read a pair once for each state of its files: a run asks for the same ones several times."""
    if not usable(directory):
        return None
    try:
        return parse(read_text(os.path.join(directory, "fullchain.pem")))
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
    if os.path.dirname(target) != os.path.join(host.store, app) or kind not in KINDS:
        return InUse("", target, read_certificate(target))
    return InUse(kind, target, read_certificate(target) if _private(target) else None)


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


def ca_on_disk(host: Host, now: datetime.datetime) -> Pair | None:
    """Return the host's own CA, or None when there is none that outlives a certificate made now."""
    if not _private(host.ca):
        return None
    pair = Pair(read_text(os.path.join(host.ca, "fullchain.pem")), read_text(os.path.join(host.ca, "privkey.pem")))
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
    if (
        current.kind in ("selfsigned", "provided", "kept")
        and held
        and held.valid(now)
        and all(map(held.covers, app.domains))
    ):
        return Placement(current.kind)
    reason = _own_reason(app, current, "placeholder", now)
    return Placement("placeholder", reason)


def _place_selfsigned(app: App, current: InUse, ca: Pair | None, now: datetime.datetime) -> Placement:
    reason = _own_reason(app, current, "selfsigned", now)
    signed_by = parse(ca.chain).subject_name if ca else None
    if not reason and current.certificate and current.certificate.issuer_name != signed_by:
        reason = "the host's own CA is another one"
    return Placement("selfsigned", reason)


def _place_provided(app: App, current: InUse, now: datetime.datetime) -> Placement:
    check_suits(app, now)
    if current.kind != "provided":
        return Placement("provided", "no provided certificate yet")
    if current.certificate is None:
        return Placement("provided", "the pair on disk is damaged or readable by others")
    on_disk = {name: read_text(os.path.join(current.target, name)) for name in ("fullchain.pem", "privkey.pem")}
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


def summary(app: App, kind: str, names: t.Iterable[str]) -> str:
    """Return the line of the diff that stands for a certificate."""
    return f"{app.name}: {kind} certificate for {', '.join(sorted(names))}"


def prune(host: Host, app: str, target: str) -> None:
    """Remove the app's pairs that its link does not lead to."""
    parent = os.path.join(host.store, app)
    for entry in os.listdir(parent) if os.path.isdir(parent) else []:
        if os.path.join(parent, entry) != target:
            shutil.rmtree(os.path.join(parent, entry))
    if os.path.isdir(parent) and not os.listdir(parent):
        os.rmdir(parent)


def ensure_placeholder(host: Host, apps: t.Sequence[App], now: datetime.datetime, check: bool = False) -> Outcome:
    """Make sure that the certificate files every served app's site names are there, so that nginx can start.

    Nothing here asks a CA or needs nginx. All provided certificates are checked before anything is written.
    Raises CertificateError when one cannot be used.
    """
    outcome = Outcome()
    served = [app for app in apps if app.served]
    ca = ca_on_disk(host, now) if any(app.tls == "selfsigned" for app in served) else None
    placements = [(app, place(host, app, now, ca)) for app in served]
    for app, placement in placements:
        if placement.kind == "provided":
            _warn_expiry(app, now, outcome)
    if any(placement.reason and not placement.target for _app, placement in placements):
        _check_before_making(placements, now, check)
    for app, placement in placements:
        current = in_use(host, app.name)
        if not placement.reason:
            if not check:
                prune(host, app.name, current.target)  # what a run that was killed has left
            continue
        outcome.change(
            f"{app.name}: {placement.kind} certificate put in place: {placement.reason}",
            summary(app, current.kind, current.certificate.names) if current.certificate else "",
            summary(app, placement.kind, app.domains),
        )
        if check:
            continue
        if placement.kind == "selfsigned" and ca is None:
            ca = _new_ca(host, now)
        parent = os.path.join(host.store, app.name)
        target = placement.target or write_pair(parent, placement.kind, _pair(app, placement.kind, ca, now))
        point(host.link(app.name), target)
        prune(host, app.name, target)
    return outcome


def _check_before_making(placements: t.Iterable[tuple[App, Placement]], now: datetime.datetime, check: bool) -> None:
    """Check what is about to be written, before any of it is. Raises CertificateError."""
    from ansible_collections.webops.wsgi.plugins.module_utils import certificate_making

    if check and not certificate_making.AVAILABLE:
        return  # a check run, on a host that has nothing yet
    certificate_making.require()
    for app, placement in placements:
        if placement.kind == "provided" and placement.reason:
            certificate_making.check_provided(app, now)


def _new_ca(host: Host, now: datetime.datetime) -> Pair:
    """Make the host's own CA, in place of one that is damaged or too old to sign."""
    from ansible_collections.webops.wsgi.plugins.module_utils import certificate_making

    ca = certificate_making.make_ca(socket.gethostname(), now)
    for entry in os.listdir(host.store) if os.path.isdir(host.store) else ():
        if entry.startswith(("_ca", ".new-")):
            shutil.rmtree(os.path.join(host.store, entry))
    written = write_pair(host.store, "_ca", ca)
    os.chmod(host.store, 0o755)
    os.rename(written, host.ca)
    replace_file(os.path.join(host.store, "ca.pem"), ca.chain, 0o644)
    return ca


def _warn_expiry(app: App, now: datetime.datetime, outcome: Outcome) -> None:
    """Warn when a provided certificate ends soon: nobody but the person who provided it can renew it."""
    left = parse(app.chain_pem).not_after - now
    if left.days < WARN_DAYS:
        outcome.warnings.append(
            f'app "{app.name}": the provided certificate expires in {left.days} days; provide a new one'
        )


def _pair(app: App, kind: str, ca: Pair | None, now: datetime.datetime) -> Pair:
    if kind == "provided":
        return Pair(app.chain_pem, app.key_pem)
    from ansible_collections.webops.wsgi.plugins.module_utils import certificate_making

    return certificate_making.make_certificate(app, ca if kind == "selfsigned" else None, now)


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
