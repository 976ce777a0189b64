"""What the certificate authority saw."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from testbed import labs


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
    """An ACME server in the container of the lab's authority, and the file its log is in."""

    container: str
    directory: str
    log: str = ""

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


@pytest.fixture(scope="session")
def fickle(client) -> Authority:
    """Another authority, which refuses a fifth of all good nonces and forgets every authorisation."""
    with_ports = "sed 's/:14000/:14001/; s/:15000/:15001/' /etc/pebble/config.json >/tmp/fickle.json"
    start = "PEBBLE_VA_NOSLEEP=1 PEBBLE_WFE_NONCEREJECT=20 PEBBLE_AUTHZREUSE=0 exec pebble -config /tmp/fickle.json"
    script = f"{with_ports}; cd /etc/pebble; {start} -dnsserver 127.0.0.1:8053 >/tmp/fickle.log 2>&1"
    subprocess.run(["docker", "exec", "-d", client.container, "sh", "-c", script], check=True)
    ask = ["docker", "exec", client.container, "curl", "-sf", "--cacert", "/etc/pebble/acme.pem"]

    def ready() -> bool:
        return subprocess.run([*ask, "https://localhost:14001/dir"], capture_output=True, check=False).returncode == 0

    labs.wait_for(ready, "the second authority", 20)
    return Authority(client.container, labs.ACME_DIRECTORY.replace(":14000", ":14001"), "/tmp/fickle.log")


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


@pytest.fixture
def state(hosts) -> Callable[[str], dict[str, Any]]:
    """What the link of an app leads to on every host."""
    ask = "openssl x509 -noout -fingerprint -sha256 -in /etc/nginx/tls/{0}/fullchain.pem"
    return lambda app: {host.name: host.run(ask.format(app)) for host in hosts}


@pytest.fixture(scope="session")
def pem(tmp_path_factory) -> Callable[..., dict[str, str]]:
    """Make a certificate as a person provides it, for names on every host."""
    from ansible_collections.webops.wsgi.plugins.module_utils import certificate_making, certificates

    def make(name: str, *domains: str) -> dict[str, str]:
        import datetime

        app = certificates.App(name, domains, "provided")
        pair = certificate_making.make_certificate(app, None, datetime.datetime.now(datetime.UTC))
        directory: Path = tmp_path_factory.mktemp(name)
        for file, text in (("cert.pem", pair.chain), ("key.pem", pair.key)):
            (directory / file).write_text(text, encoding="utf-8")
        return {"cert": str(directory / "cert.pem"), "key": str(directory / "key.pem")}

    return make


def dump(value: Any) -> str:
    """Text of a value for a message."""
    return json.dumps(value, indent=1, default=str)
