"""Clients of the example API, all of them at once, each request's answer read to its end and verified.

One file with nothing but Python's standard library: it runs on the host under test and asks it over loopback.

    python3 load.py --name api.example.test --ca /root/ca.pem --watch /srv/api/current < pipe > records.tsv

Nine clients, each with a rate of its own so that together they leave the host room to work:

- ``get`` and ``post`` over connections that are kept open, and ``get-new`` and ``post-new`` over a new one each time;
- ``slow`` requests of one second, a ``stream`` of three and an ``upload`` of 20 MB over three, one after the other.

``--clients`` names those of them that are wanted, ``--prefix`` the path below which the app is served.

It goes on until its standard input ends, or the given seconds or requests are over. A request's latency counts from
the moment it was due: a stall is not hidden by the requests that it kept from being sent (they wait up to a second,
``LATE``; what would be later than that is left out).

Prints a line a request, tab-separated: start in seconds since the epoch, latency in milliseconds, kind, outcome.
Outcomes are ``ok``, a status, ``refused``, ``reset``, ``timeout``, ``garbled``, ``short`` (the answer broke off),
``wrong`` (it is whole, but not the answer to this request) and ``repeated``: a GET that found its kept connection
closed before the first byte of an answer, was sent again over a new one, as RFC 9110 9.2.2 lets clients do, and went
well. With ``--watch``, a line of the kind ``switch`` for each new target of that link.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import os
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from threading import Event, Thread

ADDRESS = "127.0.0.1"
TIMEOUT = 30  # seconds without a byte
LATE = 1.0  # seconds that a client may be behind its rate
WATCH = 0.005  # seconds between two looks at the link

POSTED = json.dumps({"numbers": list(range(200))}).encode()
PIECE = os.urandom(320 * 1024)
PIECES = 64  # 20 MB in all
UPLOAD_DIGEST = hashlib.sha256(PIECE * PIECES).hexdigest()
UPLOAD_SECONDS = 3.0
STREAM_CHUNKS = 60
STREAMED = "".join(f"line {number} of {STREAM_CHUNKS}\n" for number in range(1, STREAM_CHUNKS + 1)).encode()


def upload_body() -> Iterator[bytes]:
    """20 MB, a piece at a time, as a client with a slow line sends them."""
    for _ in range(PIECES):
        yield PIECE
        time.sleep(UPLOAD_SECONDS / PIECES)


@dataclass(frozen=True)
class Kind:
    """What one client asks.

    Attributes:
        method: Its method.
        path: Its path.
        right: Whether a body is the answer.
        rate: Requests a second; 0 for one as soon as the other has ended.
        keep: Whether the connection is used again.
        headers: Headers of the request.
        body: Makes its body.
    """

    method: str
    path: str
    right: Callable[[bytes], bool]
    rate: float
    keep: bool
    headers: dict[str, str]
    body: Callable[[], bytes | Iterator[bytes] | None] = lambda: None


def _get(rate: float, keep: bool) -> Kind:
    return Kind("GET", "/", lambda text: json.loads(text)["app"] == "api", rate, keep, {})


def _post(rate: float, keep: bool) -> Kind:
    headers = {"Content-Type": "application/json"}
    expected = {"json": json.loads(POSTED), "length": len(POSTED), "content_type": "application/json"}
    return Kind("POST", "/echo", lambda text: bool(json.loads(text) == expected), rate, keep, headers, lambda: POSTED)


KINDS = {
    "get": _get(rate=120, keep=True),
    "get-new": _get(rate=35, keep=False),
    "post": _post(rate=90, keep=True),
    "post-new": _post(rate=25, keep=False),
    "slow": Kind("GET", "/slow?seconds=1", lambda text: json.loads(text) == {"slept": 1.0}, 0, True, {}),
    "stream": Kind("GET", f"/stream?chunks={STREAM_CHUNKS}&seconds=3", lambda text: text == STREAMED, 0, False, {}),
    "upload": Kind(
        "POST",
        "/upload",
        lambda text: json.loads(text) == {"size": len(PIECE) * PIECES, "sha256": UPLOAD_DIGEST},
        rate=0,
        keep=False,
        headers={"Content-Type": "application/octet-stream", "Content-Length": str(len(PIECE) * PIECES)},
        body=upload_body,
    ),
}
CLIENTS = ["get", "get", "get-new", "get-new", "post", "post-new", "slow", "stream", "upload"]


class OverTls(http.client.HTTPSConnection):
    """A connection to an address under an app's name."""

    def __init__(self, name: str, address: str, port: int, trust: ssl.SSLContext) -> None:
        self.trust, self.address, self.at = trust, address, port
        super().__init__(name, timeout=TIMEOUT, context=trust)

    def connect(self) -> None:
        plain = socket.create_connection((self.address, self.at), timeout=TIMEOUT)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = self.trust.wrap_socket(plain, server_hostname=self.host)


class Records:
    """What has been seen so far; ends the load when there is enough of it."""

    def __init__(self, seconds: float, requests: int) -> None:
        self.lines: list[tuple[float, float, str, str]] = []
        self.ends, self.requests = time.monotonic() + seconds, requests
        self.over = Event()

    def add(self, seconds_ago: float, kind: str, outcome: str) -> None:
        """Record something that began ``seconds_ago`` and ends now."""
        self.lines.append((time.time() - seconds_ago, 1000 * seconds_ago, kind, outcome))
        if len(self.lines) >= self.requests or time.monotonic() > self.ends:
            self.over.set()


def ask(connection: http.client.HTTPConnection, kind: Kind) -> str:
    """Send one request and read its answer; returns the outcome."""
    kept = connection.sock is not None
    try:
        connection.request(kind.method, kind.path, kind.body(), kind.headers)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        outcome = broken(error)
        if kept and kind.method == "GET" and isinstance(error, ConnectionError):
            again = ask(connection, kind)
            return "repeated" if again == "ok" else again
        return outcome
    if not kind.keep:
        connection.close()
    if answer.status != 200:
        return str(answer.status)
    return "ok" if is_right(kind, body) else "wrong"


def broken(error: Exception) -> str:
    """One word for what became of a request without a whole answer."""
    words = {
        ConnectionRefusedError: "refused",
        TimeoutError: "timeout",
        OSError: "reset",
        http.client.IncompleteRead: "short",
    }
    return next((word for kind, word in words.items() if isinstance(error, kind)), "garbled")


def is_right(kind: Kind, body: bytes) -> bool:
    """Whether a body is the answer to a request; one that cannot be read is not."""
    try:
        return kind.right(body)
    except (ValueError, KeyError, TypeError):
        return False


def client(
    name: str, kind: Kind, delay: float, connect: Callable[[], http.client.HTTPConnection], records: Records
) -> None:
    """Ask at the kind's rate until it is over."""
    rate = kind.rate
    connection = connect()
    due = time.monotonic() + delay
    while not records.over.wait(max(0.0, due - time.monotonic())):
        outcome = ask(connection, kind)
        now = time.monotonic()
        records.add(now - due, name, outcome)
        due = max(due + 1 / rate, now - LATE) if rate else now
        if outcome != "ok" and not rate:
            due = now + 0.1  # a client that is refused at once asks ten times a second
    connection.close()


def watch(link: str, records: Records) -> None:
    """Record every new target of a link."""
    seen = os.readlink(link)
    while not records.over.wait(WATCH):
        now = os.readlink(link)
        if now != seen:
            records.add(0, "switch", os.path.basename(now))
            seen = now


def stop_with_input(records: Records) -> None:
    """End the load when standard input does, or its time is over."""
    sys.stdin.read()
    records.over.set()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default=ADDRESS, help="the app's domain, for TLS and the Host header")
    parser.add_argument("--address", default=ADDRESS, help="where the app is reached over TLS")
    parser.add_argument("--port", type=int, default=443)
    parser.add_argument("--ca", help="certificate of the authority to trust; without it, plain HTTP is spoken")
    parser.add_argument("--watch", metavar="LINK", help="record when this link leads elsewhere")
    parser.add_argument("--pace", type=float, default=1.0, help="what the rates of the clients are multiplied by")
    parser.add_argument("--clients", default=",".join(CLIENTS), help="their kinds, separated by commas")
    parser.add_argument("--prefix", default="", help="path below which the app is served, such as /api")
    parser.add_argument("--seconds", type=float, default=900)
    parser.add_argument("--requests", type=int, default=400_000)
    options = parser.parse_args()
    records = Records(options.seconds, options.requests)
    clients = options.clients.split(",")
    kinds = {
        name: replace(kind, path=options.prefix + kind.path, rate=kind.rate * options.pace)
        for name, kind in KINDS.items()
    }

    def connect() -> http.client.HTTPConnection:
        if options.ca:
            return OverTls(options.name, options.address, options.port, ssl.create_default_context(cafile=options.ca))
        return http.client.HTTPConnection(options.name, options.port, timeout=TIMEOUT)

    Thread(target=stop_with_input, args=(records,), daemon=True).start()
    threads = [
        Thread(target=client, args=(name, kinds[name], number / len(clients) / 10, connect, records))
        for number, name in enumerate(clients)
    ]
    if options.watch:
        threads.append(Thread(target=watch, args=(options.watch, records)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for started, latency, kind, outcome in sorted(records.lines):
        print(f"{started:.4f}\t{latency:.1f}\t{kind}\t{outcome}")


if __name__ == "__main__":
    main()
