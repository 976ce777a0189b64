"""What an app behind nginx is told of its client."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import socket
import struct
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def load() -> ModuleType:
    """The module as a server's launcher loads it: a file beside its settings."""
    spec = importlib.util.spec_from_file_location("behind_proxy", ROOT / "roles/server/files/behind_proxy.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


behind_proxy = load()


def told(environ: dict[str, Any], from_proxy: bool = True) -> dict[str, Any]:
    """What the app gets of a request that the server describes like this."""
    seen: dict[str, Any] = {}

    def app(environ: dict[str, Any], _start_response: Any) -> list[bytes]:
        seen.update(environ)
        return [b"answer"]

    wrapped = behind_proxy.BehindProxy(app, lambda _environ: from_proxy)
    # What gunicorn says of a client that comes by a unix socket.
    assert wrapped({"REMOTE_ADDR": "", "wsgi.url_scheme": "http", **environ}, None) == [b"answer"]
    return seen


@pytest.mark.parametrize(
    ("header", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("203.0.113.1, 192.0.2.7", "192.0.2.7"),
        ("203.0.113.1,192.0.2.7", "192.0.2.7"),
        ("", ""),
    ],
)
def test_the_client_is_who_nginx_says(header: str, client: str) -> None:
    seen = told({"HTTP_X_FORWARDED_FOR": header})
    assert seen["REMOTE_ADDR"] == client
    assert seen["HTTP_X_FORWARDED_FOR"] == header, "ProxyFix would not find it"


@pytest.mark.parametrize(("header", "scheme"), [("https", "https"), ("http", "http"), ("gopher", "http")])
def test_the_scheme_is_the_clients(header: str, scheme: str) -> None:
    assert told({"HTTP_X_FORWARDED_PROTO": header})["wsgi.url_scheme"] == scheme


def test_what_does_not_come_from_nginx_is_not_believed() -> None:
    claims = dict.fromkeys(behind_proxy.FROM_PROXY, "192.0.2.99")
    seen = told({**claims, "wsgi.url_scheme": "https", "HTTP_HOST": "127.0.0.1:8000"}, from_proxy=False)
    assert not [name for name, value in seen.items() if value == "192.0.2.99"]
    assert (seen["REMOTE_ADDR"], seen["wsgi.url_scheme"], seen["HTTP_HOST"]) == ("127.0.0.1", "http", "127.0.0.1:8000")


@pytest.mark.parametrize(
    ("host", "scheme", "name", "port"),
    [
        ("api.example.com", "https", "api.example.com", "443"),
        ("api.example.com", "http", "api.example.com", "80"),
        ("api.example.com:8443", "https", "api.example.com", "8443"),
        ("[2001:db8::7]", "https", "[2001:db8::7]", "443"),
        ("[2001:db8::7]:8443", "https", "[2001:db8::7]", "8443"),
        ("", "http", "localhost", "80"),
    ],
)
def test_the_server_is_the_one_that_the_client_asked(host: str, scheme: str, name: str, port: str) -> None:
    seen = told({"HTTP_HOST": host, "HTTP_X_FORWARDED_PROTO": scheme, "SERVER_NAME": "waitress.invalid"})
    assert (seen["SERVER_NAME"], seen["SERVER_PORT"]) == (name, port)


@pytest.mark.parametrize("variable", ["RAW_URI", "REQUEST_URI"])
def test_the_uri_as_it_was_written_has_both_names(variable: str) -> None:
    seen = told({variable: "/a%2Fb"})
    assert (seen["RAW_URI"], seen["REQUEST_URI"]) == ("/a%2Fb", "/a%2Fb")


def test_what_a_server_says_that_is_not_the_client_s() -> None:
    seen = told({"REMOTE_HOST": "localhost", "REMOTE_PORT": "None", "SERVER_SOFTWARE": None})
    assert "REMOTE_HOST" not in seen
    assert "REMOTE_PORT" not in seen
    assert seen["SERVER_SOFTWARE"] == "wsgi"


@pytest.mark.parametrize(
    "header", [("X-A", "a\r\nX-Evil: 1"), ("X-A", "a\nb"), ("X-A\r\nX-Evil", "1"), ("X-A", "a\0b"), ("X-A", "\u2009")]
)
def test_a_header_that_is_none_is_not_sent(header: tuple[str, str]) -> None:
    sent: list[Any] = []

    def app(_environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("X-B", "caf\xe9"), header])
        return []

    wrapped = behind_proxy.BehindProxy(app, lambda _environ: True)
    with pytest.raises(ValueError, match="X-A"):
        wrapped({"wsgi.url_scheme": "http"}, lambda *given: sent.append(given))
    assert sent == []


def scope_of(kind: str = "http", from_proxy: bool = True, below: str = "/", **scope: Any) -> dict[str, Any]:
    """The scope that an ASGI app gets of a request that the server describes like this."""
    seen: dict[str, Any] = {}

    async def app(scope: dict[str, Any], _receive: Any, _send: Any) -> None:
        seen.update(scope)

    wrapped = behind_proxy.ASGIBehindProxy(app, below)
    told = {"type": kind, "scheme": "http", "path": "/", "root_path": "", "client": None, "headers": [], **scope}
    asyncio.run((wrapped if from_proxy else wrapped.of_this_host)(told, None, None))
    return seen


@pytest.mark.parametrize(
    ("header", "client"),
    [
        (b"192.0.2.7", ("192.0.2.7", 0)),
        (b"2001:db8::7", ("2001:db8::7", 0)),
        (b"203.0.113.1, 192.0.2.7", ("192.0.2.7", 0)),
        (b"", None),
    ],
)
def test_the_client_of_a_scope_is_who_nginx_says(header: bytes, client: tuple[str, int] | None) -> None:
    seen = scope_of(headers=[(b"x-forwarded-for", header)])
    assert seen["client"] == client
    assert seen["headers"] == [(b"x-forwarded-for", header)]


@pytest.mark.parametrize(
    ("kind", "header", "scheme"),
    [
        ("http", b"https", "https"),
        ("http", b"http", "http"),
        ("http", b"gopher", "http"),
        ("websocket", b"https", "wss"),
        ("websocket", b"http", "ws"),
    ],
)
def test_the_scheme_of_a_scope_is_the_clients(kind: str, header: bytes, scheme: str) -> None:
    assert scope_of(kind, headers=[(b"x-forwarded-proto", header)])["scheme"] == scheme


@pytest.mark.parametrize(
    ("path", "root"),
    [("/admin/x", "/admin"), ("/admin", "/admin"), ("/adminx", ""), ("/healthz", ""), ("/x/admin", "")],
)
def test_the_path_of_a_scope_is_the_whole(path: str, root: str) -> None:
    seen = scope_of(below="/admin", path=path)
    assert (seen["path"], seen["root_path"]) == (path, root)


@pytest.mark.parametrize(
    ("host", "kind", "server"),
    [
        (b"api.example.com", "http", ("api.example.com", 443)),
        (b"api.example.com:8443", "http", ("api.example.com", 8443)),
        (b"api.example.com", "websocket", ("api.example.com", 443)),
        (b"[2001:db8::7]:8443", "http", ("[2001:db8::7]", 8443)),
    ],
)
def test_the_server_of_a_scope_is_the_one_asked_for(host: bytes, kind: str, server: tuple[str, int]) -> None:
    assert scope_of(kind, headers=[(b"host", host), (b"x-forwarded-proto", b"https")])["server"] == server


@pytest.mark.parametrize(("kind", "scheme"), [("http", "http"), ("websocket", "ws")])
def test_a_scope_that_does_not_come_from_nginx_is_not_believed(kind: str, scheme: str) -> None:
    names = [name.removeprefix("HTTP_").lower() for name in behind_proxy.FROM_PROXY]
    claims = [(name.replace("_", dash).encode(), b"192.0.2.99") for name in names for dash in "-_"]
    seen = scope_of(kind, from_proxy=False, scheme="https", headers=[*claims, (b"host", b"127.0.0.1:8000")])
    assert (seen["client"], seen["scheme"]) == (("127.0.0.1", 0), scheme)
    assert seen["headers"] == [(b"host", b"127.0.0.1:8000")]


def test_events_of_the_lifespan_are_left_as_they_are() -> None:
    given = scope_of("lifespan", from_proxy=False)
    assert (given["client"], given["scheme"]) == (None, "http")
    assert scope_of("lifespan", below="/admin") == given


class Peer:
    """A connection whose other end is a process of this user."""

    def __init__(self, user: int) -> None:
        self.user = user

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        assert (level, option, size) == (socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return struct.pack("3i", 1, self.user, 1)


def test_the_apps_own_user_is_not_nginx() -> None:
    near, far = socket.socketpair()
    with near, far:
        assert not behind_proxy.another_user(near), "what listens on loopback runs as the app's user"
    assert behind_proxy.another_user(Peer(os.geteuid() + 1))
