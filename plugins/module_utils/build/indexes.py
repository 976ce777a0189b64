# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The addresses of package indexes as a build gets them: without passwords."""

from __future__ import annotations

import json
import secrets
import subprocess
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

from ansible_collections.webops.wsgi.plugins.module_utils.build import index_proxy
from ansible_collections.webops.wsgi.plugins.module_utils.build.inputs import (
    BuildError,
    BuildInputs,
    without_credentials,
)
from ansible_collections.webops.wsgi.plugins.module_utils.build.sandbox import PATIENCE, Sandbox, parcel


@contextmanager
def reachable(inputs: BuildInputs, authorities: str, sandbox: Sandbox, limit: int) -> Iterator[Mapping[str, str]]:
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
    pipe = subprocess.PIPE
    with subprocess.Popen(sandbox.service(inputs.app, limit), stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        try:
            process.stdin.write(parcel([index_proxy], job))
            process.stdin.flush()
            told = process.stdout.readline()
            if not told:
                reason = process.stderr.read().decode(errors="replace").strip()[-500:]
                raise BuildError(f'app "{inputs.app}": the package index cannot be passed on to the build: {reason}')
            ports = dict(zip(hosts, json.loads(told), strict=True))
            yield {url: _address(url, ports, token) for url in urls}
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
