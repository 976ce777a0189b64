"""Faults that are made for real, one after the other on one host: explain names the cause of each."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
LINK = "/etc/nginx/tls/api"
SITE = "/etc/nginx/wsgi/sites/api.conf"
RELOAD = "systemctl reload nginx && sleep 0.5"
KEEP_LINK = f"readlink {LINK} >/root/link"
LINK_BACK = f"ln -sfn $(cat /root/link) {LINK}; {RELOAD}"


def certificate(name: str, first: int, last: int, own: str = "") -> str:
    """Shell that makes nginx show a certificate for a name, valid from one day to another."""
    made = f"python3 /root/certificate.py /root/made {name} {first} {last} {own}"
    return f"{KEEP_LINK}; {made}; ln -sfn /root/made {LINK}; {RELOAD}"


def clients(options: str, times: int = 1) -> str:
    """Shell of a client that sends requests; what it gets is of no interest."""
    return f"for n in $(seq {times}); do curl -sk -o /dev/null --resolve $0:443:127.0.0.1 {options}; done; sleep 1.2"


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        name: What it is.
        cause: Regular expression of what explain must say.
        path: The path that is explained.
        make: Shell that makes it.
        undo: Shell that takes it back.
        to: Where the request is sent; empty for the host itself, C(name) for what the name leads to.
        certain: Whether explain must be sure of it.
        lately: Whether the request itself is answered well.
    """

    name: str
    cause: str
    path: str = "/"
    make: str = ""
    undo: str = ""
    to: str = ""
    certain: bool = True
    lately: bool = False


STOP = "systemctl stop $(systemctl list-units --plain --no-legend 'api@*.service' | cut -d' ' -f1)"
READY = "until curl -sf --unix-socket /run/api/current.sock http://api/ >/dev/null; do sleep 0.2; done"
START = f"systemctl start api@$(basename $(readlink /srv/api/current)).service; {READY}"
FULL = (
    "mkdir -p /root/small; mount -t tmpfs -o size=64k none /root/small; cp -a /var/lib/api/. /root/small/; "
    "mount --bind /root/small /var/lib/api; chown api:api /var/lib/api; "
)

FAULTS = [
    Fault("name without an address", "has no address", to="name"),
    Fault("name leads to a machine without a web server", "is not the host's, and no connection", to="authority"),
    Fault("name leads to another web server", "is not the host's, and there is no answer", to="other", certain=False),
    Fault("nginx stopped", "nginx does not run", make="systemctl stop nginx", undo="systemctl start nginx"),
    Fault(
        "nginx broken by hand, and stopped",
        r"nginx does not run \((inactive|failed)\): .*unknown directive \"servr\"",
        make=f"cp {SITE} /root/site; echo 'servr {{}}' >>{SITE}; systemctl stop nginx",
        undo=f"cp /root/site {SITE}; systemctl start nginx",
    ),
    Fault(
        "another program has the port",
        "python3 has port 443, not nginx",
        make="systemctl stop nginx; cd /; (python3 -m http.server 443 >/dev/null 2>&1 & echo $! >/root/pid); sleep 1",
        undo="kill $(cat /root/pid); sleep 0.5; systemctl start nginx",
    ),
    Fault(
        "server block edited by hand",
        "changed by hand",
        make=f"cp {SITE} /root/site; sed -i 's/proxy_pass .*/return 410;/' {SITE}; {RELOAD}",
        undo=f"cp /root/site {SITE}; {RELOAD}",
        certain=False,
    ),
    Fault(
        "certificate expired",
        r"the certificate expired on \d{4}-",
        make=certificate("$0", -9, -2),
        undo=LINK_BACK,
    ),
    Fault(
        "certificate of the future", "not valid before", make=certificate("$0", 3, 9), undo=LINK_BACK
    ),
    Fault(
        "certificate for another name",
        "not for api.*, but for www.example.test",
        make=certificate("www.example.test", -1, 80),
        undo=LINK_BACK,
    ),
    Fault(
        "certificate not issued yet",
        "placeholder",
        make=certificate("$0", -1, 90, "own"),
        undo=LINK_BACK,
    ),
    Fault(
        "certificate renewed and not loaded",
        "it was not reloaded",
        make=certificate("$0", -9, -2) + f"; ln -sfn $(cat /root/link) {LINK}",
        undo=RELOAD,
    ),
    Fault("app closed for maintenance", "closed for maintenance",
          make="mkdir -p /etc/nginx/maintenance; touch /etc/nginx/maintenance/api",
          undo="rm /etc/nginx/maintenance/api"),
    Fault("app stopped by hand", "was stopped by hand", make=STOP, undo=START),
    Fault("socket gone", "the socket of release .* is gone", make="rm /run/api/current.sock",
          undo="ln -s /srv/api/current/socket /run/api/current.sock"),
    Fault("app that hangs", "takes no connections|no more connections|did not answer within",
          make="kill -STOP $(pgrep -u api -f gunicorn)", undo="kill -CONT $(pgrep -u api -f gunicorn)"),
    Fault("exception", "the app itself answers 500: LookupError: no such customer", "/error"),
    Fault("error of the app's own", "the app itself answers 503", "/busy"),
    Fault("path that the app does not know", "the app has nothing at this path", "/nothing"),
    Fault("static file that is not there", "no such file among the static files", "/static/other.css"),
    Fault("slow path", r"the app takes \d\.\d s for this path, while its health page is quick", "/slow"),
    Fault("time limit", r"did not answer within 8 s", "/stuck"),
    Fault("too large headers", "headers of the app's answer are larger", "/cookies"),
    Fault("worker killed", "in the middle of the request: a worker was ended by SIGKILL", "/die"),
    Fault("refused by the sandbox", "in the middle of the request: PermissionError", "/nice"),
    Fault("disk full", "the disk of .* is full", "/write", make=f"{FULL}{STOP}; {START}",
          undo=f"umount /var/lib/api /root/small; {STOP}; {START}"),
    Fault("unhealthy", "the app itself answers 503", "/health", make="touch /var/lib/api/sick",
          undo="rm /var/lib/api/sick"),
    Fault("redirect to itself", "redirects to itself", "/around", certain=False),
    Fault("address not allowed", "nginx does not let this client in", "/private"),
    Fault("password", "wants a password", "/members"),
    Fault("method", "takes POST only", "/orders"),
    Fault("too large body", "got 413: the request's body is larger than 1k", "/upload",
          make=clients("-d @/etc/services https://$0/upload"), lately=True),
    Fault("too long URL", "got 414: the URL is longer", "/long",
          make=clients("https://$0/long?$(head -c 40000 /dev/zero | tr '\\0' a)"), lately=True),
    Fault("too long cookie", "got 431: a header, such as that of the cookies", "/sweet",
          make=clients("-H @/root/cookie https://$0/sweet"), lately=True),
    Fault("too many requests", "got 429: the client exceeded a limit", "/limited",
          make=clients("https://$0/limited", 6), lately=True),
    Fault("client that left", "got 499: the client left", "/wait",
          make=clients("--max-time 0.5 https://$0/wait"), lately=True),
]  # fmt: skip


@pytest.fixture(scope="module")
def host(hosts):
    """One of the hosts; the other is where names lead that are wrong."""
    found = next(host for host in hosts if host.name == "d13")
    data = ROOT / "molecule" / "explain" / "data" / "certificate.py"
    subprocess.run(["docker", "cp", str(data), f"{found.container}:/root/"], check=True, capture_output=True)
    found.run("printf 'Cookie: c=%s' $(head -c 50000 /dev/zero | tr '\\0' a) >/root/cookie")
    return found


@pytest.fixture
def explain(host, hosts, client, play, tmp_path) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Run explain as a person does; its exit code and what it tells machines."""
    addresses = {"": host.ipv4, "authority": client.ipv4, "name": "", "other": hosts[0].ipv4}
    root = tmp_path / "root.pem"
    root.write_text(client.shell(f"cat {client.root}"), encoding="utf-8")

    def asked(url: str, to: str = "") -> tuple[int, dict[str, Any]]:
        done = play(
            "--limit", host.name, playbook="explain", url=url, connect_to=addresses[to], ca=str(root), format="json"
        )
        begin = done.output.find("[\n  {")
        assert begin >= 0, done.output
        told, _end = json.JSONDecoder().raw_decode(done.output[begin:])
        return done.code, told[0]

    return asked


@contextmanager
def made(fault: Fault, host) -> Iterator[None]:
    """The fault, as long as a block runs."""

    def run(script: str) -> None:
        quoted = script.replace("'", "'\\''")
        if script:
            host.run(f"sh -c '{quoted}' {host.domain('api')}")

    try:
        run(fault.make)
        yield
    finally:
        run(fault.undo)


def test_nothing_is_wrong(explain, host) -> None:
    code, told = explain(host.url("api", "/fine"))
    assert (code, told["verdict"], told["status"]) == (0, None, 200), told["findings"]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_cause_is_named(fault: Fault, explain, host) -> None:
    with made(fault, host):
        code, told = explain(host.url("api", fault.path), fault.to)
    verdict = told["verdict"]
    assert verdict, f"nothing found; the answer was {told['status']}: {json.dumps(told, indent=1)}"
    assert re.search(fault.cause, verdict["cause"]), f"{verdict}\n{json.dumps(told['findings'], indent=1)}"
    assert verdict["certain"] is fault.certain, verdict
    assert (code == 0) is fault.lately, f"exit code {code}"


def test_name_that_no_app_has(host, play) -> None:
    done = play("--limit", host.name, playbook="explain", url="https://apo.d13.example.test/", connect_to=host.ipv4)
    assert done.code == 2
    assert "no app of the inventory is served as apo.d13.example.test (api.d13.example.test is one)" in done.output
