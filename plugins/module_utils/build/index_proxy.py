# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands between a build and a package index that takes a password, which the build never has.

An installer hands its environment to every build back end that it starts, and they run as the same user: what it
knows, they know. So the password is here, in a program of another user on the loopback interface, which adds it to
requests. It answers who has the token of this one build, passes on GET and HEAD alone, and talks to the index's own
host and to no other. Redirections are the client's to follow.

This module has no imports beyond the standard library: its text is sent into a sandbox of its own.
"""

from __future__ import annotations

import base64
import hmac
import http.client
import json
import os
import re
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import IO, Any
from urllib.parse import unquote, urlsplit
from urllib.request import proxy_bypass

FIRST_PORT, PORTS = 20000, 12000  # below those that Linux gives to connections
ANSWER_TIMEOUT = 60  # seconds
MAX_PAGE = 100_000_000  # bytes of a page of links
PASSED_ON = ("Accept", "Range", "If-None-Match", "If-Modified-Since", "User-Agent")
PASSED_BACK = (
    "Accept-Ranges",
    "Cache-Control",
    "Content-Range",
    "Content-Type",
    "ETag",
    "Last-Modified",
    "Location",
    "Retry-After",
)
PAGES = ("text/html", "application/vnd.pypi.simple", "application/json")


class Server(ThreadingHTTPServer):
    """One index: where it is, what it wants to see, and what a client must show here."""

    daemon_threads = True

    def __init__(self, port: int, index: str, token: str, authorities: str, out: dict[str, Any]) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        parts = urlsplit(index)
        self.scheme, self.host, self.port = parts.scheme, parts.hostname or "", parts.port
        self.asks = basic(unquote(parts.username or ""), unquote(parts.password or ""))
        self.takes = basic("build", token)
        self.trust = trusting(authorities) if self.scheme == "https" else None
        netloc = parts.netloc.rpartition("@")[2]
        standard = ":443" if self.scheme == "https" else ":80"
        bare = re.escape(netloc.removesuffix(standard))
        self.links = re.compile(rf"{self.scheme}://{bare}({standard})?(?=[/\\\"'?#])".encode(), re.IGNORECASE)
        self.own = f"http://127.0.0.1:{self.server_port}"
        direct = proxy_bypass(self.host, {"no": ",".join(out["direct"])})
        self.out = urlsplit("" if direct else out[self.scheme])
        self.here = f"http://{netloc}" if self.out.netloc and self.scheme == "http" else ""

    @property
    def proxy_headers(self) -> dict[str, str]:
        """What the HTTP proxy in between wants to see."""
        user, password = unquote(self.out.username or ""), unquote(self.out.password or "")
        return {"Proxy-Authorization": basic(user, password)} if user else {}

    def connect(self) -> http.client.HTTPConnection:
        """A connection to the index, or to the HTTP proxy that leads to it."""
        if self.out.netloc and self.scheme == "http":
            return http.client.HTTPConnection(self.out.hostname or "", self.out.port or 80, timeout=ANSWER_TIMEOUT)
        if self.out.netloc:
            proxy, port = self.out.hostname or "", self.out.port or 80
            through = http.client.HTTPSConnection(proxy, port, timeout=ANSWER_TIMEOUT, context=self.trust)
            through.set_tunnel(self.host, self.port or 443, self.proxy_headers)
            return through
        if self.trust:
            return http.client.HTTPSConnection(self.host, self.port, timeout=ANSWER_TIMEOUT, context=self.trust)
        return http.client.HTTPConnection(self.host, self.port, timeout=ANSWER_TIMEOUT)

    def rewritten(self, text: bytes) -> bytes:
        """A text whose links to the index lead here."""
        return self.links.sub(self.own.encode(), text)


class Handler(BaseHTTPRequestHandler):
    """Passes one request on."""

    protocol_version = "HTTP/1.1"
    timeout = ANSWER_TIMEOUT
    server: Server

    def do_GET(self) -> None:
        """Pass it on when it has the token."""
        if not hmac.compare_digest(self.headers.get("Authorization", "").encode(), self.server.takes.encode()):
            self._refuse(401, "Unauthorized", ("WWW-Authenticate", 'Basic realm="build"'))
            return
        if not re.fullmatch(r"/[!-~]*", self.path):
            self._refuse(400, "Bad Request")
            return
        connection = self.server.connect()
        try:
            headers = {name: self.headers[name] for name in PASSED_ON if name in self.headers}
            headers |= {"Authorization": self.server.asks, "Accept-Encoding": "identity"}
            headers |= self.server.proxy_headers if self.server.here else {}
            connection.request(self.command, f"{self.server.here}{self.path}", headers=headers)
            self._pass_back(connection.getresponse())
        except (OSError, http.client.HTTPException) as error:
            self.close_connection = True
            self._refuse(502, f"the index cannot be reached: {error}"[:200])
        finally:
            connection.close()

    do_HEAD = do_GET  # noqa: N815

    def _pass_back(self, answer: http.client.HTTPResponse) -> None:
        is_page = answer.headers.get_content_type().startswith(PAGES)
        # What has no length ends with the connection.
        length, page = answer.headers.get("Content-Length"), None
        if is_page and self.command == "GET":
            page = self.server.rewritten(answer.read(MAX_PAGE))
            if len(page) >= MAX_PAGE:
                raise http.client.HTTPException(f"a page has more than {MAX_PAGE} bytes")
            length = str(len(page))
        self.send_response(answer.status)
        for name in PASSED_BACK:
            for value in answer.headers.get_all(name, ()):
                self.send_header(name, self.server.rewritten(f"{value}".encode()).decode())
        if length is not None and answer.status not in (204, 304) and not (is_page and page is None):
            self.send_header("Content-Length", length)
        elif answer.status not in (204, 304):
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "HEAD":
            return
        if page is not None:
            self.wfile.write(page)
            return
        while block := answer.read(1 << 16):
            self.wfile.write(block)

    def _refuse(self, status: int, reason: str, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for header in (*headers, ("Content-Length", str(len(reason.encode())))):
            self.send_header(*header)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reason.encode())

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        """Say nothing: standard error is for what goes wrong."""


def trusting(authorities: str) -> ssl.SSLContext:
    """What the index's certificate is verified with: the authorities, or the host's own where there are none."""
    context = ssl.create_default_context(cadata=authorities.encode("ascii", "ignore").decode() or None)
    # Python 3.13 refuses authorities, such as a company's own, that installers take.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def basic(user: str, password: str) -> str:
    """The header of HTTP's basic authentication."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def listening(number: int, index: str, token: str, authorities: str, out: dict[str, Any]) -> Server:
    """A server for an index, on the same port each time if it is free: caches know what they have by its address."""
    try:
        return Server(FIRST_PORT + number % PORTS, index, token, authorities, out)
    except OSError:
        return Server(0, index, token, authorities, out)


def main(job: dict[str, Any], stream: IO[bytes]) -> None:
    """Serve until nobody holds the other end of standard input, and tell the ports first."""
    given = job["token"], job["ca"], job["out"]
    servers = [listening(job["number"] + at, index, *given) for at, index in enumerate(job["indexes"])]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps([server.server_port for server in servers]), flush=True)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # nobody reads it any more, and clients that hang up would fill it
    stream.read()
    sys.exit(0)
