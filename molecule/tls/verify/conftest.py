"""What the certificate authority saw."""

from __future__ import annotations

import base64
import datetime
import json
import os
import subprocess
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from testbed import labs

BIND_PORT = 5353
FICKLE = 14001  # port
NAMED = """
options {{ directory "/tmp/bind"; listen-on port {port} {{ any; }}; listen-on-v6 {{ none; }}; recursion no;
           pid-file none; session-keyfile none; dnssec-validation no; }};
key wsgi {{ algorithm hmac-sha256; secret "{secret}"; }};
zone "wild.test" {{ type primary; file "wild.test"; allow-update {{ key wsgi; }}; }};
"""
ZONE = """$TTL 1
@ SOA ns hostmaster 1 60 60 600 1
@ NS ns
ns A 127.0.0.1
"""


@dataclass(frozen=True)
class Seen:
    """What reached an authority since a mark was set.

    ``requests`` are of any kind, ``renewal_infos`` the questions when a certificate is to be renewed.
    """

    requests: int
    orders: int
    issued: int
    renewal_infos: int


@dataclass(frozen=True)
class Authority:
    """An ACME server in the container of the lab's authority, and the files that have its log and its root there."""

    container: str
    directory: str
    log: str = ""
    root: str = ""

    def _lines(self) -> list[str]:
        shown = ["docker", "exec", self.container, "cat", self.log] if self.log else ["docker", "logs", self.container]
        done = subprocess.run(shown, capture_output=True, text=True, check=True)
        return (done.stdout + done.stderr).splitlines()

    def mark(self) -> Callable[[], Seen]:
        """Begin to count; the function returned tells what has come since."""
        before = len(self._lines())

        def seen() -> Seen:
            lines = self._lines()[before:]
            requests = [line for line in lines if "-> calling handler()" in line]
            orders = [line for line in requests if "/order-plz" in line]
            return Seen(
                requests=len(requests),
                orders=len(orders),
                issued=sum("Issued certificate serial" in line for line in lines),
                renewal_infos=sum("renewalInfo" in line or "renewal-info" in line for line in requests),
            )

        return seen


@pytest.fixture(scope="session")
def authority(client) -> Authority:
    """The authority that the inventory names."""
    return Authority(client.container, labs.ACME_DIRECTORY)


def _another(client, port: int, edits: str = "", dns: int = 8053, **environment: int) -> Authority:
    """Start one more authority beside the lab's, and wait until it answers."""
    edits = f"s/:14000/:{port}/; s/:15000/:{port + 1000}/; {edits}"
    settings = {"PEBBLE_VA_NOSLEEP": 1, "PEBBLE_WFE_NONCEREJECT": 0, "PEBBLE_AUTHZREUSE": 0, **environment}
    exports = " ".join(f"{name}={value}" for name, value in settings.items())
    run = f"exec pebble -config /tmp/{port}.json -dnsserver 127.0.0.1:{dns} >>/tmp/{port}.log 2>&1"
    script = f"echo $$ >/tmp/{port}.pid; cd /etc/pebble; export {exports}; {run}"
    client.shell(f"sed '{edits}' /etc/pebble/config.json >/tmp/{port}.json; echo '{script}' >/tmp/{port}.sh")
    _start(client, port)
    directory = labs.ACME_DIRECTORY.replace("14000", str(port))
    return Authority(client.container, directory, f"/tmp/{port}.log", f"/tmp/{port}.pem")


def _start(client, port: int) -> None:
    """Start an authority that has been prepared."""
    subprocess.run(["docker", "exec", "-d", client.container, "sh", f"/tmp/{port}.sh"], check=True)
    root, directory = f"https://localhost:{port + 1000}/roots/0", f"https://localhost:{port}/dir"
    curl = ["curl", "-sf", "--fail-early", "--cacert", "/etc/pebble/acme.pem"]
    asked = ["docker", "exec", client.container, *curl, "-o", f"/tmp/{port}.pem", root, "-o", "/dev/null", directory]

    def ready() -> bool:
        return subprocess.run(asked, capture_output=True, check=False).returncode == 0

    labs.wait_for(ready, f"the authority on port {port}", 30)


@pytest.fixture(scope="session")
def fickle(client) -> Authority:
    """Another authority, which refuses a tenth of all good nonces."""
    return _another(client, FICKLE, PEBBLE_WFE_NONCEREJECT=10)


@pytest.fixture
def forgetful(client, fickle) -> Authority:
    """The same after it has lost all that it knew: accounts, and the keys it signs with. It refuses no nonces: certbot
    gives up at the second in a row, and a test that says which names fail would be wrong every few runs."""
    client.shell(f"kill $(cat /tmp/{FICKLE}.pid); sed -i s/NONCEREJECT=10/NONCEREJECT=0/ /tmp/{FICKLE}.sh")
    _start(client, FICKLE)
    return fickle


SECOND_BUNDLE = "/etc/ssl/second-ca.pem"  # on hosts: what a fallback is trusted by


@pytest.fixture(scope="session")
def choosy(client) -> Authority:
    """An authority that refuses everybody it does not know."""
    bound = '"externalAccountBindingRequired": true, "externalAccountMACKeys": {"kid": "c29tZWJvZHkncyBrZXkgb2YgMzI"}'
    return _another(client, 14003, f's/"externalAccountBindingRequired": false/{bound}/')


@pytest.fixture(scope="session")
def profiled(client) -> Authority:
    """An authority with the profiles of Let's Encrypt, and certificates as long as theirs."""
    hours = {"classic": 90 * 24, "tlsserver": 45 * 24, "shortlived": 160}
    profiles = {name: {"description": name, "validityPeriod": life * 3600} for name, life in hours.items()}
    return _another(client, 14004, f's/"profiles": .*/"profiles": {json.dumps(profiles)}/')


def fallback(authority: Authority) -> dict[str, str]:
    """An entry of `certbot_fallbacks`."""
    return {"acme_directory": authority.directory, "ca_bundle": SECOND_BUNDLE}


@pytest.fixture(scope="session")
def second_choice(hosts, authority, fickle, choosy) -> dict[str, dict[str, Any]]:
    """What apps say of their authorities, one of which is not there, the other refuses."""
    for host in hosts:
        host.run(f"cp {labs.ACME_BUNDLE} {SECOND_BUNDLE}")
    return {
        "unreachable": {
            "acme_directory": labs.ACME_DIRECTORY.replace("14000", "14009"),
            "fallbacks": [fallback(choosy), fallback(fickle)],
        },
        "refused": {"acme_directory": choosy.directory, "fallbacks": [fallback(authority)]},
    }


@dataclass(frozen=True)
class Named:
    """An authority that asks a real BIND and takes only bound accounts; what an app says of it, and its secrets."""

    authority: Authority
    certbot: dict[str, Any]
    secrets: tuple[str, str]


@pytest.fixture(scope="session")
def named(client, tmp_path_factory) -> Named:
    """A zone in BIND that a key may change, and an authority that looks there."""
    secret = base64.b64encode(os.urandom(32)).decode()
    binding = base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("=")
    script = f"""set -e; mkdir -p /tmp/bind; cd /tmp/bind; printf '%s' '{ZONE}' >wild.test
printf '%s' '{NAMED.format(port=BIND_PORT, secret=secret)}' >named.conf; named -c /tmp/bind/named.conf"""
    subprocess.run(["docker", "exec", client.container, "sh", "-c", script], check=True)
    bound = f'"externalAccountBindingRequired": true, "externalAccountMACKeys": {{"kid-1": "{binding}"}}'
    authority = _another(client, 14002, f's/"externalAccountBindingRequired": false/{bound}/', dns=BIND_PORT)
    lines = {"server": client.ipv4, "port": BIND_PORT, "name": "wsgi", "secret": secret, "algorithm": "HMAC-SHA256"}
    credentials: Path = tmp_path_factory.mktemp("dns") / "dns.ini"
    credentials.write_text("".join(f"dns_rfc2136_{key} = {value}\n" for key, value in lines.items()), encoding="utf-8")
    credentials.chmod(0o600)
    told = {"acme_directory": authority.directory, "challenge": "dns-01", "dns_plugin": "dns-rfc2136"}
    told |= {"dns_credentials": str(credentials), "eab_kid": "kid-1", "eab_hmac_key": binding}
    return Named(authority, {**told, "dns_propagation": 1}, (secret, binding))


@pytest.fixture(scope="session")
def authority_root(client) -> str:
    """The root of all certificates of the authority that the inventory names, PEM."""
    shown = subprocess.run(["docker", "exec", client.container, "cat", client.root], capture_output=True, check=True)
    return shown.stdout.decode()


@pytest.fixture(scope="session")
def resolve(client) -> Callable[..., None]:
    """Make names lead to an address in the DNS that the authority asks."""
    clear = ["docker", "exec", client.container, "curl", "-sSf", "http://127.0.0.1:8055/clear-a", "--data"]

    def lead(address: str, *names: str) -> None:
        for name in names:
            subprocess.run([*clear, json.dumps({"host": f"{name}."})], check=True, capture_output=True)
            labs.point(client.container, address, name)

    return lead


@pytest.fixture(scope="session")
def break_dns(client) -> Callable[[Collection[str]], None]:
    """Let the DNS that the authority asks fail for exactly these names (SERVFAIL)."""
    broken: set[str] = set()

    def only(names: Collection[str]) -> None:
        for action, each in [*(("clear", name) for name in broken), *(("set", name) for name in names)]:
            client.shell(
                f"curl -sSf http://127.0.0.1:8055/{action}-servfail --data '{json.dumps({'host': each + '.'})}'"
            )
        broken.clear()
        broken.update(names)

    return only


@pytest.fixture
def state(hosts) -> Callable[[str], dict[str, Any]]:
    """What the link of an app leads to on every host."""
    ask = "openssl x509 -noout -fingerprint -sha256 -in /etc/nginx/tls/{0}/fullchain.pem"
    return lambda app: {host.name: host.run(ask.format(app)) for host in hosts}


@pytest.fixture(scope="session")
def pem(tmp_path_factory) -> Callable[..., dict[str, str]]:
    """Make a certificate as a person provides it, for names on every host."""
    from ansible_collections.webops.wsgi.plugins.module_utils.certificates import making, model

    def make(name: str, *domains: str) -> dict[str, str]:
        app = model.App(name, domains, "provided")
        pair = making.make_certificate(app, None, datetime.datetime.now(datetime.UTC))
        directory: Path = tmp_path_factory.mktemp(name)
        for file, text in (("cert.pem", pair.chain), ("key.pem", pair.key)):
            (directory / file).write_text(text, encoding="utf-8")
        return {"cert": str(directory / "cert.pem"), "key": str(directory / "key.pem")}

    return make
