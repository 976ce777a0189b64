# SPDX-License-Identifier: GPL-3.0-or-later
"""When an old instance may be told to end: real sockets, as the kernel lists them."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.release.drain import BLIND, INTERVAL, QUIET, drain, look

FIXED = 1.0  # seconds that were waited for whatever there was
LIMIT = 30.0


@pytest.fixture(name="instance")
def fixture_instance(tmp_path: Path) -> Path:
    """The directory of an instance."""
    folder = tmp_path / "api" / "1"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture(name="server")
def fixture_server(instance: Path) -> Iterator[socket.socket]:
    """A server's socket in it."""
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(instance / "sock"))
        listener.listen(5)
        yield listener


def connect(server: socket.socket) -> socket.socket:
    """A client of the server's."""
    client = socket.socket(socket.AF_UNIX)
    client.connect(server.getsockname())
    return client


def drained(instance: Path, limit: float = LIMIT) -> float:
    """Seconds until it was."""
    began = time.monotonic()
    drain([instance], limit)
    return time.monotonic() - began


@pytest.mark.usefixtures("server")
def test_one_without_connections_is_not_waited_for(instance: Path) -> None:
    assert min(drained(instance) for _ in range(5)) < FIXED / 2


def test_one_is_waited_for_until_its_last_connection_is_closed(instance: Path, server: socket.socket) -> None:
    with connect(server) as client:
        accepted, _ = server.accept()
        closes = threading.Timer(1.5, lambda: (accepted.close(), client.close()))
        closes.start()
        assert drained(instance) >= 1.5
        closes.join()


def test_a_request_whose_client_is_gone_is_still_one(instance: Path, server: socket.socket) -> None:
    client = connect(server)
    accepted, _ = server.accept()
    client.close()
    with accepted:
        assert look((f"{instance}/",)) == (1, 1)


def test_a_connection_that_waits_to_be_accepted_counts(instance: Path, server: socket.socket) -> None:
    with connect(server):
        assert look((f"{instance}/",)) == (1, 1)


def test_it_ends_at_the_limit(instance: Path, server: socket.socket) -> None:
    with connect(server):
        assert 0.3 <= drained(instance, 0.3) < LIMIT


@pytest.mark.usefixtures("server")
def test_without_a_limit_nothing_is_waited_for(instance: Path) -> None:
    assert drained(instance, 0) < INTERVAL * QUIET


def test_an_instance_of_another_release_is_none_of_it(instance: Path, server: socket.socket) -> None:
    with connect(server):
        assert look((f"{instance}0/",)) == (0, 0)
        assert look((f"{instance.parent}/2/",)) == (0, 0)


def test_sockets_that_cannot_be_seen_are_given_a_moment(instance: Path) -> None:
    assert drained(instance) >= BLIND
    assert drained(instance, 0.1) < BLIND


def test_a_second_socket_of_an_instance_counts_as_well(instance: Path, server: socket.socket) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as second:
        second.bind(str(instance / "other"))
        second.listen(1)
        with connect(second):
            assert look((f"{instance}/",)) == (2, 1)
    assert server.fileno() > 0
