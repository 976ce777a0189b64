# SPDX-License-Identifier: GPL-3.0-or-later
"""A certificate authority, nginx and certbot, as far as tests of certificates need them."""

from __future__ import annotations

import datetime
import pathlib
import re
import socket
import ssl
import threading
import typing as t

from ansible_collections.webops.wsgi.plugins.module_utils.certificates import issue as issue
from ansible_collections.webops.wsgi.plugins.module_utils.certificates import model, placement
from ansible_collections.webops.wsgi.plugins.module_utils.certificates import store as store
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme import lineage, setup
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.model import Acme, App, Pair
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
DIRECTORY = "https://ca.example.test:14000/dir"
OWN = f"# {setup.OURS}.\n[Service]\n"
NO_CA = (
    "An unexpected error occurred:\nValueError: Requesting ca.example.test/dir: Connection refused\nAsk for help or\n"
)
ASK = "Ask for help or search for solutions at https://community.letsencrypt.org. See the logfile /x or re-run"

CHOOSE = (
    "Missing command line flag or config entry for this setting:\nPlease choose an account\n"
    f"Choices: ['host@2026-11-28T17:35:44Z (7d18)', 'host@2026-11-28T17:35:45Z (b550)']\n{ASK}\n"
)

ACCOUNT = "https://ca.example.test:14000/my-account/35de"
FORGOTTEN = f"Saving debug log to /x\nAn unexpected error occurred:\nAccount {ACCOUNT} not found.\n{ASK}\n"


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


def renewal(
    server: str, webroot: str = "/var/www/acme", authenticator: str = "webroot", live: str = "", options: str = ""
) -> str:
    """Return a renewal configuration as certbot writes it."""
    return (
        f"# renew_before_expiry = 30 days\nversion = 4.0.0\ncert = {live or '/etc/letsencrypt/live/api'}/cert.pem\n\n"
        f"# Options used in the renewal process\n[renewalparams]\n{options}key_type = ecdsa\nserver = {server}\n"
        f"authenticator = {authenticator}\nwebroot_path = {webroot},\n[[webroot_map]]\napi.example.test = {webroot}\n"
    )


def lineage_of(authority: Authority, *names: str, server: str = DIRECTORY, left: float = 89) -> lineage.Lineage:
    """Return a lineage as certbot has it for a certificate of 90 days."""
    pair = authority.pair(*names, left=left, age=90 - left)
    return lineage.Lineage(model.parse(pair.chain), renewal(server))


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
            return store.Completed(1, FORGOTTEN)
        if "--account" not in command and len(list((self.letsencrypt / "accounts").glob("*/dir/*"))) > 1:
            return store.Completed(1, CHOOSE)
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
        leaf, *_issuers = model.blocks(pair.chain)
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


def start(host: store.Host, programs: Programs, *apps: App) -> None:
    """Bring a host to where it is before the phase `issued`: placeholders made, nginx serving them."""
    placement.ensure_placeholder(host, apps, NOW)
    programs.nginx.sites = {domain: each.name for each in apps if each.served for domain in each.domains}
    programs.nginx.reload()
    programs.nginx.reloads = 0


def issued(host: store.Host, *apps: App, **more: t.Any) -> store.Outcome:
    """Run the phase `issued`."""
    return issue.ensure_issued(host, apps, NOW, **more)


def snapshot(directory: pathlib.Path) -> dict[str, str]:
    """Return every file and link below a directory with its content."""
    found = {}
    for path in sorted(directory.rglob("*")):
        if path.is_symlink():
            found[str(path)] = f"-> {path.readlink()}"
        elif path.is_file():
            found[str(path)] = path.read_text()
    return found


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""
