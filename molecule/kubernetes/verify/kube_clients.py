"""Clients of an app, at the controller: they ask over TLS, each in its own way, as long as a block runs."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from websockets.exceptions import ConnectionClosed, ConnectionClosedError, WebSocketException
from websockets.sync.client import ClientConnection, connect

TIMEOUT = 15  # seconds without a byte
KINDS = {"keep": 3, "close": 3, "slow": 3, "post": 2}  # how many of each
WITH_SOCKETS = {"keep": 2, "close": 2, "slow": 2, "post": 2, "socket": 4}


class Connection(http.client.HTTPSConnection):
    """To the controller on this machine, under an app's name."""

    def __init__(self, name: str, port: int, trust: ssl.SSLContext) -> None:
        super().__init__(name, port, timeout=TIMEOUT, context=trust)
        self._trust = trust

    def connect(self) -> None:
        self.sock = self._trust.wrap_socket(_wire(self.port), server_hostname=self.host)

    def ask(self, kind: str) -> tuple[str, str]:
        """What became of a request, and the release that answered it."""
        try:
            if kind == "post":
                self.request("POST", "/echo", body=b"x" * 5000)
            else:
                self.request("GET", "/slow" if kind == "slow" else "/")
            answer = self.getresponse()
            told = answer.read()
            if answer.status != 200:
                return str(answer.status), ""
            found = json.loads(told)
            right = found.get("bytes") == 5000 if kind == "post" else True
            return ("ok" if right else "wrong"), str(found.get("release", ""))
        except (OSError, http.client.HTTPException, ValueError) as error:
            return type(error).__name__, ""


class Socket:
    """A WebSocket to the controller on this machine, whose messages come back.

    One that the server closes as the protocol has it is opened again, and what it was not answered is sent again: a
    client knows of it. One that breaks is a failure.
    """

    def __init__(self, name: str, port: int, trust: ssl.SSLContext) -> None:
        self._asked = name, port, trust
        self._open: ClientConnection | None = None
        self.number = 0

    def ask(self, _kind: str) -> tuple[str, str]:
        """What became of a message, and the release that answered it."""
        self.number += 1
        try:
            for _ in range(3):
                try:
                    return self._echo(str(self.number))
                except ConnectionClosed as error:
                    self._open = None
                    # Without a frame that says so, it broke.
                    if isinstance(error, ConnectionClosedError) and error.rcvd is None:
                        return "broken", ""
            return "closed again and again", ""
        except (OSError, WebSocketException) as error:
            return type(error).__name__, ""

    def close(self) -> None:
        """End it."""
        if self._open:
            self._open.close()

    def _echo(self, text: str) -> tuple[str, str]:
        if self._open is None:
            name, port, trust = self._asked
            self._open = connect(f"wss://{name}/ws", sock=_wire(port), ssl=trust, proxy=None, open_timeout=TIMEOUT)
        self._open.send(text)
        release, _, back = str(self._open.recv(timeout=TIMEOUT)).partition(" ")
        time.sleep(0.02)
        return ("ok" if back == text else "wrong"), release


def _wire(port: int) -> socket.socket:
    plain = socket.create_connection(("127.0.0.1", port), TIMEOUT)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return plain


@dataclass
class Load:
    """What clients got.

    Attributes:
        name: The app's domain.
        port: Of the controller on this machine.
        ca: File with the authority of its certificate.
        kinds: How many clients of each kind.
        pause: Seconds between two requests of a client.
    """

    name: str
    port: int
    ca: str
    kinds: Mapping[str, int] = field(default_factory=lambda: KINDS)
    pause: float = 0.01
    outcomes: Counter[str] = field(default_factory=Counter)
    releases: Counter[str] = field(default_factory=Counter)
    by_kind: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest: float = 0.0
    seconds: float = 0.0
    _ended: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _clients: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Load:
        self._began = time.monotonic()
        trust = ssl.create_default_context(cafile=self.ca)
        for kind, number in self.kinds.items():
            for _ in range(number):
                client = threading.Thread(target=self._ask_on, args=(kind, trust), daemon=True)
                client.start()
                self._clients.append(client)
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        for client in self._clients:
            client.join(TIMEOUT + 5)
        self.seconds = time.monotonic() - self._began

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
            f"{self.failed} failed of {self.total} in {self.seconds:.0f} s ({dict(self.by_kind)}), "
            f"slowest ordinary one {self.slowest:.3f} s, releases {dict(self.releases)}, {self.faults[:8]}"
        )

    def _ask_on(self, kind: str, trust: ssl.SSLContext) -> None:
        made = Socket if kind == "socket" else Connection
        connection: Socket | Connection | None = None
        while not self._ended.is_set():
            began = time.monotonic()
            connection = connection or made(self.name, self.port, trust)
            outcome, release = connection.ask(kind)
            if outcome != "ok" or kind == "close":
                connection.close()
                connection = None
            with self._lock:
                self.outcomes[outcome] += 1
                self.releases[release] += 1
                self.by_kind[kind] += 1
                if outcome != "ok":
                    self.faults.append(f"{time.monotonic() - self._began:.1f} s {kind} {outcome}")
                if kind != "slow":
                    self.slowest = max(self.slowest, time.monotonic() - began)
            time.sleep(self.pause)
        if connection:
            connection.close()
