# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands between a build and an HTTP proxy that takes a password, which the build never has.

It is to the proxy what C(index_proxy) is to a package index: another user's program on the loopback interface, for who
has the token of this one build. It reads the head of each connection's first request, puts the proxy's own credentials
into it, and passes on all else as it is.

This module has no imports beyond the standard library: its text is sent into a sandbox of its own.
"""

from __future__ import annotations

import base64
import hmac
import json
import os
import re
import socket
import socketserver
import sys
import threading
from typing import IO, Any
from urllib.parse import unquote, urlsplit

HEAD_LIMIT = 65536  # bytes
IDLE = 300  # seconds
CREDENTIALS = re.compile(rb"\r\nProxy-Authorization:[ \t]*([^\r\n]*)", re.IGNORECASE)
# A second request on a connection would have the build's own credentials.
REUSE = re.compile(rb"\r\n(?:Proxy-)?Connection:[^\r\n]*", re.IGNORECASE)


class Relay(socketserver.ThreadingTCPServer):
    """One proxy: where it is, what it wants to see, and what a client must show here."""

    daemon_threads = True

    def __init__(self, proxy: str, token: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        parts = urlsplit(proxy)
        self.address = parts.hostname or "", parts.port or 80
        self.asks = basic(unquote(parts.username or ""), unquote(parts.password or ""))
        self.takes = basic("build", token)


class Handler(socketserver.BaseRequestHandler):
    """Passes one connection on."""

    server: Relay
    request: socket.socket

    def handle(self) -> None:
        """Pass it on when it has the token."""
        self.request.settimeout(IDLE)
        try:
            head, rest = self._head()
            shown = CREDENTIALS.search(head)
            if not shown or not hmac.compare_digest(shown[1].strip(), self.server.takes):
                self._answer("407 Proxy Authentication Required", 'Proxy-Authenticate: Basic realm="build"\r\n')
                return
            with socket.create_connection(self.server.address, IDLE) as other:
                other.sendall(self._rewritten(head) + rest)
                back = threading.Thread(target=pass_on, args=(other, self.request), daemon=True)
                back.start()
                pass_on(self.request, other)
                back.join()
        except OSError as error:
            self._answer(f"502 the proxy cannot be reached: {error}"[:200].replace("\n", " "))

    def _head(self) -> tuple[bytes, bytes]:
        read = b""
        while b"\r\n\r\n" not in read and len(read) < HEAD_LIMIT:
            block = self.request.recv(HEAD_LIMIT)
            if not block:
                break
            read += block
        head, _end, rest = read.partition(b"\r\n\r\n")
        return head, rest

    def _rewritten(self, head: bytes) -> bytes:
        bare = CREDENTIALS.sub(b"", head)
        added = b"\r\nProxy-Authorization: " + self.server.asks
        if not bare.startswith(b"CONNECT "):
            bare, added = REUSE.sub(b"", bare), added + b"\r\nConnection: close"
        return bare + added + b"\r\n\r\n"

    def _answer(self, status: str, headers: str = "") -> None:
        try:
            self.request.sendall(
                f"HTTP/1.1 {status}\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n".encode()
            )
        except OSError:  # it has hung up
            return


def pass_on(one: socket.socket, other: socket.socket) -> None:
    """Send what comes from one to the other until there is no more."""
    try:
        while block := one.recv(1 << 16):
            other.sendall(block)
        other.shutdown(socket.SHUT_WR)
    except OSError:  # either has hung up
        for end in (one, other):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


def basic(user: str, password: str) -> bytes:
    """The value of HTTP's basic authentication."""
    return b"Basic " + base64.b64encode(f"{user}:{password}".encode())


def main(job: dict[str, Any], stream: IO[bytes]) -> None:
    """Serve until nobody holds the other end of standard input, and tell the ports first."""
    relays = [Relay(proxy, job["token"]) for proxy in job["proxies"]]
    for relay in relays:
        threading.Thread(target=relay.serve_forever, daemon=True).start()
    print(json.dumps([relay.server_address[1] for relay in relays]), flush=True)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # nobody reads it any more
    stream.read()
    sys.exit(0)
