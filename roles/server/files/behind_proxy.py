# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells an app behind nginx who its client is, whichever server runs it.

A server on a unix socket knows no address. nginx does, and says it in C(X-Forwarded-For) and C(X-Forwarded-Proto), with
which it replaces what the client sent.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any

Environ = MutableMapping[str, Any]
Application = Callable[..., Iterable[bytes]]

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

_CREDENTIALS = struct.Struct("3i")
_OWN_USER = os.geteuid()


class BehindProxy:
    """WSGI middleware that sets C(REMOTE_ADDR) and C(wsgi.url_scheme) to what the client has.

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
        return self._app(environ, start_response)


def another_user(peer: socket.socket) -> bool:
    """Whether the other end of a unix socket is another user's.

    Besides the app's own user only nginx and root can open the socket. The address of C(listen) leads to it through a
    process of the app's user.
    """
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    user: int = _CREDENTIALS.unpack(credentials)[1]
    return user != _OWN_USER
