# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""That the benchmark's load tool sees what goes wrong: a count of no failures is worth as much as that."""

from __future__ import annotations

import http.client
import importlib.util
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

FILE = Path(__file__).resolve().parents[2] / "bench" / "load.py"
SPEC = importlib.util.spec_from_file_location("bench_load", FILE)
assert SPEC
assert SPEC.loader
load = importlib.util.module_from_spec(SPEC)
sys.modules["bench_load"] = load  # dataclasses look their module up
SPEC.loader.exec_module(load)

RIGHT = b'{"app": "api"}'
RESET, CLOSE = object(), object()  # what the server does in place of an answer


def answer(body: bytes, status: str = "200 OK", length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\nContent-Length: {size}\r\n\r\n".encode() + body


@contextmanager
def server(*connections: list[object]) -> Iterator[int]:
    """Serve one connection after the other, each with its answers; after them the connection is closed."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for answers in connections:
            peer, _ = listener.accept()
            for each in answers:
                peer.recv(65536)
                if each is RESET:
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                elif isinstance(each, bytes):
                    peer.sendall(each)
            peer.close()

    thread = Thread(target=serve)
    thread.start()
    yield listener.getsockname()[1]
    thread.join(5)
    listener.close()


@pytest.mark.parametrize(
    ("given", "outcome"),
    [
        (answer(RIGHT), "ok"),
        (answer(b'{"app": "other"}'), "wrong"),
        (answer(b"<html>"), "wrong"),
        (answer(b"{}"), "wrong"),
        (answer(b"bad gateway", "502 Bad Gateway"), "502"),
        (answer(RIGHT[:-4], length=len(RIGHT)), "short"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\ne\r\n" + RIGHT[:5], "short"),
        (b"SSH-2.0\r\n", "garbled"),
        (RESET, "reset"),
        (CLOSE, "reset"),
    ],
)
def test_outcome_of_an_answer(given: object, outcome: str) -> None:
    with server([given]) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        assert load.ask(connection, load.KINDS["get-new"]) == outcome


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert load.ask(http.client.HTTPConnection("127.0.0.1", port), load.KINDS["get"]) == "refused"


def test_no_answer_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connection = http.client.HTTPConnection("127.0.0.1", listener.getsockname()[1], timeout=0.2)
        assert load.ask(connection, load.KINDS["get"]) == "timeout"


def test_get_on_a_kept_connection_that_was_closed_is_sent_again() -> None:
    with server([answer(RIGHT), CLOSE], [answer(RIGHT)]) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        assert [load.ask(connection, load.KINDS["get"]) for _ in range(2)] == ["ok", "repeated"]


def test_post_is_never_sent_twice() -> None:
    with server([answer(RIGHT), CLOSE]) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        assert load.ask(connection, load.KINDS["get"]) == "ok"
        assert load.ask(connection, load.KINDS["post"]) == "reset"
