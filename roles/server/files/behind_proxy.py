# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells an app behind nginx who its client is, whichever server runs it.

A server on a unix socket knows no address. nginx does, and says it in C(X-Forwarded-For) and C(X-Forwarded-Proto), with
which it replaces what the client sent.
"""

from __future__ import annotations

import os
import re
import socket
import struct
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

Environ = MutableMapping[str, Any]
Application = Callable[..., Iterable[bytes]]
Scope = MutableMapping[str, Any]
ASGIApplication = Callable[..., Awaitable[None]]

THIS_HOST = "127.0.0.1"

# What nginx says of a client, and nobody else may.
FROM_PROXY = (
    "HTTP_FORWARDED",
    "HTTP_X_CLIENT_CERT_SUBJECT",
    "HTTP_X_CLIENT_CERT_VERIFY",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PORT",
    "HTTP_X_FORWARDED_PREFIX",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_FORWARDED_PROTOCOL",
    "HTTP_X_FORWARDED_SSL",
    "HTTP_X_REAL_IP",
)

_UNSENDABLE = re.compile(r"[\r\n\0]|[^\0-\xff]")
# The same as ASGI has them; some frameworks take a name with underscores for the same.
_UNSENDABLE_BYTES = re.compile(rb"[\r\n\0]")
_HEADERS_FROM_PROXY = frozenset(name.removeprefix("HTTP_").replace("_", "-").lower().encode() for name in FROM_PROXY)

_CREDENTIALS = struct.Struct("3i")
_OWN_USER = os.geteuid()


class BehindProxy:
    """WSGI middleware by which an app is told the same by every server.

    C(REMOTE_ADDR) and C(wsgi.url_scheme) are the client's, C(SERVER_NAME) and C(SERVER_PORT) those that it asked for.
    The headers stay as they are, so that an app which reads them itself (C(ProxyFix)) finds what it finds without this.
    """

    def __init__(self, app: Application, from_proxy: Callable[[Environ], bool], path: str = "/") -> None:
        """Wrap an app.

        Args:
            app: The app.
            from_proxy: Whether nginx sent a request. Any other is this host's own, and its headers are not believed.
            path: The path below which nginx serves the app, where the server does not learn it otherwise.
        """
        self._app = app
        self._from_proxy = from_proxy
        self._path = path.rstrip("/")

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        if self._from_proxy(environ):
            # nginx writes one address; if a proxy's list were passed on, the last one would be nginx's word.
            client = environ.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2].strip()
            if client:
                environ["REMOTE_ADDR"] = client
            scheme = environ.get("HTTP_X_FORWARDED_PROTO")
            if scheme in ("http", "https"):
                environ["wsgi.url_scheme"] = scheme
            if self._path and f"{environ['PATH_INFO']}/".startswith(f"{self._path}/"):
                environ["SCRIPT_NAME"] = self._path
                environ["PATH_INFO"] = environ["PATH_INFO"][len(self._path) :]
        else:
            environ["REMOTE_ADDR"] = THIS_HOST
            environ["wsgi.url_scheme"] = "http"
            for name in FROM_PROXY:
                environ.pop(name, None)
        _describe(environ)

        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            for name, value in headers:
                if _UNSENDABLE.search(f"{name}{value}"):
                    raise ValueError(f"the app's header {name!r} has a line end in it, or is not Latin-1: {value!r}")
            return start_response(status, headers, *more)

        return self._app(environ, start)


def _describe(environ: Environ) -> None:
    """What servers on a unix socket say differently, or not at all."""
    asked = _asked_for(environ.get("HTTP_HOST", ""), environ["wsgi.url_scheme"])
    environ["SERVER_NAME"], environ["SERVER_PORT"] = asked
    environ["SERVER_SOFTWARE"] = environ.get("SERVER_SOFTWARE") or "wsgi"
    uri = environ.get("RAW_URI") or environ.get("REQUEST_URI")  # as gunicorn and as others call it
    if uri:
        environ["RAW_URI"] = environ["REQUEST_URI"] = uri
    for unknown in ("REMOTE_HOST", "REMOTE_PORT"):
        environ.pop(unknown, None)


def _asked_for(host: str, scheme: str) -> tuple[str, str]:
    """The name and the port that a client asked for."""
    name, _colon, port = host.rpartition(":")
    if name and port.isdecimal():
        return name, port
    return host or "localhost", "443" if scheme in ("https", "wss") else "80"


class ASGIBehindProxy:
    """ASGI middleware by which an app is told the same by every server, in HTTP and in WebSocket.

    C(client), C(scheme) and C(root_path) are the client's, C(server) is what it asked for.

    The headers stay as they are, as with :class:`BehindProxy`. C(path) keeps the path below which the app is served, as
    ASGI wants it.
    """

    def __init__(self, app: ASGIApplication, path: str = "/") -> None:
        """Wrap an app.

        Args:
            app: The app.
            path: The path below which nginx serves the app.
        """
        self._app = app
        self._path = path.rstrip("/")

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """A request that nginx sent."""
        if scope["type"] in ("http", "websocket"):
            headers = dict(scope["headers"])
            # nginx writes one address; if a proxy's list were passed on, the last one would be nginx's word.
            client = headers.get(b"x-forwarded-for", b"").rpartition(b",")[2].strip()
            if client:
                scope["client"] = (client.decode("latin-1"), 0)
            scheme = headers.get(b"x-forwarded-proto")
            if scheme in (b"http", b"https"):
                scope["scheme"] = _scheme(scope, scheme.decode())
            if self._path and f"{scope['path']}/".startswith(f"{self._path}/"):
                scope["root_path"] = self._path
            _name_server(scope)
        await self._app(scope, receive, _sendable(send))

    async def of_this_host(self, scope: Scope, receive: Any, send: Any) -> None:
        """A request that this host sent itself, whose headers are not believed."""
        if scope["type"] in ("http", "websocket"):
            scope["client"] = (THIS_HOST, 0)
            scope["scheme"] = _scheme(scope, "http")
            scope["headers"] = [
                (name, value) for name, value in scope["headers"] if name.replace(b"_", b"-") not in _HEADERS_FROM_PROXY
            ]
            _name_server(scope)
        await self._app(scope, receive, _sendable(send))


def _sendable(send: Any) -> Any:
    """What an app sends with; it raises where a header would begin another one, on which some servers hang up."""

    async def checked(message: MutableMapping[str, Any]) -> None:
        for name, value in message.get("headers") or () if message["type"] == "http.response.start" else ():
            if _UNSENDABLE_BYTES.search(name) or _UNSENDABLE_BYTES.search(value):
                raise ValueError(f"the app's header {name!r} has a line end in it: {value!r}")
        await send(message)

    return checked


def _name_server(scope: Scope) -> None:
    host = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1")
    name, port = _asked_for(host, scope["scheme"])
    scope["server"] = (name, int(port))


def _scheme(scope: Scope, scheme: str) -> str:
    """The scheme of a request, which is another one for WebSocket."""
    return scheme.replace("http", "ws") if scope["type"] == "websocket" else scheme


def knowing_its_peer(protocol: type[Any]) -> type[Any]:
    """A server's class of asyncio protocols that asks its C(app), an :class:`ASGIBehindProxy`, as the peer deserves."""

    class KnowingItsPeer(protocol):  # type: ignore[misc]
        def connection_made(self, transport: Any) -> None:
            with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as peer:
                if not another_user(peer):
                    self.app = self.app.of_this_host
            super().connection_made(transport)

    return KnowingItsPeer


def another_user(peer: socket.socket) -> bool:
    """Whether the other end of a unix socket is another user's.

    Besides the app's own user only nginx and root can open the socket. The address of C(listen) leads to it through a
    process of the app's user.
    """
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    user: int = _CREDENTIALS.unpack(credentials)[1]
    return user != _OWN_USER
