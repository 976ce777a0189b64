# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking an instance over its own socket whether it answers as it should."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

BODY_LIMIT = 65536  # bytes of an answer that are looked at


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


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def accepts(statuses: Iterable[str], status: int) -> bool:
    """Whether a status is one of those, single or within a range."""
    for accepted in statuses:
        first, _dash, last = str(accepted).partition("-")
        if int(first) <= status <= int(last or first):
            return True
    return False


def ask(socket_path: Path, health: Health) -> str:
    """Ask once; returns what is wrong, empty when nothing is."""
    connection = UnixConnection(socket_path, timeout=max(health.timeout, 1.0))
    headers = {"Host": health.host, "X-Forwarded-Proto": health.scheme, "X-Forwarded-For": "127.0.0.1"}
    headers.update({"X-Forwarded-Host": health.host, "User-Agent": "webops.wsgi", "Connection": "close"})
    headers.update(health.headers)
    try:
        connection.request("GET", health.path, headers=headers)
        answer = connection.getresponse()
        text = answer.read(BODY_LIMIT).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return f"GET {health.path} got no answer: {error}"
    finally:
        connection.close()
    if not accepts(health.statuses, answer.status):
        return f"GET {health.path} answered {answer.status}, expected is {', '.join(map(str, health.statuses))}"
    if health.body not in text:
        return f"GET {health.path} answered {answer.status} without {health.body!r}, but: {text[:200]!r}"
    return ""
