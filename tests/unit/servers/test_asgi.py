# SPDX-License-Identifier: GPL-3.0-or-later
"""What ASGI has and WSGI has not, under every server that runs it: events of the lifespan, and WebSocket."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from test_contract import CASES, FROM_NGINX, PATIENCE, Case, Instance, fixture_folder, ready, running, until
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

ASGI = [case for case in CASES if case.interface == "asgi"]
HOST = FROM_NGINX["Host"]
CLIENT = {name: FROM_NGINX[name] for name in ("X-Forwarded-For", "X-Forwarded-Proto")}

__all__ = ["fixture_folder"]


def websocket(instance: Instance, path: str = "/ws?a=b", as_nginx: bool = True) -> ClientConnection:
    """A WebSocket of the app's."""
    sock = instance.connect(as_nginx).sock
    return connect(f"ws://{HOST}{path}", sock=sock, additional_headers=CLIENT, open_timeout=PATIENCE)


@pytest.mark.parametrize("case", ASGI, ids=str)
def test_an_app_is_told_of_its_end(case: Case, folder: Path) -> None:
    with ready(case, folder, workers="1") as instance:
        instance.ask("/")
        instance.process.send_signal(signal.SIGTERM)
        assert instance.process.wait(PATIENCE) == 0
        assert instance.log.read_text().count("told of the end") == 1


@pytest.mark.parametrize("case", ASGI, ids=str)
def test_an_app_that_says_that_it_cannot_start_ends_it(case: Case, folder: Path) -> None:
    with running(case, folder, environment={"BROKEN_START": "yes"}) as instance:
        assert instance.process.wait(PATIENCE) != 0
        assert "no start on purpose" in instance.log.read_text()


@pytest.mark.parametrize("case", ASGI, ids=str)
def test_an_error_that_the_app_has_answered_is_in_the_journal(case: Case, folder: Path) -> None:
    with ready(case, folder) as instance:
        connection = instance.connect()
        connection.request("GET", "/error", headers=FROM_NGINX)
        assert connection.getresponse().status == 500
        until(lambda: "RuntimeError: an error on purpose" in instance.log.read_text(), "a traceback", instance)


@pytest.mark.parametrize("case", ASGI, ids=str)
def test_a_header_that_would_begin_another_is_an_error_of_the_app(case: Case, folder: Path) -> None:
    with ready(case, folder) as instance:
        connection = instance.connect()
        connection.request("GET", "/split", headers=FROM_NGINX)
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("X-Evil")) == (500, None)
        until(lambda: "has a line end in it" in instance.log.read_text(), "a traceback", instance)


@pytest.mark.parametrize("case", [case for case in ASGI if case.server == "uvicorn"], ids=str)
def test_an_app_that_only_one_worker_can_import_ends_it(case: Case, folder: Path) -> None:
    with running(case, folder, environment={"ONLY_ONE": str(folder / "lock")}, workers="2") as instance:
        assert instance.process.wait(PATIENCE) != 0
        assert "BlockingIOError" in instance.log.read_text()


@pytest.mark.parametrize("case", [case for case in CASES if case.server == "gunicorn"], ids=str)
def test_gunicorn_s_access_log_has_the_client(case: Case, folder: Path) -> None:
    with ready(case, folder, access_log="json") as instance:
        instance.ask("/x?a=b")
        until(lambda: '{"time"' in instance.log.read_text(), "a line of the access log", instance)
        (line,) = [line for line in instance.log.read_text().splitlines() if line.startswith('{"time"')]
        told = json.loads(line)
        assert (told["client"], told["path"], told["status"]) == ("192.0.2.7", "/x?a=b", 200)
        assert (told["request_id"], told["seconds"] < PATIENCE) == ("r1", True)


@pytest.mark.parametrize("case", ASGI, ids=str)
def test_a_websocket_is_told_what_a_request_is(case: Case, folder: Path) -> None:
    with ready(case, folder, path="/admin") as instance, websocket(instance, "/admin/ws?a=b") as open_:
        told = json.loads(open_.recv(PATIENCE))
        assert (told["REMOTE_ADDR"], told["scheme"], told["HTTP_HOST"]) == ("192.0.2.7", "wss", HOST)
        assert (told["SCRIPT_NAME"], told["PATH_INFO"], told["QUERY_STRING"]) == ("/admin", "/ws", "a=b")
        open_.send("hello")
        assert open_.recv(PATIENCE) == "hello"


@pytest.mark.parametrize("case", [case for case in ASGI if case.server != "granian"], ids=str)
def test_a_websocket_that_does_not_come_from_nginx_is_this_host_s(case: Case, folder: Path) -> None:
    with ready(case, folder) as instance, websocket(instance, as_nginx=False) as open_:
        told = json.loads(open_.recv(PATIENCE))
        assert (told["REMOTE_ADDR"], told["scheme"]) == ("127.0.0.1", "ws")


@pytest.mark.parametrize("case", ASGI, ids=str)
def test_a_websocket_does_not_keep_an_instance(case: Case, folder: Path) -> None:
    with ready(case, folder, graceful_timeout=2) as instance, websocket(instance) as open_:
        open_.recv(PATIENCE)
        instance.process.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed):
            open_.recv(PATIENCE)
        instance.process.wait(PATIENCE)


def test_an_import_that_fails_late_ends_granian(folder: Path) -> None:
    with running(Case("granian", "wsgi"), folder, environment={"BROKEN": "6"}) as instance:
        assert not os.path.exists(instance.socket)
        assert instance.process.wait(PATIENCE) != 0
        assert instance.log.read_text().count("RuntimeError: broken on purpose") <= 2


def test_a_worker_of_uvicorn_that_has_had_enough_is_replaced(folder: Path) -> None:
    with ready(Case("uvicorn", "asgi"), folder, workers="1", limit_max_requests=2) as instance:
        for _ in range(6):
            assert instance.ask("/")["REMOTE_ADDR"] == "192.0.2.7"
            time.sleep(0.2)
        until(lambda: instance.log.read_text().count("Started server process") > 1, "another worker", instance)
        assert instance.process.poll() is None
