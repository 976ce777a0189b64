"""What an app behind nginx is told of its client."""

from __future__ import annotations

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
    assert seen == {"REMOTE_ADDR": "127.0.0.1", "wsgi.url_scheme": "http", "HTTP_HOST": "127.0.0.1:8000"}


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
