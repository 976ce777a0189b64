"""The demo: two Flask apps live over HTTPS on a fresh Debian host. ``make demo`` runs this; it needs .venv."""

from __future__ import annotations

import os
import re
import socket
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from . import labs
from .engine import ROOT, docker
from .errors import TestbedError

INVENTORY = "inventory/demo"
APPS = {"api": "api.example.test", "httpbin": "httpbin.example.test"}
HTTPS_PORT = labs.DEMO.hosts[0].publish[443]
HTTP_PORT = labs.DEMO.hosts[0].publish[80]
Names = tuple[tuple[tuple[str, str], ...], ...]  # how the ssl module gives a certificate's issuer
TRIES = """\
# a JSON API: its version and the release that answers
curl {ca} {api} {api_url}/
# what the app sees of you: your address, https, the public name
curl {ca} {api} {api_url}/whoami
# a POST
curl {ca} {api} -H 'Content-Type: application/json' -d '{{"hello": "world"}}' {api_url}/echo
# someone else's app, straight from the package index
curl {ca} {httpbin} {httpbin_url}/get
# plain HTTP leads to HTTPS
curl -i --resolve {api_name}:{http_port}:127.0.0.1 http://{api_name}:{http_port}/
# the host itself
ssh -i .demo/id_ed25519 -o UserKnownHostsFile=.demo/known_hosts -p 8022 deploy@127.0.0.1 systemctl status api.target"""


@dataclass(frozen=True)
class Served:
    """What the wire says of one app."""

    app: str
    url: str
    status: str
    release: str
    issuer: str
    expires: str


def run(started: float) -> int:
    """Start the host, run the site playbook and show what came of it; return an exit code.

    Args:
        started: when the person's wait began, seconds since the epoch.
    """
    labs.up(labs.DEMO)
    playbook = ["ansible-playbook", "-i", INVENTORY, "playbooks/site.yml"]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    done = subprocess.run(playbook, cwd=ROOT, env=environment, check=False)
    if done.returncode != 0:
        print(f"\nThe playbook failed ({done.returncode}). Mend it and run `make demo` again.", file=sys.stderr)
        return done.returncode
    served = [_ask(app, domain) for app, domain in APPS.items()]
    print("\n" + _table(served))
    print("\nTry it (in this directory):\n\n" + _tries())
    print(f"\nTook {time.time() - started:.0f} s. `make demo-down` removes all of it.")
    return 0


def _ask(app: str, domain: str) -> Served:
    """Ask one app for its front page over HTTPS, with the chain and the name verified.

    Raises:
        TestbedError: it did not answer, its certificate is not valid, or it answered an error.
    """
    trust = ssl.create_default_context(cafile=str(labs.DEMO.state / "ca.pem"))
    url = f"https://{domain}:{HTTPS_PORT}/"
    try:
        with (
            socket.create_connection(("127.0.0.1", HTTPS_PORT), timeout=30) as plain,
            trust.wrap_socket(plain, server_hostname=domain) as secure,
        ):
            certificate = secure.getpeercert() or {}
            secure.sendall(f"GET / HTTP/1.1\r\nHost: {domain}\r\nConnection: close\r\n\r\n".encode())
            status = secure.recv(4096).split(b"\r\n", 1)[0].decode()
    except OSError as error:  # ssl.SSLError is one
        raise TestbedError(f"{url} does not answer as it should: {error}") from error
    if not re.match(r"HTTP/1\.1 2\d\d ", status):
        raise TestbedError(f"{url} answered {status!r}; expected 2xx")
    issuer = {key: value for pair in cast(Names, certificate.get("issuer", ())) for key, value in pair}
    container = labs.DEMO.container(labs.DEMO.hosts[0])
    release = Path(docker("exec", container, "readlink", f"/srv/{app}/current")).name
    expires = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(ssl.cert_time_to_seconds(str(certificate["notAfter"]))))
    return Served(app, url, status.split(" ", 1)[1], release, str(issuer.get("commonName", "")), expires)


def _table(served: list[Served]) -> str:
    rows = [("APP", "URL", "ANSWERS", "RELEASE", "CERTIFICATE FROM", "VALID UNTIL")]
    rows += [(s.app, s.url, s.status, s.release, s.issuer, s.expires) for s in served]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _tries() -> str:
    return TRIES.format(
        ca="--cacert .demo/ca.pem",
        http_port=HTTP_PORT,
        api_name=APPS["api"],
        **{name: f"--resolve {domain}:{HTTPS_PORT}:127.0.0.1" for name, domain in APPS.items()},
        **{f"{name}_url": f"https://{domain}:{HTTPS_PORT}" for name, domain in APPS.items()},
    )
