# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking an instance over its own socket, or through the proxy, whether it answers as it should."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from ansible_collections.webops.wsgi.plugins.module_utils.host.tls import distrusting

BODY_LIMIT = 65536  # bytes of an answer that are looked at
LOOPBACK = "127.0.0.1"
USER_AGENT = "webops.wsgi"  # by which logs know these requests


@dataclass(frozen=True)
class Health:
    """What a healthy instance answers.

    Attributes:
        path: The path to ask for.
        statuses: Accepted statuses, single (C(200)) or ranges (C(200-399)).
        host: The Host header, the app's first domain.
        scheme: C(https) or C(http), as the client's proxy would say.
        body: Text that the answer must hold; empty for any.
        headers: Further request headers.
        successes: Good answers in a row that it takes.
        timeout: Seconds until an instance that does not answer well is given up.
        interval: Seconds between two questions.
    """

    path: str = "/"
    statuses: tuple[str, ...] = ("200-499",)
    host: str = "localhost"
    scheme: str = "https"
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    successes: int = 1
    timeout: float = 30.0
    interval: float = 0.2


@dataclass(frozen=True)
class Answer:
    """What came back for one question.

    Attributes:
        fault: What is wrong with it in a person's words; empty when nothing is.
        status: Its HTTP status; 0 when there was no answer.
        maintenance: Whether the proxy said that it keeps clients from the app on purpose.
        kept: Whether it may be one that the proxy has kept, which says nothing of the app.
    """

    fault: str = ""
    status: int = 0
    maintenance: bool = False
    kept: bool = False


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class ProxyConnection(http.client.HTTPSConnection):
    """HTTPS to the proxy of this host under one of its names; the certificate is not judged here."""

    def __init__(self, port: int, name: str, timeout: float, address: str = LOOPBACK) -> None:
        super().__init__(address, port, timeout=timeout, context=distrusting())
        self._name = name

    def connect(self) -> None:
        plain = socket.create_connection((self.host, self.port), self.timeout)
        self.sock = distrusting().wrap_socket(plain, server_hostname=self._name)


def accepts(statuses: Iterable[str], status: int) -> bool:
    """Whether a status is one of those, single or within a range."""
    for accepted in statuses:
        first, _dash, last = str(accepted).partition("-")
        if int(first) <= status <= int(last or first):
            return True
    return False


def listens(socket_path: Path) -> bool:
    """Whether a server takes connections there, or will take them as soon as it has taken those that wait."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        caller.setblocking(False)
        try:
            caller.connect(str(socket_path))
        except BlockingIOError:
            return True
        except OSError:
            return False
    return True


def ask(socket_path: Path, health: Health) -> Answer:
    """Ask an instance once, as the proxy would."""
    forwarded = {"X-Forwarded-Proto": health.scheme, "X-Forwarded-For": LOOPBACK, "X-Forwarded-Host": health.host}
    return _ask(UnixConnection(socket_path, max(health.timeout, 1.0)), health, forwarded)


def ask_through_proxy(port: int, name: str, health: Health, address: str = LOOPBACK) -> Answer:
    """Ask once as a client does, under one of the app's names; HTTPS or HTTP as C(health.scheme) says."""
    timeout = max(health.timeout, 1.0)
    connection = (
        ProxyConnection(port, name, timeout, address)
        if health.scheme == "https"
        else http.client.HTTPConnection(address, port, timeout=timeout)
    )
    return _ask(connection, replace(health, host=name), {})


def ask_over(connection: http.client.HTTPConnection, health: Health) -> Answer:
    """Ask once over a connection, under the name that C(health) says."""
    return _ask(connection, health, {})


def _ask(connection: http.client.HTTPConnection, health: Health, headers: Mapping[str, str]) -> Answer:
    fixed = {"Host": health.host, "User-Agent": USER_AGENT, "Connection": "close"}
    # The timeout of a connection begins again with each byte.
    overdue = threading.Timer(max(health.timeout, 1.0), _hang_up, [connection])
    overdue.daemon = True
    overdue.start()
    try:
        connection.request("GET", health.path, headers={**fixed, **headers, **health.headers})
        answer = connection.getresponse()
        text = answer.read(BODY_LIMIT).decode(errors="replace")
    except (OSError, ValueError, http.client.HTTPException) as error:
        late = "" if overdue.is_alive() else f"it took longer than {health.timeout:g} s; "
        return Answer(f"GET {health.path} got no answer: {late}{error}")
    finally:
        overdue.cancel()
        connection.close()
    closed, kept = (answer.getheader(name) is not None for name in ("X-Maintenance", "X-Cache"))
    return Answer(_fault(health, answer.status, text), answer.status, closed, kept)


def _hang_up(connection: http.client.HTTPConnection) -> None:
    with suppress(OSError, AttributeError):  # not connected yet, or no longer
        connection.sock.shutdown(socket.SHUT_RDWR)


def _fault(health: Health, status: int, text: str) -> str:
    if not accepts(health.statuses, status):
        return f"GET {health.path} answered {status}, expected is {', '.join(map(str, health.statuses))}"
    if health.body not in text:
        return f"GET {health.path} answered {status} without {health.body!r}, but: {text[:200]!r}"
    return ""
