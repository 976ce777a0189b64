# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP proxies that take a password, which no build gets."""

from __future__ import annotations

import base64
import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.build import indexes
from ansible_collections.webops.wsgi.plugins.module_utils.build import inputs as build_inputs
from ansible_collections.webops.wsgi.plugins.module_utils.host.outgoing import Outgoing
from bare_sandbox import BareSandbox

INPUTS = build_inputs.BuildInputs("api", {}, "x", "3.13", "python3")
SEEN: list[tuple[str, str, str | None]] = []


class Proxy(BaseHTTPRequestHandler):
    """An HTTP proxy that answers itself; after CONNECT it sends back what it gets."""

    def do_GET(self) -> None:
        SEEN.append((self.command, self.path, self.headers["Proxy-Authorization"]))
        body = f"{self.headers['Authorization']} {self.headers['Connection']}".encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/zip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_CONNECT(self) -> None:
        SEEN.append((self.command, self.path, self.headers["Proxy-Authorization"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.rfile.read(5))
        self.close_connection = True

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def proxy() -> Iterator[str]:
    SEEN.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://ann:hunt%2Fer2@127.0.0.1:{server.server_port}"
    server.shutdown()


RIGHT = "Basic " + base64.b64encode(b"ann:hunt/er2").decode()


@pytest.fixture
def relay(proxy: str, tmp_path: Path) -> Iterator[str]:
    """The proxy as a build gets it."""
    with indexes.passed_on(INPUTS, Outgoing(proxy, proxy), BareSandbox(tmp_path), 60) as told:
        assert "hunt" not in str(told)
        assert told.http == told.https
        yield told.http


def credentials(relay: str) -> dict[str, str]:
    parts = urlsplit(relay)
    shown = base64.b64encode(f"{parts.username}:{parts.password}".encode()).decode()
    return {"Proxy-Authorization": f"Basic {shown}"}


def connection(relay: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", urlsplit(relay).port or 0, timeout=10)


def test_a_request_gets_the_proxy_s_credentials(relay: str) -> None:
    asked = connection(relay)
    asked.request("GET", "http://example.com/x", headers={**credentials(relay), "Connection": "keep-alive"})
    assert asked.getresponse().read() == b"None close"
    assert SEEN == [("GET", "http://example.com/x", RIGHT)]


def test_a_tunnel_passes_on_both_ways(relay: str) -> None:
    asked = connection(relay)
    asked.set_tunnel("example.com", 443, credentials(relay))
    asked.connect()
    asked.sock.sendall(b"hello")
    assert asked.sock.recv(100) == b"hello"
    assert SEEN == [("CONNECT", "example.com:443", RIGHT)]


@pytest.mark.parametrize("shown", [{}, {"Proxy-Authorization": "Basic wrong"}])
def test_nobody_else_of_the_host_gets_out_by_it(relay: str, shown: dict[str, str]) -> None:
    asked = connection(relay)
    asked.request("GET", "http://example.com/x", headers=shown)
    assert asked.getresponse().status == 407
    assert SEEN == []


def test_a_proxy_without_a_password_is_told_as_it_is(tmp_path: Path) -> None:
    out = Outgoing("http://proxy:3128", "", ("x",))
    with indexes.passed_on(INPUTS, out, BareSandbox(tmp_path), 60) as told:
        assert told == out


@pytest.mark.parametrize("direct", [(), ("packages.example.com",)])
def test_an_index_with_a_password_is_reached_through_the_proxy(
    proxy: str, tmp_path: Path, direct: tuple[str, ...]
) -> None:
    url = "http://user:pw@packages.example.com/simple"
    inputs = build_inputs.BuildInputs("api", {}, "x", "3.13", "python3", index_url=url)
    out = Outgoing(proxy, "", direct)
    with indexes.reachable(inputs, "", BareSandbox(tmp_path), 60, out) as found:
        parts = urlsplit(found[url])
        shown = base64.b64encode(f"{parts.username}:{parts.password}".encode()).decode()
        asked = http.client.HTTPConnection("127.0.0.1", parts.port or 0, timeout=20)
        asked.request("GET", "/simple", headers={"Authorization": f"Basic {shown}"})
        answer = asked.getresponse()
    assert answer.status == (502 if direct else 200)
    assert ([] if direct else [("GET", "http://packages.example.com/simple", RIGHT)]) == SEEN
