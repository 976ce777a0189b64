"""An HTTP proxy that has the names of what it is asked for in its output: tunnels, and plain requests."""

from __future__ import annotations

import http.client
import socketserver
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from select import select
from socket import create_connection
from urllib.parse import urlsplit

PORT = 3128
CHUNK = 65536


class Handler(BaseHTTPRequestHandler):
    """One client."""

    def do_CONNECT(self) -> None:
        """Connect the client with what it names, until either of the two has ended."""
        print(self.path, flush=True)
        name, _, port = self.path.rpartition(":")
        with create_connection((name, int(port))) as server, suppress(OSError):
            self.send_response(200)
            self.end_headers()
            ends = {server: self.connection, self.connection: server}
            while True:
                for ready in select(list(ends), [], [])[0]:
                    data = ready.recv(CHUNK)
                    if not data:
                        return
                    ends[ready].sendall(data)

    def do_GET(self) -> None:
        """Ask for the client."""
        print(self.path, flush=True)
        url = urlsplit(self.path)
        there = http.client.HTTPConnection(url.netloc)
        there.request("GET", f"{url.path}?{url.query}".rstrip("?"))
        answer = there.getresponse()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.getheader("Content-Type", ""))
        self.end_headers()
        self.wfile.write(answer.read())


class Server(socketserver.ThreadingTCPServer):
    """Any number of clients."""

    allow_reuse_address = True
    daemon_threads = True


Server(("", PORT), Handler).serve_forever()
