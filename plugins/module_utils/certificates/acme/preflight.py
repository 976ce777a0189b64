# Copyright (c) webops.wsgi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether a certificate authority would find the answer to its challenge, looked at before it is asked.

An authority counts failed attempts (Let's Encrypt: five an hour for each name) and then refuses to look at all. So each
domain's challenge path is fetched first, as the authority will: through the address that public DNS has, on port 80,
over redirects, without trusting certificates on the way.
"""

from __future__ import annotations

import contextlib
import glob
import http.client
import os
import secrets
import socket
import typing as t
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ansible_collections.webops.wsgi.plugins.module_utils.host import dns
from ansible_collections.webops.wsgi.plugins.module_utils.host.tls import distrusting

PATH = "/.well-known/acme-challenge/"
PREFIX = "wsgi-preflight-"
PORTS = {"http": 80, "https": 443}
"""Where an authority follows redirects to (Let's Encrypt's validation authority: these ports, ten times)."""
REDIRECTS = 10
TIMEOUT = 10.0
"""Seconds for each request; also what Let's Encrypt waits."""
CONNECTIONS = 16

Resolve = t.Callable[[str], list[str]]


class UnreachableError(Exception):
    """What was seen instead of the answer; `network` when nothing was seen because no connection came about."""

    def __init__(self, seen: str, network: bool = False) -> None:
        super().__init__(seen)
        self.network = network


@dataclass(frozen=True)
class Probe:
    """A file below the webroot, and how to look for it from outside.

    :param ports: where http and https are, as an authority knows them
    """

    path: str
    content: str
    resolve: Resolve
    ports: t.Mapping[str, int]

    def problem(self, domain: str) -> str:
        """Return what keeps an authority from seeing the file through `domain`, or nothing.

        Every address must lead to it, since any of them may be asked. One of IPv6 that takes no connection does not
        count beside one of IPv4, which an authority then turns to.
        """
        try:
            found = self.resolve(domain)
        except dns.NoAddressError as error:
            return f"no DNS: {error}"
        lenient = any(":" not in address for address in found)
        for address in found:
            try:
                self._follow(f"http://{domain}{self.path}", address)
            except UnreachableError as error:
                if not (error.network and lenient and ":" in address):
                    return str(error)
        return ""

    def _follow(self, url: str, address: str) -> None:
        """Fetch the file from one address, over redirects. Raises UnreachableError."""
        visited = [url]
        while True:
            answer = _get(url, address, self.ports)
            if answer.location is None:
                return self._judge(answer, url, address)
            url = urllib.parse.urljoin(url, answer.location)
            if url in visited or len(visited) > REDIRECTS:
                raise UnreachableError(f"redirect loop: {' -> '.join([*visited[:3], url])}")
            visited.append(url)
            address = self._next_address(url, address)

    def _next_address(self, url: str, address: str) -> str:
        """Return where a redirect leads. Raises UnreachableError where no authority follows."""
        parts = urllib.parse.urlsplit(url)
        default = PORTS.get(parts.scheme)
        if default is None or not parts.hostname or (parts.port or default) not in PORTS.values():
            raise UnreachableError(f"redirected to {url}, where no authority follows: only ports 80 and 443")
        try:
            found = self.resolve(parts.hostname)
        except dns.NoAddressError as error:
            raise UnreachableError(f"redirected to {url}: no DNS: {error}") from error
        return address if address in found else found[0]

    def _judge(self, answer: Answer, url: str, address: str) -> None:
        if answer.status != 200:
            raise UnreachableError(f"{address} answered {answer.status} for {url}{answer.by}")
        if answer.body.strip() != self.content:
            raise UnreachableError(
                f"another host answered: what {address} returned for {url} is not from here{answer.by}"
            )


@dataclass(frozen=True)
class Answer:
    """What one request brought."""

    status: int
    location: str | None
    body: str
    server: str

    @property
    def by(self) -> str:
        """Who answered, for a message."""
        return f" (Server: {self.server[:60]})" if self.server else ""


def _get(url: str, address: str, ports: t.Mapping[str, int]) -> Answer:
    """Send one request to an address. Raises UnreachableError."""
    parts = urllib.parse.urlsplit(url)
    scheme = next(name for name, port in PORTS.items() if port == (parts.port or PORTS[parts.scheme]))
    host = parts.hostname or ""
    connection = http.client.HTTPConnection(host, PORTS[scheme], timeout=TIMEOUT)
    try:
        plain = socket.create_connection((address, ports[scheme]), timeout=TIMEOUT)
    except OSError as error:
        seen = f"{address} takes no connection on port {PORTS[scheme]}: {error}"
        hint = " (where a host cannot reach its own public address, set certbot_preflight: false)"
        raise UnreachableError(seen + hint, network=True) from error
    connection.sock = plain
    try:
        if parts.scheme == "https":
            connection.sock = distrusting().wrap_socket(plain, server_hostname=host)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        # Over TLS http.client does not know its port to be the usual one.
        connection.request("GET", target or "/", headers={"Host": host, "User-Agent": "webops.wsgi preflight"})
        reply = connection.getresponse()
        body = reply.read(4096).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        raise UnreachableError(f"{address} gave no answer for {url}: {error or type(error).__name__}") from error
    finally:
        connection.close()
    location = reply.getheader("Location") if 300 <= reply.status < 400 else None
    return Answer(reply.status, location, body, reply.getheader("Server") or "")


def _directory(webroot: str) -> str:
    """Return where answers to challenges lie; make it so that nginx can read there, whatever the umask is."""
    directory = webroot
    for part in ("", *PATH.strip("/").split("/")):
        directory = os.path.join(directory, part) if part else directory
        if not os.path.isdir(directory):
            os.makedirs(directory)
            os.chmod(directory, 0o755)
    return directory


@contextlib.contextmanager
def probe(webroot: str, resolve: Resolve, ports: t.Mapping[str, int] = PORTS) -> t.Iterator[Probe]:
    """Put a file where certbot will put the answer to a challenge, for as long as it is looked for."""
    directory = _directory(webroot)
    for left in glob.glob(os.path.join(glob.escape(directory), PREFIX + "*")):  # by a run that was killed
        os.unlink(left)
    name, content = PREFIX + secrets.token_urlsafe(16), secrets.token_hex(32)
    path = os.path.join(directory, name)
    try:
        with open(path, "w", encoding="ascii") as handle:
            os.fchmod(handle.fileno(), 0o644)
            handle.write(content)
        yield Probe(PATH + name, content, resolve, ports)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def look(
    domains: t.Sequence[str], webroot: str, resolve: Resolve, ports: t.Mapping[str, int] = PORTS
) -> dict[str, str]:
    """Return the domains through which an authority would not find its answer, with what was seen instead."""
    if not domains:
        return {}
    with probe(webroot, resolve, ports) as placed, ThreadPoolExecutor(min(CONNECTIONS, len(domains))) as pool:
        seen = dict(zip(domains, pool.map(placed.problem, domains), strict=True))
    return {domain: problem for domain, problem in seen.items() if problem}
