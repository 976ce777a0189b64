# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which request is to be explained, and which app it is for."""

from __future__ import annotations

import difflib
import re
import typing as t
from dataclasses import dataclass
from urllib.parse import urlsplit

from ansible_collections.webops.wsgi.plugins.plugin_utils.nginx.site import below, split_location, url

App = t.Mapping[str, t.Any]
PORTS = {"http": 80, "https": 443}


class RequestError(Exception):
    """What cannot be explained, and what to write instead."""


@dataclass(frozen=True)
class Request:
    """A request of a client.

    Attributes:
        scheme: C(https) or C(http).
        domain: The name in it.
        port: The port.
        path: Its path, with the query.
    """

    scheme: str
    domain: str
    port: int
    path: str

    @property
    def url(self) -> str:
        """The URL as a person writes it."""
        port = "" if self.port == PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.domain}{port}{self.path}"


def parse(text: str) -> Request:
    """A request for a URL, HTTPS where it does not say.

    Raises:
        RequestError: It is not a URL of a web page.
    """
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
    except ValueError as error:
        raise RequestError(f'url is "{text}": {error}; write one such as https://api.example.com/items') from None
    try:
        port = parts.port
    except ValueError:
        raise RequestError(f'url is "{text}", whose port is not a number up to 65535') from None
    if parts.scheme not in PORTS or not parts.hostname:
        raise RequestError(f'url is "{text}"; write one such as https://api.example.com/items')
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Request(parts.scheme, parts.hostname.lower(), port or PORTS[parts.scheme], path)


def of_app(app: App) -> Request:
    """The request for an app's health page, as a client would send it.

    Raises:
        RequestError: It has no domain.
    """
    if not app["domains"]:
        raise RequestError(f'app "{app["name"]}" has no domains, so no client reaches it through nginx')
    root = parse(url(dict(app)))
    return Request(root.scheme, root.domain, root.port, below(app["path"], app["release"]["health_path"]))


def find(request: Request, apps: t.Iterable[App]) -> App | None:
    """The app that serves a request: that with its name, and the longest path."""
    path = request.path.partition("?")[0]
    serving = [
        app
        for app in apps
        if app["state"] == "present"
        and any(_matches(domain, request.domain) for domain in app["domains"])
        and (app["path"] == "/" or f"{path}/".startswith(f"{app['path']}/"))
    ]
    return max(serving, key=lambda app: len(app["path"]), default=None)


def _matches(domain: str, name: str) -> bool:
    return domain == name or (domain.startswith("*.") and name.endswith(domain[1:]))


def nearest(request: Request, apps: t.Iterable[App]) -> str:
    """The domain of the inventory that looks most like the one that was asked for; empty when none does."""
    names = [domain for app in apps for domain in app["domains"]]
    return next(iter(difflib.get_close_matches(request.domain, names, 1)), "")


def location(app: App, path: str) -> str:
    """The location whose settings a path gets, as nginx chooses it: C(/) for the app's own."""
    own = path.partition("?")[0].removeprefix(app["path"].rstrip("/")) or "/"
    plain, expressions = "/", []
    for written in app["nginx"].get("locations") or {}:
        modifier, pattern = split_location(written)
        if modifier == "=":
            if own == pattern:
                return str(written)
        elif modifier.startswith("~"):
            expressions.append((written, pattern, re.IGNORECASE if modifier == "~*" else 0))
        elif own.startswith(pattern) and len(pattern) > len(split_location(plain)[1]):
            plain = str(written)
    if split_location(plain)[0] != "^~":
        for written, pattern, flags in expressions:
            if re.search(pattern, own, flags):
                return str(written)
    return plain
