# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates on disk and on the wire: real certificates, a real TLS server, and a stand-in for certbot's commands."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import os
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import typing as t
from dataclasses import replace

import pytest
from ansible_collections.webops.wsgi.plugins.action import app_certificates as action
from ansible_collections.webops.wsgi.plugins.module_utils import certificate_adopt as adopt
from ansible_collections.webops.wsgi.plugins.module_utils import certificate_clearance as clearance
from ansible_collections.webops.wsgi.plugins.module_utils import certificate_issue as issue
from ansible_collections.webops.wsgi.plugins.module_utils import certificate_making as making
from ansible_collections.webops.wsgi.plugins.module_utils import certificate_preflight as preflight
from ansible_collections.webops.wsgi.plugins.module_utils import certificate_status, certificates
from ansible_collections.webops.wsgi.plugins.module_utils import certificate_store as store
from ansible_collections.webops.wsgi.plugins.module_utils import certificate_wire as wire
from ansible_collections.webops.wsgi.plugins.module_utils.certificate_ledger import Attempt, Ledger
from ansible_collections.webops.wsgi.plugins.module_utils.certificates import Acme, App, CertificateError, Pair
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
DIRECTORY = "https://ca.example.test:14000/dir"
OWN = f"# {issue.OURS}.\n[Service]\n"
NO_CA = (
    "An unexpected error occurred:\nValueError: Requesting ca.example.test/dir: Connection refused\nAsk for help or\n"
)


def days(number: float) -> datetime.timedelta:
    return datetime.timedelta(days=number)


def app(name: str = "api", *domains: str, tls: str = "letsencrypt", **more: t.Any) -> App:
    acme = more.pop("acme", Acme(directory=DIRECTORY, preflight=False))
    return App(name, domains or (f"{name}.example.test",), tls, acme=acme, **more)


class Authority:
    """A CA with an intermediate, as the ones that people buy certificates from."""

    def __init__(self) -> None:
        self.root_key, self.key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        self.root = self._sign("Test Root", self.root_key, "Test Root", self.root_key, 3650, ca=True)
        self.intermediate = self._sign("Test Intermediate", self.key, "Test Root", self.root_key, 1000, ca=True)

    @staticmethod
    def _sign(
        name: str,
        key: t.Any,
        issuer: str,
        signer: t.Any,
        left: float,
        ca: bool = False,
        names: t.Sequence[str] = (),
        age: float = 1,
        digest: t.Any = None,
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - days(age))
            .not_valid_after(NOW + days(left))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), critical=False
            )
        return builder.sign(signer, digest or hashes.SHA256())

    def pair(self, *names: str, left: float = 89, age: float = 1, key: t.Any = None) -> Pair:
        key = key or ec.generate_private_key(ec.SECP256R1())
        leaf = self._sign(names[0], key, "Test Intermediate", self.key, left, names=names, age=age)
        chain = "".join(pem(certificate) for certificate in (leaf, self.intermediate))
        return Pair(chain, key_pem(key))


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def key_pem(key: t.Any, passphrase: bytes = b"") -> str:
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        encryption = serialization.BestAvailableEncryption(passphrase)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption).decode()


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def renewal(
    server: str, webroot: str = "/var/www/acme", authenticator: str = "webroot", live: str = "", options: str = ""
) -> str:
    """Return a renewal configuration as certbot writes it."""
    return (
        f"# renew_before_expiry = 30 days\nversion = 4.0.0\ncert = {live or '/etc/letsencrypt/live/api'}/cert.pem\n\n"
        f"# Options used in the renewal process\n[renewalparams]\n{options}key_type = ecdsa\nserver = {server}\n"
        f"authenticator = {authenticator}\nwebroot_path = {webroot},\n[[webroot_map]]\napi.example.test = {webroot}\n"
    )


class Nginx:
    """A TLS server that serves ``<links>/<app>`` by SNI, as it was at the last reload, as nginx does."""

    def __init__(self, links: pathlib.Path) -> None:
        self.links = links
        self.sites: dict[str, str] = {}
        self.contexts: dict[str, ssl.SSLContext] = {}
        self.reloads = 0
        self.deaf = False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def test(self) -> None:
        for name in set(self.sites.values()):
            self._context(name)

    def reload(self) -> None:
        self.reloads += 1
        if not self.deaf:
            self.contexts = {domain: self._context(name) for domain, name in self.sites.items()}

    def _context(self, name: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.links / name / "fullchain.pem", self.links / name / "privkey.pem")
        return context

    def _accept(self) -> None:
        while True:
            try:
                connection, _address = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        front = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

        def choose(secured: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> int | None:
            if name not in self.contexts:
                return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
            secured.context = self.contexts[name]
            return None

        front.sni_callback = choose  # type: ignore[assignment]
        try:
            with front.wrap_socket(connection, server_side=True) as secured:
                secured.recv(1)
        except OSError:
            connection.close()


class Programs:
    """Stands in for certbot, nginx and systemctl, and keeps what was asked of them."""

    def __init__(self, root: pathlib.Path, authority: Authority) -> None:
        self.letsencrypt = root / "letsencrypt"
        self.authority = authority
        self.nginx = Nginx(root / "tls")
        self.nginx_problem = ""
        self.certbot_problems: dict[str, str] = {}
        self.refusals: dict[str, str] = {}
        self.authenticator = "webroot"
        self.account_problem = ""
        self.account: pathlib.Path | None = None
        self.credentials: list[str] = []
        self.together: threading.Barrier | None = None
        self.timer = "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\n"
        self.calls: list[list[str]] = []
        self.environment: t.Mapping[str, str] = {}

    def __call__(self, command: t.Sequence[str], environment: t.Mapping[str, str]) -> store.Completed:
        self.calls.append(list(command))
        if "register" in command:
            return self._register()
        if "certonly" in command:
            self.environment = environment
            return self._issue(list(command))
        if "delete" in command:
            return self._delete(command[-1])
        if command[-1] == "-t":
            return self._test()
        if command[-1] == "-T":
            return store.Completed(
                0, "".join(f"ssl_certificate {self.nginx.links}/{n}/x;" for n in self.nginx.sites.values())
            )
        if "reload-or-restart" in command:
            self.nginx.reload()
        return store.Completed(0, self.timer if "show" in command else "")

    def asked(self, verb: str) -> list[list[str]]:
        return [call for call in self.calls if verb in call]

    def _test(self) -> store.Completed:
        if self.nginx_problem:
            return store.Completed(1, self.nginx_problem)
        try:
            self.nginx.test()
        except OSError as error:
            return store.Completed(1, f"cannot load certificate: {error}")
        return store.Completed(0, "")

    def _register(self) -> store.Completed:
        if self.account_problem:
            return store.Completed(1, self.account_problem)
        if (self.letsencrypt / "accounts").is_dir() and (not self.account or self.account.exists()):
            return store.Completed(1, "There is an existing account; registration of a duplicate is unsupported.")
        (self.letsencrypt / "accounts").mkdir(parents=True, exist_ok=True)
        return store.Completed(0, "Account registered.")

    def _issue(self, command: list[str]) -> store.Completed:
        name = command[command.index("--cert-name") + 1]
        if self.together:
            self.together.wait()
        server = command[command.index("--server") + 1]
        if server in self.refusals:
            return store.Completed(1, self.refusals[server])
        if self.account and self.account.exists():
            return store.Completed(1, TestForgottenAccount.SAYS)
        if name in self.certbot_problems:
            return store.Completed(1, self.certbot_problems[name])
        domains = [command[at + 1] for at, word in enumerate(command) if word == "--domain"]
        key: t.Any = ec.generate_private_key(ec.SECP256R1())
        if command[command.index("--key-type") + 1] == "rsa":
            key = rsa.generate_private_key(65537, 2048)
        config, options = self.letsencrypt, ""
        if "--config-dir" in command:
            config = pathlib.Path(command[command.index("--config-dir") + 1])
            logs = pathlib.Path(command[command.index("--logs-dir") + 1])
            options = f"config_dir = {config}\nwork_dir = {config}/work\nlogs_dir = {logs}\n"
            logs.mkdir()
            (logs / "letsencrypt.log").write_text(f"asked for {name}\n")
            assert (config / "accounts").is_dir()
            if "--dns-rfc2136-credentials" in command:
                credentials = command[command.index("--dns-rfc2136-credentials") + 1]
                self.credentials.append(pathlib.Path(credentials).read_text())
        self.put(name, self.authority.pair(*domains, key=key), server, config, options)
        return store.Completed(0, "Successfully received certificate.")

    def put(
        self, name: str, pair: Pair, server: str = DIRECTORY, config: pathlib.Path | None = None, options: str = ""
    ) -> None:
        """Write a lineage as certbot does: relative links to a first version."""
        config = config or self.letsencrypt
        live, archive = config / "live" / name, config / "archive" / name
        for directory in (live, archive, config / "renewal"):
            directory.mkdir(parents=True, exist_ok=True)
        leaf, *_issuers = certificates.blocks(pair.chain)
        parts = {"cert": leaf, "chain": pair.chain.replace(leaf, ""), "fullchain": pair.chain, "privkey": pair.key}
        for part, content in parts.items():
            (archive / f"{part}1.pem").write_text(content)
            if not (live / f"{part}.pem").is_symlink():
                (live / f"{part}.pem").symlink_to(f"../../archive/{name}/{part}1.pem")
        path = config / "renewal" / f"{name}.conf"
        known = re.search(r"^renew_before_expiry = .*$", path.read_text(), re.M) if path.exists() else None
        text = renewal(server, str(self.letsencrypt.parent / "acme"), self.authenticator, str(live), options)
        path.write_text(text.replace("# renew_before_expiry = 30 days", known[0]) if known else text)

    def _delete(self, name: str) -> store.Completed:
        (self.letsencrypt / "renewal" / f"{name}.conf").unlink()
        return store.Completed(0, "")


@pytest.fixture
def programs(tmp_path: pathlib.Path, authority: Authority) -> t.Iterator[Programs]:
    programs = Programs(tmp_path, authority)
    yield programs
    programs.nginx.listener.close()


@pytest.fixture
def host(tmp_path: pathlib.Path, programs: Programs) -> store.Host:
    return store.Host(
        run=programs,
        links=str(tmp_path / "tls"),
        store=str(tmp_path / "tls.d"),
        letsencrypt=str(tmp_path / "letsencrypt"),
        ledger=str(tmp_path / "lib" / "attempts.jsonl"),
        logs=str(tmp_path / "logs"),
        webroot=str(tmp_path / "acme"),
        certbot=("/bin/sh", "certbot"),
        nginx=("/bin/sh", "nginx"),
        port=programs.nginx.port,
        reload_timeout=0.3,
        settle_timeout=0.1,
    )


def start(host: store.Host, programs: Programs, *apps: App) -> None:
    """Bring a host to where it is before the phase `issued`: placeholders made, nginx serving them."""
    store.ensure_placeholder(host, apps, NOW)
    programs.nginx.sites = {domain: each.name for each in apps if each.served for domain in each.domains}
    programs.nginx.reload()
    programs.nginx.reloads = 0


def snapshot(directory: pathlib.Path) -> dict[str, str]:
    """Return every file and link below a directory with its content."""
    found = {}
    for path in sorted(directory.rglob("*")):
        if path.is_symlink():
            found[str(path)] = f"-> {path.readlink()}"
        elif path.is_file():
            found[str(path)] = path.read_text()
    return found


class TestFacts:
    def test_of_a_certificate(self, authority: Authority) -> None:
        facts = certificates.parse(authority.pair("b.example.test", "A.example.test", left=10).chain)
        assert facts.names == ("a.example.test", "b.example.test")
        assert facts.issuer == "Test Intermediate"
        assert facts.not_after == NOW + days(10)
        assert facts.key_type == "ecdsa"

    def test_key_type_rsa(self, authority: Authority) -> None:
        key = rsa.generate_private_key(65537, 2048)
        assert certificates.parse(authority.pair("a.example.test", key=key).chain).key_type == "rsa"

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
        facts = certificates.parse(pem(certificate))
        assert facts == certificates.Certificate(
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
        assert certificates.parse(pem(authority.root)).names == ()

    def test_cut_off(self, authority: Authority) -> None:
        der = authority.root.public_bytes(serialization.Encoding.DER)
        for length in range(1, len(der), 7):
            with pytest.raises(CertificateError, match="cannot be read"):
                certificates.parse(ssl.DER_cert_to_PEM_cert(der[:length]))

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
        facts = certificates.parse(authority.pair("*.example.test", "example.test").chain)
        assert facts.covers(domain) is covered

    @pytest.mark.parametrize(
        ("age", "left", "overdue"), [(1, 89, False), (74, 16, False), (76, 14, True), (5.5, 0.5, True)]
    )
    def test_overdue(self, authority: Authority, age: float, left: float, overdue: bool) -> None:
        facts = certificates.parse(authority.pair("a.example.test", age=age, left=left).chain)
        assert facts.overdue(NOW) is overdue


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


class TestPlaceholder:
    APPS = (app("api"), app("own", tls="selfsigned"), app("plain", tls="off"), app("gone", present=False))

    def test_first_run(self, host: store.Host) -> None:
        outcome = store.ensure_placeholder(host, self.APPS, NOW)
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
        store.ensure_placeholder(host, self.APPS, NOW)
        before = snapshot(tmp_path)
        assert not store.ensure_placeholder(host, self.APPS, NOW).changed
        assert snapshot(tmp_path) == before

    def test_check_mode_predicts_and_writes_nothing(self, host: store.Host, tmp_path: pathlib.Path) -> None:
        predicted = store.ensure_placeholder(host, self.APPS, NOW, check=True)
        assert snapshot(tmp_path) == {}
        assert predicted == store.ensure_placeholder(host, self.APPS, NOW)

    def test_no_key_in_the_diff(self, host: store.Host) -> None:
        assert "PRIVATE" not in repr(store.ensure_placeholder(host, self.APPS, NOW))

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
        store.ensure_placeholder(host, [app("api", tls=tls)], NOW)
        outcome = store.ensure_placeholder(host, [app("api", *domains, tls=tls)], NOW + days(later))
        assert reason in outcome.actions[0]
        assert store.table(host, [app("api")])["api"]["domains"] == sorted(domains)
        assert len(os.listdir(os.path.join(host.store, "api"))) == 1

    @pytest.mark.parametrize("damage", ["truncated", "removed", "readable", "foreign key"])
    def test_damaged_pair_is_made_again(self, host: store.Host, authority: Authority, damage: str) -> None:
        store.ensure_placeholder(host, [app()], NOW)
        key = pathlib.Path(host.link("api")) / "privkey.pem"
        if damage == "truncated":
            key.write_text(key.read_text()[:50])
        elif damage == "removed":
            key.unlink()
        elif damage == "readable":
            key.chmod(0o644)
        else:
            key.write_text(authority.pair("x.example.test").key)
        assert store.ensure_placeholder(host, [app()], NOW).changed
        assert store.usable(host.link("api"))

    def test_lost_ca_is_made_again_and_signs_again(self, host: store.Host) -> None:
        apps = [app("one", tls="selfsigned"), app("two", tls="selfsigned")]
        store.ensure_placeholder(host, apps, NOW)
        os.unlink(os.path.join(host.ca, "privkey.pem"))
        outcome = store.ensure_placeholder(host, apps, NOW)
        assert [action.partition(":")[0] for action in outcome.actions] == ["one", "two"]
        assert not store.ensure_placeholder(host, apps, NOW).changed

    def test_certbot_certificate_is_preferred(self, host: store.Host, programs: Programs, authority: Authority) -> None:
        programs.put("api", authority.pair("api.example.test"))
        store.ensure_placeholder(host, [app()], NOW)
        assert store.in_use(host, "api").kind == "letsencrypt"

    def test_damaged_certbot_certificate_is_stood_in_for(
        self, host: store.Host, programs: Programs, authority: Authority
    ) -> None:
        programs.put("api", authority.pair("api.example.test"))
        store.ensure_placeholder(host, [app()], NOW)
        (programs.letsencrypt / "live" / "api" / "privkey.pem").unlink()
        store.ensure_placeholder(host, [app()], NOW)
        assert store.in_use(host, "api").kind == "placeholder"

    def test_on_the_way_to_letsencrypt_the_old_certificate_serves(self, host: store.Host) -> None:
        store.ensure_placeholder(host, [app(tls="selfsigned")], NOW)
        assert not store.ensure_placeholder(host, [app()], NOW).changed

    def test_directory_in_place_of_the_link(self, host: store.Host) -> None:
        os.makedirs(host.link("api"))
        with pytest.raises(CertificateError, match="is a directory, not a symbolic link; move it away"):
            store.ensure_placeholder(host, [app()], NOW)

    def test_provided(self, host: store.Host, authority: Authority) -> None:
        first, second = authority.pair("api.example.test", left=20), authority.pair("api.example.test")
        given = app(tls="provided", chain_pem=first.chain, key_pem=first.key)
        outcome = store.ensure_placeholder(host, [given], NOW)
        assert outcome.changed
        assert outcome.warnings == ['app "api": the provided certificate expires in 20 days; provide a new one']
        assert not store.ensure_placeholder(host, [given], NOW).changed
        renewed = replace(given, chain_pem=second.chain, key_pem=second.key)
        assert "another certificate" in store.ensure_placeholder(host, [renewed], NOW).actions[0]
        assert pathlib.Path(host.link("api"), "privkey.pem").read_text() == second.key

    def test_bad_provided_certificate_stops_before_anything_is_written(
        self, host: store.Host, authority: Authority, tmp_path: pathlib.Path
    ) -> None:
        bad = app("bad", tls="provided", chain_pem=authority.pair("bad.example.test").chain, key_pem="nonsense")
        with pytest.raises(CertificateError, match='app "bad"'):
            store.ensure_placeholder(host, [app("api"), bad], NOW)
        assert snapshot(tmp_path) == {}


class TestLineage:
    def of(self, authority: Authority, *names: str, server: str = DIRECTORY, left: float = 89) -> issue.Lineage:
        pair = authority.pair(*names, left=left, age=90 - left)
        return issue.Lineage(certificates.parse(pair.chain), renewal(server))

    @pytest.mark.parametrize(
        ("wanted", "reason"),
        [
            (app(), ""),
            (app("api", "api.example.test", "www.example.test"), "names "),
            (app(acme=Acme(DIRECTORY, key_type="rsa")), "key type ecdsa -> rsa"),
            (app(acme=Acme(certificates.LETS_ENCRYPT)), f"CA {DIRECTORY} -> {certificates.LETS_ENCRYPT}"),
            (app(acme=Acme(DIRECTORY, email="other@example.test")), ""),
        ],
    )
    def test_identity(self, authority: Authority, wanted: App, reason: str) -> None:
        reasons = issue.differences(self.of(authority, "api.example.test"), wanted, NOW)
        assert "; ".join(reasons).startswith(reason)
        assert bool(reasons) is bool(reason)

    def test_another_profile(self, authority: Authority, host: store.Host) -> None:
        lineage = self.of(authority, "api.example.test")
        short = app(acme=Acme(DIRECTORY, profile="shortlived"))
        assert issue.differences(lineage, short, NOW) == ["profile default -> shortlived"]
        assert "--preferred-profile shortlived" in " ".join(issue.certbot_command(host, short, lineage))
        had = replace(lineage, renewal=lineage.renewal + "preferred_profile = shortlived\n")
        assert not issue.differences(had, short, NOW)
        assert issue.differences(had, app(), NOW) == ["profile shortlived -> default"]

    @pytest.mark.parametrize(
        ("life", "percent", "days_left"), [(90, 33, 29.7), (45, 33, 14.85), (6, 33, 1.98), (64, 20, 12.8)]
    )
    def test_when_it_is_renewed(self, authority: Authority, life: float, percent: int, days_left: float) -> None:
        facts = certificates.parse(authority.pair("api.example.test", left=life - 1, age=1).chain)
        assert facts.renewal_seconds(percent) == int(days_left * 86400)

    def test_challenge_in_dns(self, authority: Authority, host: store.Host) -> None:
        acme = Acme(DIRECTORY, dns_plugin="dns-rfc2136", dns_propagation=5)
        wanted = app("api", "*.example.test", acme=acme)
        command = " ".join(issue.certbot_command(host, wanted, issue.Lineage(None, "")))
        assert (
            f"--authenticator dns-rfc2136 --dns-rfc2136-credentials {host.letsencrypt}/credentials/api.ini" in command
        )
        assert "--dns-rfc2136-propagation-seconds 5" in command
        assert "--webroot" not in command
        facts = certificates.parse(authority.pair("*.example.test").chain)
        assert not issue.differences(issue.Lineage(facts, renewal(DIRECTORY, authenticator="dns-rfc2136")), wanted, NOW)
        assert issue.differences(issue.Lineage(facts, renewal(DIRECTORY)), wanted, NOW) == [
            "challenge webroot -> dns-rfc2136"
        ]

    def test_challenge_that_nginx_does_not_answer(self, authority: Authority) -> None:
        facts = certificates.parse(authority.pair("api.example.test").chain)
        lineage = issue.Lineage(facts, renewal(DIRECTORY, authenticator="standalone"))
        assert issue.differences(lineage, app(), NOW) == ["challenge standalone -> webroot"]

    @pytest.mark.parametrize(("left", "reason"), [(30, ""), (10, "renewal overdue"), (-1, "expired on")])
    def test_age(self, authority: Authority, left: float, reason: str) -> None:
        reasons = issue.differences(self.of(authority, "api.example.test", left=left), app(), NOW)
        assert "; ".join(reasons).startswith(reason)
        assert bool(reasons) is bool(reason)

    def test_order_of_domains_does_not_matter(self, authority: Authority) -> None:
        lineage = self.of(authority, "b.example.test", "a.example.test")
        assert not issue.differences(lineage, app("api", "a.example.test", "b.example.test"), NOW)

    def test_first_command(self, host: store.Host) -> None:
        wanted = app("api", "api.example.test", "www.example.test", acme=Acme(DIRECTORY, email="ops@example.test"))
        command = issue.certbot_command(host, wanted, issue.Lineage(None, ""))
        assert command[2:] == [
            *("certonly", "--non-interactive", "--cert-name", "api", "--server", DIRECTORY, "--key-type", "ecdsa"),
            *(
                "--webroot",
                "--webroot-path",
                host.webroot,
                "--email",
                "ops@example.test",
                "--no-eff-email",
                "--agree-tos",
                "--no-directory-hooks",
            ),
            *("--domain", "api.example.test", "--domain", "www.example.test"),
        ]

    def test_address(self, host: store.Host) -> None:
        command = issue.certbot_command(host, app("api", "192.0.2.1", "a.example.test"), issue.Lineage(None, ""))
        assert command[-4:] == ["--ip-address", "192.0.2.1", "--domain", "a.example.test"]

    def test_further_command(self, host: store.Host, authority: Authority) -> None:
        command = issue.certbot_command(replace(host, agree_tos=False), app(), self.of(authority, "api.example.test"))
        assert {"--renew-with-new-domains", "--force-renewal", "--register-unsafely-without-email"} <= set(command)
        assert not {"--agree-tos", "--break-my-certs"} & set(command)

    def test_going_back_to_staging_has_to_be_allowed(self, host: store.Host, authority: Authority) -> None:
        staging = app(acme=Acme(certificates.LETS_ENCRYPT_STAGING))
        lineage = self.of(authority, "api.example.test", server=certificates.LETS_ENCRYPT)
        assert "--break-my-certs" in issue.certbot_command(host, staging, lineage)


ASK = "Ask for help or search for solutions at https://community.letsencrypt.org. See the logfile /x or re-run"
SSL_ERROR = f"""Saving debug log to /var/log/letsencrypt/letsencrypt.log
An unexpected error occurred:
requests.exceptions.SSLError: HTTPSConnectionPool(host='localhost', port=14000): Max retries exceeded with url: /dir \
(Caused by SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: \
self-signed certificate (_ssl.c:1029)')))
{ASK}
"""
LATE = SSL_ERROR.replace("self-signed certificate", "certificate has expired")
NO_NAME = f"""Saving debug log to /var/log/letsencrypt/letsencrypt.log
An unexpected error occurred:
requests.exceptions.ConnectionError: HTTPSConnectionPool(host='no.test', port=443): Max retries exceeded with url: /d \
(Caused by NameResolutionError("<urllib3.connection.HTTPSConnection object at 0x7f05abd138c0>: Failed to resolve \
'no.test' ([Errno -2] Name or service not known)"))
{ASK}
"""
CHALLENGES = f"""Saving debug log to /var/log/letsencrypt/letsencrypt.log
Requesting a certificate for a.example.test and b.example.test

Certbot failed to authenticate some domains (authenticator: webroot). The Certificate Authority reported these problems:
  Domain: a.example.test
  Type:   unauthorized
  Detail: Non-200 status code from HTTP:
  http://a.example.test/x returned 404

  Domain: b.example.test
  Type:   dns
  Detail: no such host

Hint: The Certificate Authority failed to download the temporary challenge files created by Certbot.

Some challenges have failed.
{ASK}
"""
CHALLENGES_SINCE_5_3 = CHALLENGES.replace("Domain:", "Identifier:")
NONCE = f"""Saving debug log to /var/log/letsencrypt/letsencrypt.log
An unexpected error occurred:
JWS has an invalid anti-replay nonce: aVOK0y
{ASK}
"""


class TestCause:
    @pytest.mark.parametrize(
        ("output", "expected", "unreachable"),
        [
            (NO_CA, "the CA at ca.example.test cannot be reached: Connection refused", True),
            (
                SSL_ERROR,
                "the CA at localhost:14000 cannot be reached: certificate verify failed: self-signed certificate; "
                "name its own authority in certbot_ca_bundle",
                True,
            ),
            (
                LATE,
                "the CA at localhost:14000 cannot be reached: certificate verify failed: certificate has expired; "
                "is this host's clock right?",
                True,
            ),
            (NO_NAME, "the CA at no.test:443 cannot be reached: Failed to resolve 'no.test'", True),
            (
                CHALLENGES,
                "a.example.test: Non-200 status code from HTTP: http://a.example.test/x returned 404 (unauthorized); "
                "b.example.test: no such host (dns)",
                False,
            ),
            (
                CHALLENGES_SINCE_5_3,
                "a.example.test: Non-200 status code from HTTP: http://a.example.test/x returned 404 (unauthorized); "
                "b.example.test: no such host (dns)",
                False,
            ),
            (NONCE, "JWS has an invalid anti-replay nonce: aVOK0y", False),
            (
                "An unexpected error occurred:\nacme.errors.ClientError: <Response [503]>\n" + ASK,
                "the CA answered 503 without a reason, as a proxy in front of one does that is down",
                False,
            ),
            ("Saving debug log to /x\nYou must agree to the terms\n", "You must agree to the terms", False),
            ("", "certbot said nothing; see /var/log/letsencrypt/letsencrypt.log", False),
        ],
    )
    def test_of_a_failure(self, output: str, expected: str, unreachable: bool) -> None:
        assert issue.cause(output) == expected
        assert issue.unreachable(output) is unreachable

    def test_answer_that_debian_12_masks(self, host: store.Host, tmp_path: pathlib.Path) -> None:
        log = tmp_path / "letsencrypt.log"
        log.write_text(
            "acme.messages.Error: urn:ietf:params:acme:error:badNonce :: The client sent :: JWS has an invalid one\n\n"
            "acme.messages.Error: urn:ietf:params:acme:error:rateLimited :: There were too many requests "
            ":: too many failed authorizations recently\n\nDuring handling of the above exception\n"
            "AttributeError: can't set attribute\n"
        )
        said = f"Saving debug log to {log}\nAn unexpected error occurred:\nAttributeError: can't set attribute\n{ASK}\n"
        completed = issue.run_certbot(replace(host, run=lambda *_: store.Completed(1, said)), ["certbot"])
        assert issue.cause(completed.output) == "too many failed authorizations recently (rateLimited)"

    def test_nonce_that_debian_12_masks_is_tried_again(self, host: store.Host, tmp_path: pathlib.Path) -> None:
        log = tmp_path / "letsencrypt.log"
        log.write_text("acme.messages.Error: urn:ietf:params:acme:error:badNonce :: The client sent :: JWS has one\n")
        answers = [
            store.Completed(1, f"Saving debug log to {log}\nAttributeError: can't set attribute\n"),
            store.Completed(0, ""),
        ]
        assert issue.run_certbot(replace(host, run=lambda *_: answers.pop(0)), ["certbot"], lambda _: None).rc == 0

    def test_waits_while_certbot_runs_already(self, host: store.Host) -> None:
        answers = [store.Completed(1, "Another instance of Certbot is already running."), store.Completed(0, "")]
        waited: list[float] = []
        completed = issue.run_certbot(replace(host, run=lambda *_: answers.pop(0)), ["certbot"], waited.append)
        assert completed.rc == 0
        assert len(waited) == 1


class TestIssued:
    def run(self, host: store.Host, *apps: App, **more: t.Any) -> store.Outcome:
        return issue.ensure_issued(host, apps, NOW, **more)

    def test_issue_and_serve(self, host: store.Host, programs: Programs) -> None:
        start(host, programs, app("api"), app("own", tls="selfsigned"))
        outcome = self.run(replace(host, ca_bundle="/etc/ca.pem"), app("api"), app("own", tls="selfsigned"))
        assert outcome.issued == ["api"]
        assert not outcome.errors
        assert programs.environment == {"REQUESTS_CA_BUNDLE": "/etc/ca.pem"}
        assert programs.nginx.reloads == 1
        assert store.table(host, [app()])["api"]["kind"] == "letsencrypt"
        assert sorted(os.listdir(host.store)) == ["_ca", "ca.pem", "own"]

    def test_nothing_to_do_asks_nobody(self, host: store.Host, programs: Programs) -> None:
        start(host, programs, app())
        self.run(host, app())
        programs.calls.clear()
        outcome = self.run(host, app(), timer="certbot.timer")
        assert not outcome.changed
        assert [call[1] for call in programs.calls] == ["show"]

    def test_added_domain_is_issued_once(self, host: store.Host, programs: Programs) -> None:
        start(host, programs, app())
        self.run(host, app())
        more = app("api", "api.example.test", "www.example.test")
        programs.nginx.sites["www.example.test"] = "api"
        assert self.run(host, more).issued == ["api"]
        assert not self.run(host, more).changed
        assert len(programs.asked("certonly")) == 2

    def test_ca_down_is_asked_once_and_the_sites_stay(self, host: store.Host, programs: Programs) -> None:
        programs.account_problem = NO_CA
        start(host, programs, app("api"), app("web"))
        outcome = self.run(host, app("api"), app("web"))
        assert len(programs.asked("register")) == 1
        assert not programs.asked("certonly")
        assert len(outcome.errors) == 2
        assert outcome.errors[1].startswith(
            f'app "web": no certificate was issued for web.example.test by {DIRECTORY}: '
            "the CA at ca.example.test cannot be reached: Connection refused; it keeps its placeholder certificate"
        )
        assert not outcome.changed
        expected = wire.expected_on_wire(host, [app("api"), app("web")])
        assert not wire.wait_for(host, expected.fingerprints, 0)

    def test_new_certificates_are_issued_at_the_same_time(
        self, host: store.Host, programs: Programs, tmp_path: pathlib.Path
    ) -> None:
        apps = [app(f"app{number}") for number in range(issue.SIDE_BY_SIDE)]
        start(host, programs, *apps)
        programs.together = threading.Barrier(len(apps), timeout=10)  # broken unless all of them are asked for at once
        outcome = self.run(host, *apps)
        assert not outcome.errors
        assert outcome.issued == [each.name for each in apps]
        assert [call[1] for call in programs.calls if call[0] == "/bin/sh"][:2] == ["certbot", "certbot"]
        assert len(programs.asked("register")) == 1
        programs.together = None
        for each in apps:
            alone = renewal(DIRECTORY, host.webroot, live=host.live(each.name)).splitlines()[1:]
            assert pathlib.Path(host.renewal(each.name)).read_text().splitlines()[1:] == alone
            assert pathlib.Path(host.live(each.name), "fullchain.pem").resolve().parent == pathlib.Path(
                host.letsencrypt, "archive", each.name
            )
            assert pathlib.Path(host.logs, f"{each.name}.log").read_text() == f"asked for {each.name}\n"
        assert sorted(os.listdir(host.letsencrypt)) == ["accounts", "archive", "live", "renewal"]
        assert not self.run(host, *apps).changed

    def test_refusal_by_the_authority_holds_for_those_that_wait_their_turn(
        self, host: store.Host, programs: Programs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(issue, "SIDE_BY_SIDE", 1)
        apps = [app("api"), app("web"), app("one")]
        programs.certbot_problems = {"api": NO_CA, "web": NO_CA, "one": NO_CA}
        start(host, programs, *apps)
        assert len(self.run(host, *apps).errors) == 3
        assert len(programs.asked("certonly")) == 1

    def test_credentials_for_dns_are_at_hand(self, host: store.Host, programs: Programs) -> None:
        apps = [
            app(name, acme=Acme(directory=DIRECTORY, dns_plugin="dns-rfc2136"), credentials="key = 1\n")
            for name in ("api", "web")
        ]
        programs.authenticator = "dns-rfc2136"
        start(host, programs, *apps)
        assert self.run(host, *apps).issued == ["api", "web"]
        for call in programs.asked("certonly"):
            assert issue.ASIDE in call[call.index("--dns-rfc2136-credentials") + 1]
        assert programs.credentials == ["key = 1\n", "key = 1\n"]

    def test_a_second_pair_of_new_apps_uses_the_account(self, host: store.Host, programs: Programs) -> None:
        apps = [app("api"), app("web"), app("one"), app("two")]
        start(host, programs, *apps)
        self.run(host, *apps[:2])
        assert self.run(host, *apps).issued == ["one", "two"]

    def test_only_what_nobody_works_in_any_more_is_swept(
        self, host: store.Host, programs: Programs, tmp_path: pathlib.Path
    ) -> None:
        start(host, programs, app())
        old, young = (programs.letsencrypt / f"{issue.ASIDE}{name}" for name in ("old", "young"))
        for left in (old, young):
            left.mkdir(parents=True)
            (left / "privkey.pem").write_text("key")
        os.utime(old, (0, 0))
        self.run(host, app())
        assert not old.exists()
        assert young.exists()

    def test_one_failure_leaves_the_others_going(self, host: store.Host, programs: Programs) -> None:
        programs.certbot_problems = {"api": "Domain: api.example.test\nType: dns\nDetail: no such host\n"}
        start(host, programs, app("api"), app("web"))
        outcome = self.run(host, app("api"), app("web"))
        assert outcome.issued == ["web"]
        assert len(outcome.errors) == 1
        assert "api.example.test: no such host (dns)" in outcome.errors[0]
        assert store.table(host, [app("api"), app("web")])["web"]["kind"] == "letsencrypt"

    def test_success_without_a_certificate_is_a_failure(
        self, host: store.Host, programs: Programs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        start(host, programs, app())
        monkeypatch.setattr(programs, "_issue", lambda _command: store.Completed(0, "Certificate not yet due"))
        assert "certbot reported success, but" in self.run(host, app()).errors[0]

    def test_lost_reload_is_caught_up(self, host: store.Host, programs: Programs, authority: Authority) -> None:
        start(host, programs, app())
        self.run(host, app())
        programs.put("api", authority.pair("api.example.test"))
        outcome = self.run(host, app())
        assert outcome.actions == [wire.RELOADED]
        assert not outcome.errors
        assert not self.run(host, app()).changed

    def test_reload_that_does_not_help_names_the_domain(
        self, host: store.Host, programs: Programs, authority: Authority
    ) -> None:
        start(host, programs, app())
        self.run(host, app())
        programs.put("api", authority.pair("api.example.test"))
        programs.nginx.deaf = True
        errors = self.run(host, app()).errors
        assert len(errors) == 1
        assert errors[0].startswith('app "api": api.example.test is served with another certificate')

    def test_domain_that_nginx_does_not_know(self, host: store.Host, programs: Programs) -> None:
        start(host, programs, app())
        del programs.nginx.sites["api.example.test"]
        assert "no TLS answer for api.example.test" in self.run(host, app()).errors[0]

    def test_broken_nginx_keeps_the_former_certificate(self, host: store.Host, programs: Programs) -> None:
        start(host, programs, app())
        former = os.readlink(host.link("api"))
        programs.nginx_problem = "nginx: [emerg] unknown directive"
        outcome = self.run(host, app())
        assert "unknown directive" in outcome.errors[0]
        assert os.readlink(host.link("api")) == former
        assert store.usable(former)
        assert programs.nginx.reloads == 0
        programs.nginx_problem = ""
        store.ensure_placeholder(host, [app()], NOW)
        assert not self.run(host, app()).errors
        assert len(programs.asked("certonly")) == 1

    def test_moved_webroot_asks_nobody(self, host: store.Host, programs: Programs, tmp_path: pathlib.Path) -> None:
        start(host, programs, app())
        self.run(host, app())
        moved = replace(host, webroot=str(tmp_path / "elsewhere"))
        predicted = self.run(moved, app(), check=True)
        assert predicted.actions == [f"api: webroot_path {host.webroot} -> {moved.webroot}"]
        assert self.run(moved, app()) == predicted
        text = pathlib.Path(host.renewal("api")).read_text()
        before = f"renew_before_expiry = {90 * 86400 * 33 // 100} seconds"
        wanted = renewal(DIRECTORY, moved.webroot, live=host.live("api"))
        assert text == wanted.replace("# renew_before_expiry = 30 days", before)
        assert not self.run(moved, app()).changed
        assert len(programs.asked("certonly")) == 1

    def test_renewal_follows_the_life_of_the_certificate(
        self, host: store.Host, programs: Programs, authority: Authority
    ) -> None:
        start(host, programs, app())
        self.run(host, app())
        programs.put("api", authority.pair("api.example.test", left=44))
        programs.nginx.reload()
        outcome = self.run(host, app())
        assert outcome.actions == [
            f"api: renew_before_expiry {90 * 86400 * 33 // 100} seconds -> {45 * 86400 * 33 // 100} seconds"
        ]
        assert not self.run(host, app()).changed
        assert self.run(replace(host, renew_left=50), app()).changed

    def test_credentials_for_dns(self, host: store.Host, programs: Programs) -> None:
        named = app(acme=Acme(DIRECTORY, dns_plugin="dns-rfc2136"), credentials="secret = hunter2\n")
        start(host, programs, named)
        programs.authenticator = "dns-rfc2136"
        predicted = self.run(host, named, check=True)
        done = self.run(host, named)
        assert predicted == done
        assert done.actions[0] == "api: credentials for DNS written"
        assert "hunter2" not in repr(done) + repr(named)
        path = pathlib.Path(host.credentials("api"))
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert not self.run(host, named).changed
        path.chmod(0o644)
        assert self.run(host, named).actions == ["api: credentials for DNS written"]
        programs.authenticator = "webroot"
        assert self.run(host, app()).actions[0] == "api: credentials for DNS removed"
        assert not path.exists()

    def test_account_is_bound_by_a_file_that_goes_again(
        self, host: store.Host, programs: Programs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bound = app(acme=Acme(DIRECTORY, eab_kid="kid-1", eab_hmac_key="hunter2", preflight=False))
        start(host, programs, bound)
        read: list[tuple[str, int]] = []
        issued = programs._issue

        def look(command: list[str]) -> store.Completed:
            path = pathlib.Path(command[command.index("--config") + 1])
            read.append((path.read_text(), path.stat().st_mode & 0o777))
            return issued(command)

        monkeypatch.setattr(programs, "_issue", look)
        outcome = self.run(host, bound)
        assert read == [("eab-kid = kid-1\neab-hmac-key = hunter2\n", 0o600)]
        assert "hunter2" not in str(programs.calls) + repr(outcome) + repr(bound)
        (command,) = programs.asked("certonly")
        assert not os.path.exists(command[command.index("--config") + 1])

    def test_certbot_without_profiles(self, host: store.Host, programs: Programs) -> None:
        start(host, programs, app())
        programs.certbot_problems = {"api": "certbot: error: unrecognized arguments: --preferred-profile shortlived\n"}
        errors = self.run(host, app(acme=Acme(DIRECTORY, profile="shortlived", preflight=False))).errors
        assert "this certbot knows no profiles; set certbot_install_method: venv" in errors[0]

    def test_hook_that_stops_nginx(self, host: store.Host, programs: Programs) -> None:
        hooks = pathlib.Path(host.letsencrypt) / "renewal-hooks" / "pre"
        hooks.mkdir(parents=True)
        (hooks / "mail").write_text("#!/bin/sh\nsystemctl stop postfix\n")
        (hooks / "web").write_text("#!/bin/sh\nsystemctl stop nginx\n")
        start(host, programs, app())
        (warning,) = self.run(host, app()).warnings
        assert warning.startswith(f"{hooks}/web stops nginx")

    def test_without_certbot(self, host: store.Host, programs: Programs) -> None:
        start(host, programs, app())
        errors = self.run(replace(host, certbot=("/nonexistent/certbot",)), app()).errors
        assert "/nonexistent/certbot is not installed" in errors[0]

    @pytest.mark.parametrize("lost", ["renewal", "settings", "pair"])
    def test_damaged_lineage_is_set_aside(self, host: store.Host, programs: Programs, lost: str) -> None:
        start(host, programs, app())
        self.run(host, app())
        if lost == "renewal":
            os.unlink(host.renewal("api"))
        elif lost == "settings":
            pathlib.Path(host.renewal("api")).write_text("version = 4.0.0\n[renewalparams]\n")
        else:
            os.unlink(os.path.join(host.live("api"), "privkey.pem"))
            store.ensure_placeholder(host, [app()], NOW)
        outcome = self.run(host, app())
        assert outcome.issued == ["api"]
        assert not outcome.errors
        assert len(os.listdir(programs.letsencrypt / "damaged")) == 1
        assert not self.run(host, app()).changed

    def test_damaged_lineage_still_serves_when_the_ca_is_down(self, host: store.Host, programs: Programs) -> None:
        start(host, programs, app())
        self.run(host, app())
        before = store.in_use(host, "api").certificate
        os.unlink(host.renewal("api"))
        programs.certbot_problems = {"api": NO_CA}
        assert self.run(host, app()).errors
        assert store.in_use(host, "api").certificate == before
        assert not store.ensure_placeholder(host, [app()], NOW).changed

    def test_unreadable_lineage_is_stood_in_for_when_the_ca_is_down(self, host: store.Host, programs: Programs) -> None:
        start(host, programs, app())
        self.run(host, app())
        pathlib.Path(host.live("api"), "privkey.pem").write_text("damaged")
        programs.certbot_problems = {"api": NO_CA}
        outcome = self.run(host, app())
        assert len(outcome.errors) == 1
        assert "it keeps its placeholder certificate" in outcome.errors[0]
        programs.nginx.test()

    def test_missing_certificate_is_reported(self, host: store.Host) -> None:
        outcome = self.run(host, app(tls="selfsigned"))
        assert 'app "api": there is no usable certificate' in outcome.errors[0]

    def test_absent_app(self, host: store.Host, programs: Programs, tmp_path: pathlib.Path) -> None:
        start(host, programs, app("api"), app("web", tls="selfsigned"))
        self.run(host, app("api"), app("web", tls="selfsigned"))
        gone = [app("api", present=False), app("web", tls="selfsigned", present=False)]
        kept = self.run(host, *gone)
        assert len(kept.errors) == 2
        assert 'app "api": its certificate is not removed: the configuration of nginx still names' in kept.errors[0]
        programs.nginx.sites.clear()
        predicted = self.run(host, *gone, check=True)
        assert predicted == self.run(host, *gone)
        assert [
            path for path in snapshot(tmp_path) if not path.endswith(("ca.pem", "attempts.jsonl")) and "_ca" not in path
        ] == []
        assert not self.run(host, *gone).changed

    def test_app_without_tls_keeps_its_lineage(self, host: store.Host, programs: Programs) -> None:
        start(host, programs, app())
        self.run(host, app())
        programs.nginx.sites.clear()
        assert self.run(host, app(tls="off")).actions == ["api: certificate removed"]
        assert store.usable(host.live("api"))

    def test_check_mode_predicts_what_the_run_does(
        self, host: store.Host, programs: Programs, tmp_path: pathlib.Path
    ) -> None:
        files = [issue.ManagedFile(str(tmp_path / "hooks" / "hook"), "#!/bin/sh\n", 0o755)]
        apps = (app("api"), app("web"))
        start(host, programs, *apps)
        before = snapshot(tmp_path)
        predicted = self.run(host, *apps, check=True, files=files)
        assert snapshot(tmp_path) == before
        assert not programs.asked("certonly")
        assert predicted == self.run(host, *apps, files=files)
        assert not self.run(host, *apps, check=True, files=files).changed

    def test_check_mode_on_a_fresh_host(self, host: store.Host, tmp_path: pathlib.Path) -> None:
        programs_gone = replace(host, port=1, run=lambda *_: store.Completed(127, "not found"))
        outcome = self.run(programs_gone, app("api"), app("own", tls="selfsigned"), check=True, timer="certbot.timer")
        assert outcome.issued == ["api"]
        assert not outcome.errors
        assert snapshot(tmp_path) == {}

    def test_check_mode_before_anything_is_installed(
        self, host: store.Host, authority: Authority, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(making, "AVAILABLE", False)
        nothing = replace(host, port=1, run=lambda *_: store.Completed(127, "not found"))
        pair = authority.pair("given.example.test")
        apps = [app("api"), app("own", tls="selfsigned")]
        apps.append(app("given", tls="provided", chain_pem=pair.chain, key_pem=pair.key))
        assert len(store.ensure_placeholder(nothing, apps, NOW, check=True).actions) == 3
        assert self.run(nothing, *apps, check=True).issued == ["api"]
        with pytest.raises(CertificateError, match="install python3-cryptography"):
            store.ensure_placeholder(nothing, apps, NOW)

    def test_check_mode_leaves_a_kept_lineage_to_the_phase_before(self, host: store.Host, programs: Programs) -> None:
        start(host, programs, app())
        self.run(host, app())
        self.run(host, app(tls="off"))
        programs.nginx.sites.clear()
        self.run(host, app(tls="off"))
        assert store.ensure_placeholder(host, [app()], NOW, check=True).changed
        assert not self.run(host, app(), check=True, nginx_reloads=True).changed
        start(host, programs, app())
        assert not self.run(host, app()).changed

    def test_check_mode_predicts_the_reload_for_a_replaced_certificate(
        self, host: store.Host, programs: Programs, authority: Authority
    ) -> None:
        old, new = authority.pair("api.example.test"), authority.pair("api.example.test")
        start(host, programs, app(tls="provided", chain_pem=old.chain, key_pem=old.key))
        renewed = app(tls="provided", chain_pem=new.chain, key_pem=new.key)
        predicted = self.run(host, replace(renewed, key_pem=""), check=True)
        assert predicted.actions == [wire.RELOADED]
        assert not self.run(host, replace(renewed, key_pem=""), check=True, nginx_reloads=True).changed
        store.ensure_placeholder(host, [renewed], NOW)
        assert self.run(host, replace(renewed, key_pem="")) == predicted

    def test_files_and_timer(self, host: store.Host, programs: Programs, tmp_path: pathlib.Path) -> None:
        start(host, programs, app())
        hook, dropin = tmp_path / "hooks" / "hook", tmp_path / "systemd" / "wsgi.conf"
        files = [issue.ManagedFile(str(hook), "#!/bin/sh\n", 0o755), issue.ManagedFile(str(dropin), OWN)]
        programs.timer = "LoadState=loaded\nActiveState=inactive\nUnitFileState=disabled\n"
        self.run(host, app(), files=files, timer="certbot.timer")
        assert hook.stat().st_mode & 0o777 == 0o755
        assert dropin.read_text() == OWN
        assert programs.asked("daemon-reload")
        assert programs.asked("enable") == [["systemctl", "enable", "--now", "certbot.timer"]]
        outcome = self.run(host, app(), files=[files[0], issue.ManagedFile(str(dropin), "")])
        assert outcome.actions == [f"{dropin} removed"]
        assert not dropin.exists()
        dropin.write_text("# somebody's own\n")
        assert not self.run(host, app(), files=[files[0], issue.ManagedFile(str(dropin), "")]).changed

    def test_without_letsencrypt_certbot_is_left_alone(self, host: store.Host, programs: Programs) -> None:
        own = app(tls="selfsigned")
        start(host, programs, own)
        outcome = self.run(host, own, files=[issue.ManagedFile("/nonexistent", "x")], timer="certbot.timer")
        assert not outcome.changed
        assert not programs.calls

    def test_watch_is_for_certificates_of_every_kind(
        self, host: store.Host, programs: Programs, tmp_path: pathlib.Path
    ) -> None:
        own = app(tls="selfsigned")
        start(host, programs, own)
        timer = tmp_path / "systemd" / "watch.timer"
        programs.timer = "LoadState=loaded\nActiveState=inactive\nUnitFileState=disabled\n"
        files = [issue.ManagedFile(str(timer), OWN, always=True), issue.ManagedFile("/nonexistent", "x")]
        assert len(self.run(host, own, files=files, watch="watch.timer").actions) == 2
        assert programs.asked("enable") == [["systemctl", "enable", "--now", "watch.timer"]]
        assert self.run(host, own, files=[replace(files[0], content="")]).actions == [f"{timer} removed"]
        assert programs.asked("disable") == [["systemctl", "disable", "--now", "watch.timer"]]

    def test_missing_timer_is_an_error(self, host: store.Host, programs: Programs) -> None:
        start(host, programs, app())
        programs.timer = "LoadState=not-found\nActiveState=inactive\nUnitFileState=\n"
        assert "certbot.timer is not there" in self.run(host, app(), timer="certbot.timer").errors[0]


def test_nearly_full_disk_leaves_what_was_there(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "file"
    store.replace_file(str(path), "before", 0o644)
    script = (
        "import resource, signal\n"
        "from ansible_collections.webops.wsgi.plugins.module_utils import certificate_store\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        f"certificate_store.replace_file({str(path)!r}, 'x' * 2000, 0o644)\n"
    )
    path_of_collections = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONPATH": path_of_collections}, capture_output=True, text=True
    )
    assert f"File too large: '{tmp_path}/.file.new'" in done.stderr
    assert path.read_text() == "before"


class TestForgottenAccount:
    URL = "https://ca.example.test:14000/my-account/35de"
    SAYS = f"Saving debug log to /x\nAn unexpected error occurred:\nAccount {URL} not found.\n{ASK}\n"

    def forget(self, host: store.Host, programs: Programs, url: str = URL) -> pathlib.Path:
        """Have an account that the authority does not know, for two certificates."""
        account = pathlib.Path(host.letsencrypt) / "accounts/ca.example.test:14000/dir/0123"
        account.mkdir(parents=True)
        (account / "regr.json").write_text(f'{{"body": {{}}, "uri": "{url}"}}')
        programs.account = account
        return account

    @pytest.mark.parametrize("names", [["api"], ["api", "web", "one"]])
    def test_a_new_one_is_made(self, host: store.Host, programs: Programs, names: list[str]) -> None:
        apps = [app(name) for name in names]
        start(host, programs, *apps)
        account = self.forget(host, programs)
        programs.put("old", programs.authority.pair("old.example.test"), options="account = 0123\n")
        outcome = issue.ensure_issued(host, apps, NOW)
        assert (sorted(outcome.issued), outcome.errors) == (sorted(names), [])
        assert not account.exists()
        (aside,) = pathlib.Path(host.letsencrypt, "damaged").glob("account-*/0123/regr.json")
        assert self.URL in aside.read_text()
        assert "account =" not in store.read_text(host.renewal("old"))
        assert not issue.ensure_issued(host, apps, NOW).changed

    def test_another_one_stays(self, host: store.Host, programs: Programs) -> None:
        start(host, programs, app())
        account = self.forget(host, programs, self.URL[:-1])
        (error,) = issue.ensure_issued(host, [app()], NOW).errors
        assert f"Account {self.URL} not found" in error
        assert account.exists()


class TestFallbacks:
    SECOND = "https://other.example.test/dir"
    LIMITED = "urn:ietf:params:acme:error:rateLimited :: There were too many requests :: too many new orders"
    BAD_DOMAIN = "  Domain: api.example.test\n  Type:   dns\n  Detail: no such name\n\n"

    def of_two(self, *names: str) -> list[App]:
        second = certificates.Authority(self.SECOND, ca_bundle="/etc/second.pem")
        return [app(name, acme=Acme(DIRECTORY, fallbacks=(second,), preflight=False)) for name in names]

    def run(self, host: store.Host, *apps: App) -> store.Outcome:
        return issue.ensure_issued(host, apps, NOW)

    BUSY = "An unexpected error occurred:\nacme.errors.ClientError: <Response [429]>\n"

    @pytest.mark.parametrize("said", [NO_CA, LIMITED, BUSY])
    def test_the_next_is_asked_and_its_certificate_stays(self, host: store.Host, programs: Programs, said: str) -> None:
        apps = self.of_two("api")
        start(host, programs, *apps)
        programs.refusals = {DIRECTORY: said}
        outcome = self.run(replace(host, ca_bundle="/etc/first.pem"), *apps)
        assert (outcome.issued, outcome.errors) == (["api"], [])
        assert issue.read_lineage(host, "api").server == self.SECOND
        assert programs.environment == {"REQUESTS_CA_BUNDLE": "/etc/second.pem"}
        assert outcome.warnings[0].startswith(f'app "api": its certificate is by {self.SECOND}, not by {DIRECTORY}: ')
        assert f"issued by {self.SECOND}" in outcome.actions[0]
        programs.calls.clear()
        again = self.run(host, *apps)
        assert not again.changed
        assert programs.calls == []

    def test_each_authority_has_limits_of_its_own(self, host: store.Host, programs: Programs) -> None:
        apps = self.of_two("api")
        start(host, programs, *apps)
        programs.refusals = {DIRECTORY: self.LIMITED}
        self.run(host, *apps)
        noted = [(each.directory, bool(each.failed)) for each in Ledger(host.ledger).attempts()]
        assert noted == [(DIRECTORY, True), (self.SECOND, False)]

    def test_limits_without_a_reason_are_the_authority_s(self, host: store.Host, programs: Programs) -> None:
        start(host, programs, app())
        programs.refusals = {DIRECTORY: self.BUSY}
        self.run(host, app())
        programs.refusals.clear()
        assert self.run(replace(host, max_failures=1), *self.of_two("api")).issued == ["api"]
        assert issue.read_lineage(host, "api").server == self.SECOND

    def test_limits_reached_at_the_first_are_a_refusal(self, host: store.Host, programs: Programs) -> None:
        apps = self.of_two("api")
        start(host, programs, *apps)
        Ledger(host.ledger).note(Attempt(NOW.timestamp(), DIRECTORY, ("api.example.test",)))
        assert self.run(replace(host, max_certificates=1), *apps).issued == ["api"]
        assert [call[call.index("--server") + 1] for call in programs.asked("certonly")] == [self.SECOND]

    def test_a_domain_that_fails_is_asked_for_nowhere_else(self, host: store.Host, programs: Programs) -> None:
        apps = self.of_two("api")
        start(host, programs, *apps)
        programs.certbot_problems = {"api": self.BAD_DOMAIN}
        for _run in range(2):
            (error,) = self.run(replace(host, max_failures=1), *apps).errors
            assert "no such name (dns)" in error
            assert self.SECOND not in error
        assert len(programs.asked("certonly")) == 1

    def test_when_all_refuse_each_is_named(self, host: store.Host, programs: Programs) -> None:
        apps = self.of_two("api")
        start(host, programs, *apps)
        programs.refusals = {DIRECTORY: NO_CA, self.SECOND: self.LIMITED}
        (error,) = self.run(host, *apps).errors
        assert f"by {DIRECTORY}: the CA at ca.example.test cannot be reached" in error
        assert f"by {self.SECOND}: too many new orders (rateLimited)" in error

    def test_many_new_ones(self, host: store.Host, programs: Programs) -> None:
        apps = self.of_two("api", "web", "one")
        start(host, programs, *apps)
        programs.refusals = {DIRECTORY: NO_CA}
        outcome = self.run(host, *apps)
        assert (outcome.issued, outcome.errors) == (["api", "web", "one"], [])

    @pytest.mark.parametrize(("age", "left", "asked"), [(20, 70, False), (40, 50, True)])
    def test_the_first_is_tried_again_before_the_timer_renews(
        self, host: store.Host, programs: Programs, authority: Authority, age: float, left: float, asked: bool
    ) -> None:
        apps = self.of_two("api")
        programs.put("api", authority.pair("api.example.test", age=age, left=left), self.SECOND)
        start(host, programs, *apps)
        self.run(replace(host, renew_left=33), *apps)
        assert bool(programs.asked("certonly")) is asked
        assert issue.read_lineage(host, "api").server == (DIRECTORY if asked else self.SECOND)

    def test_a_first_that_still_refuses_costs_nothing(
        self, host: store.Host, programs: Programs, authority: Authority
    ) -> None:
        apps = self.of_two("api")
        programs.put("api", authority.pair("api.example.test", age=40, left=50), self.SECOND)
        start(host, programs, *apps)
        programs.refusals = {DIRECTORY: NO_CA}
        outcome = self.run(host, *apps)
        assert outcome.errors == outcome.issued == []
        assert "has stood in for" in outcome.warnings[0]


class TestRenamed:
    """An app under a new name keeps its certificate, and no authority is asked."""

    def both(self, host: store.Host, apps: t.Sequence[App], check: bool = False) -> list[store.Outcome]:
        """Run both phases as the module does."""
        adopted = adopt.adopt(host, apps, check)
        rest = [each for each in apps if not (check and issue.twin(host, each))]
        first = adopted.merge(store.ensure_placeholder(host, rest, NOW, check))
        return [first, issue.ensure_issued(host, apps, NOW, check=check, nginx_reloads=True)]

    def served(self, host: store.Host, programs: Programs) -> tuple[App, App]:
        before, after = app("api"), app("core", "api.example.test")
        start(host, programs, before)
        issue.ensure_issued(host, [before], NOW)
        programs.calls.clear()
        return before, after

    def test_takes_over(self, host: store.Host, programs: Programs, tmp_path: pathlib.Path) -> None:
        before, after = self.served(host, programs)
        fingerprint = store.table(host, [before])["api"]["fingerprint"]
        programs.nginx.sites["api.example.test"] = "core"
        apps = [replace(before, present=False), after]
        untouched = snapshot(tmp_path)
        predicted = self.both(host, apps, check=True)
        assert snapshot(tmp_path) == untouched
        done = self.both(host, apps)
        assert done == predicted
        assert done[0].actions == ["core: the certificate of api taken over, which is for the same domains"]
        assert not programs.asked("certonly")
        assert store.table(host, [after])["core"]["fingerprint"] == fingerprint
        assert not any(outcome.changed for outcome in self.both(host, apps))
        renewal_text = pathlib.Path(host.renewal("core")).read_text()
        assert "live/core/cert.pem" in renewal_text
        assert "live/api" not in renewal_text

    def test_killed_before_certbot_knows_of_it(self, host: store.Host, programs: Programs) -> None:
        _before, after = self.served(host, programs)
        with pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.setattr(adopt, "replace_file", lambda *_: (_ for _ in ()).throw(Killed))
            with pytest.raises(Killed):
                adopt.adopt(host, [after], False)
        assert adopt.adopt(host, [after], False).changed
        assert not issue.differences(issue.read_lineage(host, "core"), after, NOW)

    @pytest.mark.parametrize(
        "other",
        [
            app("core", "api.example.test", "www.example.test"),
            app("core", "api.example.test", acme=Acme(DIRECTORY, key_type="rsa")),
            app("core", "api.example.test", acme=Acme(certificates.LETS_ENCRYPT)),
            app("core", "api.example.test", tls="selfsigned"),
        ],
    )
    def test_takes_over_nothing_else(self, host: store.Host, programs: Programs, other: App) -> None:
        self.served(host, programs)
        assert not adopt.adopt(host, [other], False).changed


class TestClearance:
    """A domain that the authority could not reach is not asked for; what was asked too often is not asked again."""

    @pytest.fixture(autouse=True)
    def seen(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
        """Return what the preflight sees: nothing wrong, unless a test adds it."""
        seen: dict[str, str] = {}
        monkeypatch.setattr(
            preflight, "look", lambda domains, *_: {domain: seen[domain] for domain in domains if domain in seen}
        )
        return seen

    def apps(self, holds_back: str) -> list[App]:
        acme = Acme(DIRECTORY, holds_back=holds_back)
        return [app("api", "api.example.test", "www.example.test", acme=acme), app("web", acme=Acme(DIRECTORY))]

    def run(self, host: store.Host, apps: t.Sequence[App], now: datetime.datetime = NOW) -> store.Outcome:
        return issue.ensure_issued(host, apps, now)

    @pytest.mark.parametrize(
        ("holds_back", "issued", "kinds"),
        [
            ("app", ["web"], ["placeholder", "letsencrypt"]),
            ("domain", ["api", "web"], ["letsencrypt", "letsencrypt"]),
            ("host", [], ["placeholder", "placeholder"]),
        ],
    )
    def test_what_a_failing_domain_holds_back(
        self,
        host: store.Host,
        programs: Programs,
        seen: dict[str, str],
        holds_back: str,
        issued: list[str],
        kinds: t.Any,
    ) -> None:
        apps = self.apps(holds_back)
        start(host, programs, *apps)
        seen["www.example.test"] = "no DNS: NXDOMAIN"
        outcome = self.run(host, apps)
        assert outcome.issued == issued
        assert [row["kind"] for row in store.table(host, apps).values()] == kinds
        assert len(programs.asked("certonly")) == len(issued)
        assert "www.example.test: no DNS: NXDOMAIN" in outcome.errors[0]
        again = self.run(host, apps)
        assert not again.issued
        assert len(again.errors) == len(outcome.errors)
        assert not again.changed
        del seen["www.example.test"]
        mended = self.run(host, apps)
        assert not mended.errors
        assert store.table(host, apps)["api"]["domains"] == ["api.example.test", "www.example.test"]
        assert not self.run(host, apps).changed

    def test_app_without_preflight_is_asked_for(
        self, host: store.Host, programs: Programs, seen: dict[str, str]
    ) -> None:
        start(host, programs, app())
        seen["api.example.test"] = "404"
        assert self.run(host, [app()]).issued == ["api"]

    @pytest.mark.parametrize("word", ["Domain", "Identifier"])
    @pytest.mark.parametrize("domain", ["api.example.test", "*.api.example.test"])
    def test_broken_set_up_is_asked_for_three_times_an_hour(
        self, host: store.Host, programs: Programs, word: str, domain: str
    ) -> None:
        wanted = app("api", domain, acme=Acme(DIRECTORY, preflight=False))
        start(host, programs, wanted)
        programs.certbot_problems = {"api": f"{word}: api.example.test\nType: connection\nDetail: firewall\n"}
        for minutes in range(0, 50, 5):
            errors = self.run(host, [wanted], NOW + datetime.timedelta(minutes=minutes)).errors
            assert "firewall (connection)" in errors[0]
        assert len(programs.asked("certonly")) == 3
        assert f"asked again from {NOW + datetime.timedelta(hours=1):%Y-%m-%d %H:%M} UTC" in errors[0]
        self.run(host, [wanted], NOW + datetime.timedelta(minutes=61))
        assert len(programs.asked("certonly")) == 4
        self.run(replace(host, max_failures=0), [wanted], NOW + datetime.timedelta(minutes=62))
        assert len(programs.asked("certonly")) == 5

    def test_authority_that_was_not_reached_counts_nothing(self, host: store.Host, programs: Programs) -> None:
        wanted = app(acme=Acme(DIRECTORY))
        start(host, programs, wanted)
        for said in (NO_CA, "You must agree to the terms of service"):
            programs.certbot_problems = {"api": said}
            for _number in range(5):
                self.run(host, [wanted])
        assert len(programs.asked("certonly")) == 10

    def test_lock_out_is_waited_for(self, host: store.Host, programs: Programs) -> None:
        wanted = app(acme=Acme(DIRECTORY))
        start(host, programs, wanted)
        ends = (NOW + days(2)).strftime("%Y-%m-%d %H:%M:%S")
        programs.certbot_problems = {
            "api": "An unexpected error occurred:\ntoo many certificates (5) already issued for this exact set of "
            f"identifiers in the last 168h0m0s, retry after {ends} UTC: see https://letsencrypt.org/docs/rate-limits/\n"
        }
        assert "too many certificates" in self.run(host, [wanted]).errors[0]
        programs.certbot_problems.clear()
        assert "not to ask again before" in self.run(host, [wanted], NOW + days(1)).errors[0]
        assert len(programs.asked("certonly")) == 1
        assert self.run(host, [wanted], NOW + days(2.1)).issued == ["api"]

    def test_same_names_again_and_again(self, host: store.Host, programs: Programs) -> None:
        wanted = app(acme=Acme(DIRECTORY))
        start(host, programs, wanted)
        for _number in range(6):
            outcome = self.run(host, [wanted])
            shutil.rmtree(programs.letsencrypt, ignore_errors=True)
        assert len(programs.asked("certonly")) == 4
        assert "4 certificates for exactly these names were issued within 7 days" in outcome.errors[0]

    def test_clock_that_was_ahead(self, host: store.Host, programs: Programs) -> None:
        wanted = app(acme=Acme(DIRECTORY))
        start(host, programs, wanted)
        programs.certbot_problems = {"api": "Domain: api.example.test\nType: connection\nDetail: firewall\n"}
        for _number in range(4):
            errors = self.run(host, [wanted], NOW + days(400)).errors
        assert "asked again from" in errors[0]
        programs.certbot_problems.clear()
        assert self.run(host, [wanted]).issued == ["api"]
        assert [each.at for each in Ledger(host.ledger).attempts()] == [NOW.timestamp()]

    def test_full_disk(self, host: store.Host, programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
        apps = [app("api"), app("web")]
        start(host, programs, *apps)
        monkeypatch.setattr(clearance, "ROOM", 1 << 62)
        errors = self.run(host, apps).errors
        assert re.search(r"by \S+: the disk of \S+ is full \(\d+ KiB are free\); make room; it keeps", errors[0])
        assert not programs.asked("certonly")
        monkeypatch.undo()
        assert self.run(host, apps).issued == ["api", "web"]

    def test_ledger_with_a_damaged_line(self, host: store.Host, programs: Programs) -> None:
        wanted = app(acme=Acme(DIRECTORY))
        start(host, programs, wanted)
        path = pathlib.Path(host.ledger)
        path.parent.mkdir()
        path.write_text('{"at": 1}\nnot JSON\n')
        assert self.run(host, [wanted]).issued == ["api"]
        assert len(path.read_text().splitlines()) == 1


class TestStatus:
    def problem(self, host: store.Host, *domains: str, later: float = 0) -> str:
        return certificate_status.problems(host, {"api": domains or ("api.example.test",)}, NOW + days(later))["api"]

    def test_what_is_said(self, host: store.Host, programs: Programs, authority: Authority) -> None:
        assert self.problem(host) == "none that can be used"
        start(host, programs, app())
        issue.ensure_issued(host, [app()], NOW)
        assert self.problem(host) == ""
        assert self.problem(host, later=60) == ""
        assert self.problem(host, later=70) == "21 % of its life left"
        assert self.problem(host, later=100).startswith("expired on")
        programs.nginx.sites["other.example.test"] = "api"
        programs.nginx.reload()
        assert self.problem(host, "other.example.test") == "not for other.example.test"
        programs.put("api", authority.pair("api.example.test"))
        assert self.problem(host) == "api.example.test shows another one than the one on disk"
        del programs.nginx.contexts["api.example.test"]
        assert self.problem(host).startswith("no TLS answer for api.example.test: ")


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


class TestKilled:
    """A run that ends at any of its effects leaves what nginx can load, and the next run finishes the job."""

    def apps(self, authority: Authority, later: bool) -> list[App]:
        domains = ("www.example.test",) if later else ()
        pair = authority.pair("given.example.test")
        return [
            app("api", "api.example.test", *domains),
            app("own", "own.example.test", *(f"own.{domain}" for domain in domains), tls="selfsigned"),
            app("given", tls="provided", chain_pem=pair.chain, key_pem=pair.key),
            app("new", present=later),
            app("newer", present=later),
            app("gone", tls="selfsigned", present=not later),
        ]

    def everything(self, host: store.Host, programs: Programs, apps: t.Sequence[App]) -> store.Outcome:
        """Run both phases, and in between what the role nginx_proxy does."""
        first = store.ensure_placeholder(host, apps, NOW)
        programs.nginx.sites = {domain: each.name for each in apps if each.served for domain in each.domains}
        programs.nginx.test()
        programs.nginx.reload()
        second = issue.ensure_issued(host, apps, NOW)
        second.actions += first.actions
        return second

    def kill_at(self, monkeypatch: pytest.MonkeyPatch, number: int) -> list[str]:
        """Have the effect of that number kill the run; return the list in which effects are noted."""
        effects: list[str] = []

        def guard(owner: t.Any, name: str) -> None:
            original = getattr(owner, name)

            def effect(*arguments: t.Any, **options: t.Any) -> t.Any:
                effects.append(f"{name} {arguments}")
                if len(effects) >= number:  # the dead do not tidy up
                    raise Killed
                return original(*arguments, **options)

            monkeypatch.setattr(owner, name, effect)

        for owner, names in ((os, ("rename", "symlink", "unlink", "fsync")), (store.shutil, ("rmtree",))):
            for name in names:
                guard(owner, name)
        return effects

    def test_at_every_effect(
        self, host: store.Host, programs: Programs, authority: Authority, tmp_path: pathlib.Path
    ) -> None:
        before, after = self.apps(authority, later=False), self.apps(authority, later=True)
        number = 0
        while True:
            number += 1
            for name in ("tls", "tls.d", "letsencrypt", "lib"):
                shutil.rmtree(tmp_path / name, ignore_errors=True)
            assert not self.everything(host, programs, before).errors
            with pytest.MonkeyPatch.context() as monkeypatch:
                effects = self.kill_at(monkeypatch, number)
                with contextlib.suppress(Killed):
                    self.everything(host, programs, after)
            programs.nginx.test()
            if len(effects) < number:
                break
            finished = self.everything(host, programs, after)
            assert not finished.errors, effects[-1]
            assert not self.everything(host, programs, after).changed, effects[-1]
            self.assert_tidy(host)
        assert number > 20

    def assert_tidy(self, host: store.Host) -> None:
        assert sorted(os.listdir(host.links)) == ["api", "given", "new", "newer", "own"]
        lineages = ["api", "new", "newer"]
        assert sorted(os.listdir(os.path.dirname(host.renewal("api")))) == [f"{name}.conf" for name in lineages]
        assert sorted(os.listdir(os.path.dirname(host.live("api")))) == lineages
        for left in pathlib.Path(host.letsencrypt).glob(issue.ASIDE + "*"):
            os.utime(left, (0, 0))
        issue.sweep(host)
        assert not list(pathlib.Path(host.letsencrypt).glob(".*"))
        assert sorted(os.listdir(host.store)) == ["_ca", "ca.pem", "given", "own"]
        for name in ("given", "own"):
            assert len(os.listdir(os.path.join(host.store, name))) == 1


def test_action_sends_only_what_concerns_certificates() -> None:
    given = {
        "name": "api",
        "state": "present",
        "domains": ["api.example.test"],
        "tls": "letsencrypt",
        "secrets": {"PASSWORD": "hunter2"},
        "env": {"A": "b"},
        "certificate": {"cert": "/a.pem", "key": "/a.key"},
        "certbot": {"email": "", "acme_directory": DIRECTORY, "future_setting": 1},
    }
    assert action.reduce_app(given) == {
        "name": "api",
        "state": "present",
        "domains": ["api.example.test"],
        "tls": "letsencrypt",
        "certbot": {"email": "", "acme_directory": DIRECTORY},
    }
    given["certbot"].update(challenge="dns-01", dns_plugin="dns-rfc2136", dns_credentials="/secret.ini")
    assert action.reduce_app(given)["certbot"]["dns_plugin"] == "dns-rfc2136"
    assert "secret.ini" not in str(action.reduce_app(given))
