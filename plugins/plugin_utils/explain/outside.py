# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The look from outside: what a client on the controller sees of a request."""

from __future__ import annotations

import http.client
import secrets
import socket
import ssl
import time

from ansible_collections.webops.wsgi.plugins.module_utils.explain.certificate import shown
from ansible_collections.webops.wsgi.plugins.module_utils.explain.model import Certificate, Outside, Reply
from ansible_collections.webops.wsgi.plugins.module_utils.explain.request import ask
from ansible_collections.webops.wsgi.plugins.module_utils.host.tls import distrusting
from ansible_collections.webops.wsgi.plugins.plugin_utils.explain.request import Request

CONNECT_TIMEOUT = 10.0  # seconds


def look(request: Request, connect_to: str = "", ca: str = "", limit: float = 70.0) -> Outside:
    """Send a request as a client does.

    Args:
        request: The request.
        connect_to: C(address) or C(address:port) to use instead of what the name leads to.
        ca: File with the authorities to trust; empty for this machine's own.
        limit: Seconds that the answer may take.
    """
    started, identity = time.time(), f"explain-{secrets.token_hex(8)}"
    address, port = _given(connect_to, request.port)
    addresses: tuple[str, ...] = ()
    if not address:
        try:
            addresses = _resolved(request.domain)
        except OSError as error:
            return Outside(started, identity, unresolved=str(error.strerror or error))
        address = addresses[0]
    try:
        plain = socket.create_connection((address, port), timeout=CONNECT_TIMEOUT)
    except OSError as error:
        return Outside(started, identity, addresses, address=address, unreachable=str(error.strerror or error))
    with plain:
        plain.settimeout(limit)
        if request.scheme == "http":
            return Outside(started, identity, addresses, address=address, reply=_reply(plain, request, identity))
        certificate, secured = _secured(plain, request, ca, (address, port))
        if secured is None:
            return Outside(started, identity, addresses, address=address, certificate=certificate)
        with secured:
            secured.settimeout(limit)
            reply = _reply(secured, request, identity)
        return Outside(started, identity, addresses, address=address, certificate=certificate, reply=reply)


def _given(connect_to: str, port: int) -> tuple[str, int]:
    host, colon, number = connect_to.rpartition(":")
    if colon and number.isdigit() and not host.endswith(":") and (":" not in host or host.startswith("[")):
        return host.strip("[]"), int(number)
    return connect_to.strip("[]"), port


def _resolved(name: str) -> tuple[str, ...]:
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(address[4][0]) for address in found))


def _secured(
    plain: socket.socket, request: Request, ca: str, where: tuple[str, int]
) -> tuple[Certificate, ssl.SSLSocket | None]:
    """A connection over TLS, and what was shown; what a client would not trust is taken all the same, and said."""
    trusting = ssl.create_default_context(cafile=ca or None)
    try:
        secured = trusting.wrap_socket(plain, server_hostname=request.domain)
    except ssl.SSLCertVerificationError as error:
        distrust = error.verify_message
    except OSError as error:
        return Certificate(error=str(getattr(error, "reason", "") or error)), None
    else:
        return shown(*where, request.domain), secured
    try:
        again = socket.create_connection(where, timeout=CONNECT_TIMEOUT)
        return shown(*where, request.domain, distrust), distrusting().wrap_socket(again, server_hostname=request.domain)
    except OSError as error:
        return Certificate(distrust=distrust, error=str(error)), None


def _reply(stream: socket.socket, request: Request, identity: str) -> Reply:
    connection = http.client.HTTPConnection(request.domain, request.port)
    connection.sock = stream
    host = request.domain if request.port in (80, 443) else f"{request.domain}:{request.port}"
    return ask(connection, request.path, {"Host": host, "X-Request-ID": identity})
