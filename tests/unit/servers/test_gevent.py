# SPDX-License-Identifier: GPL-3.0-or-later
"""That gevent makes what an app waits for concurrent: a database by psycopg, another server by requests.

Both stand-ins answer nobody before all have asked, so one request that is not begun before another has ended stops all.
"""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from test_contract import PATIENCE, Case, ready
from test_contract import fixture_folder as fixture_folder

AT_ONCE = 8
READY = b"Z\0\0\0\5I"


class Backend(socketserver.ThreadingTCPServer):
    """Answers when as many as can be are waiting."""

    daemon_threads = True

    def __init__(self, handler: type[socketserver.BaseRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.all_are_there = threading.Barrier(AT_ONCE)

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class Http(socketserver.StreamRequestHandler):
    """Another HTTP server."""

    server: Backend

    def handle(self) -> None:
        while self.rfile.readline().strip():
            pass
        self.server.all_are_there.wait(PATIENCE)
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")


class Postgres(socketserver.StreamRequestHandler):
    """As much of PostgreSQL's protocol as a statement without rows takes."""

    server: Backend

    def handle(self) -> None:
        while self._startup() != 196608:  # until it is version 3.0, and not a question for encryption
            self.wfile.write(b"N")
        self.wfile.write(b"R\0\0\0\x08\0\0\0\0" + READY)
        answers = {
            b"P": b"1\0\0\0\4",
            b"B": b"2\0\0\0\4",
            b"D": b"n\0\0\0\4",
            b"E": b"C\0\0\0\x0bSELECT\0",
            b"Q": b"C\0\0\0\x0aBEGIN\0" + READY,
            b"S": READY,
        }
        while (kind := self.rfile.read(1)) and kind != b"X":
            self.rfile.read(int.from_bytes(self.rfile.read(4), "big") - 4)
            if kind == b"E":
                self.server.all_are_there.wait(PATIENCE)
            self.wfile.write(answers.get(kind, b""))

    def _startup(self) -> int:
        message = self.rfile.read(int.from_bytes(self.rfile.read(4), "big") - 4)
        return int.from_bytes(message[:4], "big")


@contextmanager
def backend(handler: type[socketserver.BaseRequestHandler]) -> Iterator[Backend]:
    """A backend that runs."""
    with Backend(handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize("preload", [False, True], ids=["in the worker", "preloaded"])
@pytest.mark.parametrize("path", ["/database", "/http"])
def test_requests_of_one_worker_wait_at_the_same_time(folder: Path, path: str, preload: bool) -> None:
    case = Case("gunicorn", "wsgi", {"worker_class": "gevent", "workers": 1, "preload": preload})
    with backend(Postgres) as database, backend(Http) as other:
        environment = {
            "DATABASE": f"host=127.0.0.1 port={database.port} user=x dbname=x sslmode=disable gssencmode=disable",
            "OTHER": f"http://127.0.0.1:{other.port}/",
            "NO_PROXY": "127.0.0.1",
        }
        with (
            ready(case, folder, environment=environment, factory="create_caller") as instance,
            ThreadPoolExecutor(AT_ONCE) as pool,
        ):
            asked = [pool.submit(instance.ask, path, as_nginx=False) for _ in range(AT_ONCE)]
            assert all(each.result(PATIENCE)["size"] for each in asked), instance.log.read_text()
    assert socket.socket.__module__ == "socket", "the test itself is patched"
