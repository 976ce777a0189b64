# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The addresses of package indexes and HTTP proxies as a build gets them: without passwords."""

from __future__ import annotations

import json
import secrets
import subprocess
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from ansible_collections.webops.wsgi.plugins.module_utils.build import index_proxy, proxy_relay
from ansible_collections.webops.wsgi.plugins.module_utils.build.inputs import (
    BuildError,
    BuildInputs,
    without_credentials,
)
from ansible_collections.webops.wsgi.plugins.module_utils.build.sandbox import PATIENCE, Sandbox, parcel
from ansible_collections.webops.wsgi.plugins.module_utils.host.outgoing import Outgoing

DIRECT = Outgoing()


@contextmanager
def reachable(
    inputs: BuildInputs, authorities: str, sandbox: Sandbox, limit: int, out: Outgoing = DIRECT
) -> Iterator[Mapping[str, str]]:
    """Make indexes that take a password reachable without it, by C(index_proxy).

    Yields:
        The address to use for each index. It is the index's own where it has no password, and then nothing is started.

    Raises:
        BuildError: The program that stands between could not be started.
    """
    urls = [url for url in (inputs.index_url, *inputs.extra_index_urls) if url]
    hosts = sorted({_host(url) for url in urls if "@" in urlsplit(url).netloc})
    if not hosts:
        yield {url: url for url in urls}
        return
    token = secrets.token_urlsafe(24)
    job = {"number": zlib.crc32(inputs.app.encode()), "indexes": hosts, "token": token, "ca": authorities}
    job["out"] = out._asdict()
    with _beside(inputs, index_proxy, job, sandbox.service(inputs.app, limit), "the package index") as told:
        ports = dict(zip(hosts, told, strict=True))
        yield {url: _address(url, ports, token) for url in urls}


@contextmanager
def passed_on(inputs: BuildInputs, out: Outgoing, sandbox: Sandbox, limit: int) -> Iterator[Outgoing]:
    """Make proxies that take a password usable without it, by C(proxy_relay).

    Yields:
        What the build is told of them.

    Raises:
        BuildError: The program that stands between could not be started.
    """
    secret = sorted({proxy for proxy in (out.http, out.https) if "@" in urlsplit(proxy).netloc})
    if not secret:
        yield out
        return
    if any(urlsplit(proxy).scheme != "http" for proxy in secret):
        raise BuildError(
            f'app "{inputs.app}": the proxy of this host takes a password over TLS, which builds cannot use; name one '
            "with python_app_proxy whose address begins with http://"
        )
    token = secrets.token_urlsafe(24)
    job = {"proxies": secret, "token": token}
    command = sandbox.service(inputs.app, limit, "proxy")
    with _beside(inputs, proxy_relay, job, command, "the HTTP proxy") as told:
        relays = {proxy: f"http://build:{token}@127.0.0.1:{port}" for proxy, port in zip(secret, told, strict=True)}
        yield out._replace(http=relays.get(out.http, out.http), https=relays.get(out.https, out.https))


@contextmanager
def _beside(
    inputs: BuildInputs, module: ModuleType, job: Mapping[str, Any], command: list[str], what: str
) -> Iterator[list[int]]:
    """Run a program while a build needs it; yields the ports that it serves on."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        try:
            process.stdin.write(parcel([module], job))
            process.stdin.flush()
            told = process.stdout.readline()
            if not told:
                reason = process.stderr.read().decode(errors="replace").strip()[-500:]
                raise BuildError(f'app "{inputs.app}": {what} cannot be passed on to the build: {reason}')
            yield json.loads(told)
        finally:
            process.stdin.close()  # which ends it
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()


def _host(url: str) -> str:
    """The part of an address that has credentials and a host."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc, "", "", ""))


def _address(url: str, ports: Mapping[str, int], token: str) -> str:
    port = ports.get(_host(url))
    if port is None:
        return url
    return urlunsplit(urlsplit(url)._replace(scheme="http", netloc=f"build:{token}@127.0.0.1:{port}"))


def as_written(text: str, addresses: Mapping[str, str]) -> str:
    """An installer's message with the addresses that a person knows, but for passwords."""
    for url, address in addresses.items():
        if url == address:
            continue
        shown, host = _host(without_credentials(url)), _host(without_credentials(address))
        text = text.replace(_host(address), shown).replace(host, shown)
        text = text.replace(urlsplit(host).netloc, urlsplit(shown).netloc)
        text = text.replace(url, without_credentials(url))
    return text
