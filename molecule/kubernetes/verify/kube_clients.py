"""Clients of an app, at the controller: they ask over TLS, each in its own way, as long as a block runs."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

TIMEOUT = 15  # seconds without a byte
PAUSE = 0.01  # seconds between two requests of a client
KINDS = {"keep": 3, "close": 3, "slow": 3, "post": 2}  # how many of each


class Connection(http.client.HTTPSConnection):
    """To the controller on this machine, under an app's name."""

    def __init__(self, name: str, port: int, trust: ssl.SSLContext) -> None:
        super().__init__(name, port, timeout=TIMEOUT, context=trust)
        self._trust = trust

    def connect(self) -> None:
        plain = socket.create_connection(("127.0.0.1", self.port), TIMEOUT)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = self._trust.wrap_socket(plain, server_hostname=self.host)


@dataclass
class Load:
    """What clients got.

    Attributes:
        name: The app's domain.
        port: Of the controller on this machine.
        ca: File with the authority of its certificate.
    """

    name: str
    port: int
    ca: str
    outcomes: Counter[str] = field(default_factory=Counter)
    releases: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest: float = 0.0
    _ended: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _clients: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Load:
        trust = ssl.create_default_context(cafile=self.ca)
        for kind, number in KINDS.items():
            for _ in range(number):
                client = threading.Thread(target=self._ask_on, args=(kind, trust), daemon=True)
                client.start()
                self._clients.append(client)
        self._began = time.monotonic()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        for client in self._clients:
            client.join(TIMEOUT + 5)

    @property
    def total(self) -> int:
        """Requests so far."""
        return sum(self.outcomes.values())

    @property
    def failed(self) -> int:
        """Requests that were not answered as they should have been."""
        return self.total - self.outcomes["ok"]

    def until(self, requests: int, seconds: float = 240) -> None:
        """Wait for so many requests in all."""
        end = time.monotonic() + seconds
        while self.total < requests and time.monotonic() < end:
            time.sleep(0.2)

    def __str__(self) -> str:
        return (
            f"{self.failed} failed of {self.total} in {time.monotonic() - self._began:.0f} s, "
            f"slowest ordinary one {self.slowest:.3f} s, releases {dict(self.releases)}, {self.faults[:8]}"
        )

    def _ask_on(self, kind: str, trust: ssl.SSLContext) -> None:
        connection: Connection | None = None
        while not self._ended.is_set():
            began = time.monotonic()
            connection = connection or Connection(self.name, self.port, trust)
            outcome, release = self._ask(connection, kind)
            if outcome != "ok" or kind == "close":
                connection.close()
                connection = None
            with self._lock:
                self.outcomes[outcome] += 1
                self.releases[release] += 1
                if outcome != "ok":
                    self.faults.append(f"{time.monotonic() - self._began:.1f} s {kind} {outcome}")
                if kind != "slow":
                    self.slowest = max(self.slowest, time.monotonic() - began)
            time.sleep(PAUSE)

    def _ask(self, connection: Connection, kind: str) -> tuple[str, str]:
        try:
            if kind == "post":
                connection.request("POST", "/echo", body=b"x" * 5000)
            else:
                connection.request("GET", "/slow" if kind == "slow" else "/")
            answer = connection.getresponse()
            told = answer.read()
            if answer.status != 200:
                return str(answer.status), ""
            found = json.loads(told)
            right = found.get("bytes") == 5000 if kind == "post" else True
            return ("ok" if right else "wrong"), str(found.get("release", ""))
        except (OSError, http.client.HTTPException, ValueError) as error:
            return type(error).__name__, ""
