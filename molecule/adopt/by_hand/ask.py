"""Clients of all apps at once, until standard input ends; says for each app how many requests were answered well, and
what came instead of the others.

    python3 ask.py CA http://blog.example.test/ https://shop.example.test/ …

For each app one client keeps its connection open, and one opens a new one for each request.
"""

from __future__ import annotations

import http.client
import json
import ssl
import sys
import time
from collections import Counter
from threading import Event, Thread
from urllib.parse import urlsplit

PAUSE = 0.1  # seconds between two requests of a client


class Tls(http.client.HTTPSConnection):
    """A connection to this host under an app's name; the certificate is judged."""

    def connect(self) -> None:
        name, self.host = self.host, "127.0.0.1"
        http.client.HTTPConnection.connect(self)
        self.host = name
        self.sock = self._context.wrap_socket(self.sock, server_hostname=name)


class Plain(http.client.HTTPConnection):
    """A connection to this host under an app's name."""

    def connect(self) -> None:
        name, self.host = self.host, "127.0.0.1"
        super().connect()
        self.host = name


def client(url: str, trust: ssl.SSLContext, kept: bool, over: Event, found: Counter[str]) -> None:
    """Ask until it is over."""
    parts = urlsplit(url)
    name = parts.hostname or ""
    connection, fresh = None, True
    while not over.is_set():
        try:
            if connection is None:
                connection, fresh = (Tls(name, context=trust) if parts.scheme == "https" else Plain(name)), True
                connection.timeout = 30
            connection.request("GET", "/", headers={} if kept else {"Connection": "close"})
            answer = connection.getresponse()
            body = answer.read()
            good = answer.status == 200 and json.loads(body)["app"] == name.partition(".")[0]
            found["ok" if good else f"{answer.status} {body[:60]!r}"] += 1
            fresh = False
            if not kept or answer.getheader("Connection") == "close":
                connection = None
        except (OSError, ValueError, http.client.HTTPException) as error:
            # A kept connection that nginx has closed meanwhile is no answer; a client asks again over a new one.
            if fresh or isinstance(error, (ssl.SSLCertVerificationError, ValueError)):
                found[repr(error)] += 1
            connection = None
        time.sleep(PAUSE)


def main() -> None:
    trust = ssl.create_default_context(cafile=sys.argv[1])
    over, counts = Event(), {url: Counter[str]() for url in sys.argv[2:]}
    asked = [(url, trust, kept, over, found) for url, found in counts.items() for kept in (True, False)]
    clients = [Thread(target=client, args=each) for each in asked]
    for each in clients:
        each.start()
    sys.stdin.read()
    over.set()
    for each in clients:
        each.join()
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
