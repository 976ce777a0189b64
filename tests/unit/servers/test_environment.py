# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole of what a WSGI app is told of a request, and what of its answer arrives: the same by every server."""

from __future__ import annotations

import http.client
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.release.health import UnixConnection
from ansible_collections.webops.wsgi.plugins.plugin_utils.servers.model import server
from test_contract import CASES, FROM_NGINX, PATIENCE, Case, Instance, ready

# A server with the settings by which it runs an app in another way.
WAYS = [
    *(pytest.param(case, id=case.server) for case in CASES if case.interface == "wsgi"),
    pytest.param(Case("gunicorn", "wsgi", {"worker_class": "sync"}), id="gunicorn sync"),
    pytest.param(Case("gunicorn", "wsgi", {"worker_class": "gevent"}), id="gunicorn gevent"),
]
# What a server may say of itself beside what all of them say: how it runs the app, and how it is called.
OWN = {"SERVER_SOFTWARE"}
# What one of them says differently, and why it may.
# Granian reads a header that is not ASCII as nothing, does not say what the client wrote, and sends UTF-8. It takes 100
# headers.
DIFFERENT: dict[str, dict[str, str | None]] = {"granian": {"HTTP_X_LATIN": "", "RAW_URI": None, "REQUEST_URI": None}}
SENT_AS_UTF_8 = {"granian"}
MOST_HEADERS = {"granian": 100}
PATH, PREFIX = "/admin/environ", "/admin"
QUERY = "d=e%2Ff&g=h+i"
SENT = {
    **FROM_NGINX,
    "SCRIPT_NAME": PREFIX,
    "Accept-Encoding": "identity",
    "Content-Type": "text/x; charset=utf-8",
    "X-Latin": "caf\xe9",
    "X-Two": "a, b",
    "X-Empty": "",
}
TOLD = {
    "CONTENT_LENGTH": "3",
    "CONTENT_TYPE": "text/x; charset=utf-8",
    "HTTP_ACCEPT_ENCODING": "identity",
    "HTTP_CONNECTION": "close",
    "HTTP_HOST": "api.example.com",
    "HTTP_X_EMPTY": "",
    "HTTP_X_FORWARDED_FOR": "192.0.2.7",
    "HTTP_X_FORWARDED_PROTO": "https",
    "HTTP_X_LATIN": "caf\xe9",
    "HTTP_X_REQUEST_ID": "r1",
    "HTTP_X_TWO": "a, b",
    "PATH_INFO": "/environ",
    "QUERY_STRING": QUERY,
    "RAW_URI": f"{PATH}?{QUERY}",
    "REMOTE_ADDR": "192.0.2.7",
    "REQUEST_METHOD": "POST",
    "REQUEST_URI": f"{PATH}?{QUERY}",
    "SCRIPT_NAME": PREFIX,
    "SERVER_NAME": "api.example.com",
    "SERVER_PORT": "443",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "wsgi.url_scheme": "https",
}
# A request of this host, past nginx: nothing that only nginx may say.
TOLD_HERE = {
    **{name: value for name, value in TOLD.items() if not name.startswith("HTTP_X_FORWARDED")},
    "RAW_URI": f"/environ?{QUERY}",
    "REMOTE_ADDR": "127.0.0.1",
    "REQUEST_URI": f"/environ?{QUERY}",
    "SCRIPT_NAME": "",
    "SERVER_PORT": "80",
    "wsgi.url_scheme": "http",
}


@pytest.fixture(name="served", scope="module", params=WAYS)
def fixture_served(request: pytest.FixtureRequest) -> Iterator[tuple[str, Instance]]:
    """The name of a server, and an instance of it."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    with ready(request.param, folder, path=PREFIX) as instance:
        yield request.param.server, instance
    shutil.rmtree(folder)


def ask(
    instance: Instance,
    path: str,
    method: str = "GET",
    body: Any = None,
    headers: dict[str, str] = FROM_NGINX,
    as_nginx: bool = True,
) -> tuple[http.client.HTTPResponse, bytes]:
    """The answer to a request, and its body."""
    connection = instance.connect(as_nginx)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    return answer, answer.read()


@pytest.mark.parametrize(("as_nginx", "expected"), [(True, TOLD), (False, TOLD_HERE)], ids=["nginx", "this host"])
def test_the_whole_environment(served: tuple[str, Instance], as_nginx: bool, expected: dict[str, str]) -> None:
    name, instance = served
    if not as_nginx and not server(name).tells_peers:
        # It believes whoever can open its socket, which is why listen is refused with it.
        expected = {**TOLD, **{key: expected[key] for key in ("RAW_URI", "REQUEST_URI", "SCRIPT_NAME")}}
    answer, text = ask(instance, expected["RAW_URI"], "POST", b"x=1", SENT, as_nginx)
    assert answer.status == 200
    told = {key: value for key, value in json.loads(text).items() if "." not in key or key in expected}
    different = DIFFERENT.get(name, {})
    assert {key: told.get(key) for key in different} == different
    for key in OWN:
        assert told.pop(key)
    assert {**told, **different} == {**expected, **different}


@pytest.mark.parametrize(
    ("path", "decoded"),
    [
        ("/a%20b/%C3%A9", "/a b/\xc3\xa9"),
        ("/a%2Fb", "/a/b"),
        ("/a+b;c=d,e@f", "/a+b;c=d,e@f"),
        ("/a//b", "/a//b"),
        ("/%25", "/%"),
    ],
)
def test_the_path_is_decoded_once(served: tuple[str, Instance], path: str, decoded: str) -> None:
    _answer, text = ask(served[1], path)
    assert json.loads(text)["PATH_INFO"] == decoded


def test_a_header_keeps_its_bytes(served: tuple[str, Instance]) -> None:
    answer, _text = ask(served[1], "/latin")
    arrives = "caf\xe9".encode("utf-8" if served[0] in SENT_AS_UTF_8 else "latin-1").decode("latin-1")
    assert answer.getheader("X-Latin") == arrives


def test_a_line_end_in_a_header_is_an_error_of_the_app(served: tuple[str, Instance]) -> None:
    answer, _text = ask(served[1], "/split")
    assert answer.status == 500
    assert answer.getheader("X-Evil") is None


def test_who_waits_for_a_sign_to_go_on_gets_it(served: tuple[str, Instance]) -> None:
    _name, instance = served
    connection = UnixConnection(instance.socket, PATIENCE)  # HTTP, whatever nginx speaks
    connection.connect()
    wire = connection.sock
    head = {**FROM_NGINX, "Content-Length": "3", "Expect": "100-continue"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    wire.sendall(f"POST / HTTP/1.1\r\n{lines}\r\n".encode())
    wire.settimeout(PATIENCE)
    with wire.makefile("rb") as stream:
        assert stream.readline().split()[1] == b"100"
        assert stream.readline() == b"\r\n"
        wire.sendall(b"x=1")
        answered = stream.read()
    assert answered.startswith(b"HTTP/1.1 200 ")
    assert b'"body": "x=1"' in answered


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        (f"/{'a' * 7999}", {}),
        ("/", {"X-Long": "x" * 60_000}),
        ("/", {f"X-{number}": "x" for number in range(1000)}),
    ],
    ids=["path", "header", "headers"],
)
def test_what_nginx_lets_through_is_taken(served: tuple[str, Instance], path: str, headers: dict[str, str]) -> None:
    name, instance = served
    answer, _text = ask(instance, path, headers={**FROM_NGINX, **headers})
    assert answer.status == (431 if len(headers) > MOST_HEADERS.get(name, 1000) else 200)


def test_an_answer_to_head_has_no_body(served: tuple[str, Instance]) -> None:
    answer, text = ask(served[1], "/", "HEAD")
    assert (answer.status, text) == (200, b"")
    assert int(answer.getheader("Content-Length") or 0) > 0
