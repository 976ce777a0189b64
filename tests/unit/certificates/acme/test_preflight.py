# SPDX-License-Identifier: GPL-3.0-or-later
"""What an authority would see of a domain: real HTTP servers on several addresses, a DNS server on real sockets."""

from __future__ import annotations

import functools
import http.server
import os
import pathlib
import socket
import socketserver
import struct
import threading
import typing as t

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme import preflight as preflight
from ansible_collections.webops.wsgi.plugins.module_utils.host import dns

HERE, ELSEWHERE, CLOSED = "127.0.0.1", "127.0.0.2", "127.0.0.3"
NAMES = {
    "good.test": [HERE],
    "other.test": [ELSEWHERE],
    "both.test": [HERE, ELSEWHERE],
    "closed.test": [CLOSED],
    "six.test": ["::1", HERE],
    "loop.test": [HERE],
    "moved.test": [HERE],
    "hidden.test": [HERE],
    "odd.test": [HERE],
    "empty.test": [ELSEWHERE],
    "cut.test": [HERE],
}


def resolve(name: str) -> list[str]:
    if name not in NAMES:
        raise dns.NoAddressError("the name does not exist (NXDOMAIN)")
    return NAMES[name]


class Site(http.server.SimpleHTTPRequestHandler):
    """Serves the webroot by name, as nginx would, and what goes wrong in practice."""

    def do_GET(self) -> None:
        name = self.headers["Host"]
        if name == "cut.test":
            self.close_connection = True
            return
        if self.server.server_address[0] == ELSEWHERE and name != "empty.test":
            self._answer(200, b"<html>a parked domain</html>")
        elif name in ("loop.test", "moved.test", "odd.test", "gone.test"):
            places = {"moved.test": "http://good.test", "odd.test": "http://good.test:8080", "gone.test": ""}
            self.send_response(301)
            self.send_header("Location", places.get(name, "http://loop.test") + self.path)
            self.end_headers()
        elif name == "hidden.test":
            self._answer(404, b"no such page")
        else:
            super().do_GET()

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: t.Any) -> None:
        """Say nothing."""


class Server(http.server.ThreadingHTTPServer):
    """A web server that does not look its own name up first."""

    server_bind = socketserver.TCPServer.server_bind


@pytest.fixture(name="ports")
def fixture_ports(tmp_path: pathlib.Path) -> t.Iterator[dict[str, int]]:
    handler = functools.partial(Site, directory=str(tmp_path))
    here = Server((HERE, 0), handler)
    elsewhere = Server((ELSEWHERE, here.server_address[1]), handler)
    for server in (here, elsewhere):
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield {"http": here.server_address[1], "https": here.server_address[1]}
    for server in (here, elsewhere):
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("domain", "seen"),
    [
        ("good.test", ""),
        ("moved.test", ""),
        ("six.test", ""),
        ("absent.test", "no DNS: the name does not exist (NXDOMAIN)"),
        ("other.test", "another host answered: what 127.0.0.2 returned for http://other.test/"),
        ("both.test", "another host answered: what 127.0.0.2 returned"),
        ("closed.test", "127.0.0.3 takes no connection on port 80: [Errno 111] Connection refused"),
        ("hidden.test", "127.0.0.1 answered 404 for http://hidden.test/.well-known/acme-challenge/"),
        ("loop.test", "redirect loop: http://loop.test/.well-known/acme-challenge/"),
        ("odd.test", "redirected to http://good.test:8080/"),
        ("cut.test", "127.0.0.1 gave no answer for http://cut.test/"),
    ],
)
def test_what_is_seen(tmp_path: pathlib.Path, ports: dict[str, int], domain: str, seen: str) -> None:
    problems = preflight.look([domain], str(tmp_path), resolve, ports)
    assert list(problems) == ([domain] if seen else [])
    assert problems.get(domain, "").startswith(seen)


def test_leaves_nothing_behind_and_reads_under_any_umask(tmp_path: pathlib.Path, ports: dict[str, int]) -> None:
    webroot = tmp_path / "acme"
    before = os.umask(0o077)
    try:
        with preflight.probe(str(webroot), resolve, ports) as placed:
            file = webroot / placed.path.lstrip("/")
            assert file.stat().st_mode & 0o777 == 0o644
            assert [path.stat().st_mode & 0o777 for path in (webroot, *list(webroot.rglob("*"))[:2])] == [0o755] * 3
            left = file.with_name(preflight.PREFIX + "killed")
            left.write_text("x")
        with preflight.probe(str(webroot), resolve, ports):
            assert not left.exists()
    finally:
        os.umask(before)
    assert not list(webroot.rglob(preflight.PREFIX + "*"))


class Dns:
    """A DNS server on a UDP and a TCP socket that answers with prepared records."""

    def __init__(self, rcode: int = 0, records: t.Sequence[tuple[int, bytes]] = (), truncate: bool = False) -> None:
        self.rcode, self.records, self.truncate = rcode, records, truncate
        # TCP first: of its ports a busy machine has many in use, of UDP's hardly any.
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.address = self.tcp.getsockname()
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(self.address)
        for target in (self._datagrams, self._streams):
            threading.Thread(target=target, daemon=True).start()

    def _reply(self, asked: bytes, cut: bool) -> bytes:
        kind = struct.unpack("!H", asked[-4:-2])[0]
        fitting = [] if cut else [(5, b"\x03www\xc0\x0c"), *(each for each in self.records if each[0] == kind)]
        header = asked[:2] + struct.pack("!HHHHH", 0x8180 | self.rcode | (0x200 if cut else 0), 1, len(fitting), 0, 0)
        lines = (b"\xc0\x0c" + struct.pack("!HHIH", number, 1, 60, len(data)) + data for number, data in fitting)
        return header + asked[12:] + b"".join(lines)

    def _datagrams(self) -> None:
        while True:
            asked, client = self.udp.recvfrom(512)
            self.udp.sendto(self._reply(asked, self.truncate), client)

    def _streams(self) -> None:
        while True:
            connection, _address = self.tcp.accept()
            with connection:
                reply = self._reply(connection.recv(514)[2:], False)
                connection.sendall(struct.pack("!H", len(reply)) + reply)


FOUR, SIX = socket.inet_aton("192.0.2.7"), socket.inet_pton(socket.AF_INET6, "2001:db8::7")


@pytest.mark.parametrize("truncate", [False, True])
def test_addresses_behind_an_alias(truncate: bool) -> None:
    server = Dns(records=[(1, FOUR), (28, SIX)], truncate=truncate)
    assert dns.addresses("a.example.test", [server.address]) == ["2001:db8::7", "192.0.2.7"]


def test_an_address_is_its_own() -> None:
    assert dns.addresses("192.0.2.7", []) == ["192.0.2.7"]


@pytest.mark.parametrize(
    ("rcode", "seen"), [(3, "NXDOMAIN"), (2, "SERVFAIL"), (9, "code 9"), (0, "neither an A nor an AAAA record")]
)
def test_no_address(rcode: int, seen: str) -> None:
    with pytest.raises(dns.NoAddressError, match=seen):
        dns.addresses("a.example.test", [Dns(rcode).address])


def test_server_that_is_silent_is_named_and_the_next_one_asked() -> None:
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    silent.bind(("127.0.0.1", 0))
    asked = [silent.getsockname()]
    with pytest.raises(dns.NoAddressError, match=r"the DNS server 127\.0\.0\.1 does not answer: timed out"):
        dns.addresses("a.example.test", asked, timeout=0.1)
    assert dns.addresses("a.example.test", [*asked, Dns(records=[(1, FOUR)]).address], 0.1) == ["192.0.2.7"]


@pytest.mark.parametrize("reply", [b"", b"\0" * 11, b"\0\0\x81\x80\0\1\0\1\0\0\0\0\3abc"])
def test_answer_that_is_cut_off(reply: bytes) -> None:
    with pytest.raises(ValueError, match="cut off"):
        dns.read_reply(reply, dns.A)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("9.9.9.9", [("9.9.9.9", 53)]),
        ("9.9.9.9:5353 2620:fe::fe", [("9.9.9.9", 5353), ("2620:fe::fe", 53)]),
        ("[2620:fe::fe]:8053", [("2620:fe::fe", 8053)]),
    ],
)
def test_servers_given(given: str, expected: list[tuple[str, int]]) -> None:
    assert dns.servers(given) == expected


@pytest.mark.parametrize("given", ["dns.example.com", "9.9.9", "9.9.9.9:", "9.9.9.9:99999", "[9.9.9.9"])
def test_servers_that_are_none(given: str) -> None:
    assert not dns.valid_servers(given)


def test_servers_of_the_host(tmp_path: pathlib.Path) -> None:
    conf = tmp_path / "resolv.conf"
    conf.write_text("# nameserver 192.0.2.9\nsearch example.test\nnameserver 192.0.2.1\nnameserver ::1\n")
    assert dns.servers(files=["/nonexistent", str(conf)]) == [("192.0.2.1", 53), ("::1", 53)]
    assert dns.servers(files=["/nonexistent"]) == [("127.0.0.1", 53)]
