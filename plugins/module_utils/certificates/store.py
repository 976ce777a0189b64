# Copyright (c) webops.wsgi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The certificates that lie on a host, and which of them nginx serves.

Every site of nginx names ``<links>/<app>/fullchain.pem`` and ``privkey.pem``. ``<links>/<app>`` is a symbolic link to a
directory that holds one complete pair and is never changed afterwards, so putting another certificate in service is one
``rename(2)`` and a reload, and at no instant does a key lie beside a certificate it does not belong to.

The functions run programs only through the `Run` of their host. Durations are seconds unless the name says otherwise.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import ssl
import tempfile
import typing as t
from dataclasses import dataclass, field, fields

from ansible_collections.webops.wsgi.plugins.module_utils.certificates.model import (
    App,
    Certificate,
    CertificateError,
    Pair,
    parse,
)
from ansible_collections.webops.wsgi.plugins.module_utils.host.files import replace_link, write_file

KINDS = ("placeholder", "selfsigned", "provided", "kept")
"""Kinds of pairs in the store; ``kept`` came from a lineage of certbot, under another name or damaged since."""

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


def write_pair(parent: str, kind: str, pair: Pair) -> str:
    """Put a pair into a directory of its own below `parent`, complete or not at all, and return that directory."""
    os.makedirs(parent, mode=0o700, exist_ok=True)
    os.chmod(parent, 0o700)
    target = os.path.join(parent, f"{kind}-{hashlib.sha256(pair.chain.encode()).hexdigest()[:12]}")
    scratch = tempfile.mkdtemp(prefix=".new-", dir=parent)
    write_file(os.path.join(scratch, "privkey.pem"), pair.key, 0o600)
    write_file(os.path.join(scratch, "fullchain.pem"), pair.chain, 0o600)
    if os.path.isdir(target):
        shutil.rmtree(target)
    os.rename(scratch, target)
    return target


def point(link: str, target: str) -> None:
    """Make `link` a symbolic link to `target` by one rename(2), unless it is one.

    Raises CertificateError when a directory is in its place.
    """
    if os.path.isdir(link) and not os.path.islink(link):
        raise CertificateError(f"{link} is a directory, not a symbolic link; move it away and run again")
    os.makedirs(os.path.dirname(link), mode=0o755, exist_ok=True)
    replace_link(link, target)


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


def is_private(directory: str) -> bool:
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
    return InUse(kind, target, read_certificate(target) if is_private(target) else None)


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
