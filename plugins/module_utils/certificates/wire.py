# Copyright (c) webops.wsgi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What nginx serves on the wire, compared with what lies on disk."""

from __future__ import annotations

import hashlib
import socket
import ssl
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ansible_collections.webops.wsgi.plugins.module_utils.certificates.model import App
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.store import (
    Host,
    Outcome,
    in_use,
    point,
    target_of,
    usable,
)
from ansible_collections.webops.wsgi.plugins.module_utils.host.dns import probe_name
from ansible_collections.webops.wsgi.plugins.module_utils.host.tls import distrusting

CONNECTIONS = 16
"""How many domains are asked for at the same time."""
RELOADED = "nginx reloaded: it served other certificates than those on disk"


@dataclass(frozen=True)
class Seen:
    """What answered a TLS connection: the fingerprint of its certificate, or why there is none."""

    fingerprint: str = ""
    problem: str = ""


def fetch(address: str, port: int, name: str, context: ssl.SSLContext, timeout: float = 5.0) -> bytes:
    """Return the certificate, in DER, that a server shows to a client that wants `name`. Raises OSError."""
    with (
        socket.create_connection((address, port), timeout=timeout) as plain,
        context.wrap_socket(plain, server_hostname=probe_name(name)) as secured,
    ):
        return secured.getpeercert(binary_form=True) or b""


def look(host: Host, name: str, context: ssl.SSLContext) -> Seen:
    """Return which certificate the host serves for `name`; it is compared, not trusted, so it is not verified here."""
    try:
        certificate = fetch(host.address, host.port, name, context)
    except OSError as error:
        return Seen(problem=str(error))
    return Seen(fingerprint=hashlib.sha256(certificate).hexdigest())


def look_all(host: Host, names: t.Sequence[str]) -> dict[str, Seen]:
    """Return what the host serves for each name, asked at the same time."""
    if not names:
        return {}
    context = distrusting()
    with ThreadPoolExecutor(max_workers=min(CONNECTIONS, len(names))) as pool:
        seen = list(pool.map(lambda name: look(host, name, context), names))
    return dict(zip(names, seen, strict=True))


def _mismatches(host: Host, expected: t.Mapping[str, str]) -> dict[str, Seen]:
    """Return the names for which another certificate than the expected one is served, with what was seen."""
    seen = look_all(host, list(expected))
    return {name: seen[name] for name, fingerprint in expected.items() if seen[name].fingerprint != fingerprint}


def wait_for(host: Host, expected: t.Mapping[str, str], seconds: float) -> dict[str, Seen]:
    """Look until every name shows the expected certificate or the time is over; return what still differs."""
    deadline = time.monotonic() + seconds
    wrong = _mismatches(host, expected)
    while wrong and time.monotonic() < deadline:
        time.sleep(0.05)
        wrong = _mismatches(host, {name: expected[name] for name in wrong})
    return wrong


def _reload(host: Host) -> str:
    """Test the configuration of nginx and reload it; return what went wrong, or nothing."""
    tested = host.run([*host.nginx, "-t"], {})
    if tested.rc != 0:
        return f"the configuration of nginx does not pass its test, so it was not reloaded: {tested.output.strip()}"
    reloaded = host.run([*host.systemctl, "reload-or-restart", "nginx.service"], {})
    if reloaded.rc != 0:
        return f"nginx could not be reloaded: {reloaded.output.strip()}"
    return ""


@dataclass(frozen=True)
class Expected:
    """What must be seen on the wire: by domain the fingerprint on disk and the app that the domain belongs to."""

    fingerprints: dict[str, str]
    owners: dict[str, str]
    missing: list[str]


def expected_on_wire(host: Host, apps: t.Sequence[App]) -> Expected:
    """Return what nginx must serve, from what lies on disk; `missing` names the apps without a usable certificate."""
    expected = Expected({}, {}, [])
    for app in apps:
        if not app.served:
            continue
        certificate = in_use(host, app.name).certificate
        if certificate is None:
            expected.missing.append(app.name)
            continue
        for domain in app.domains:
            expected.fingerprints[domain] = certificate.fingerprint
            expected.owners[domain] = app.name
    return expected


def _restore(host: Host, former: t.Mapping[str, str]) -> None:
    """Point links back to where they pointed before this run."""
    for name, target in former.items():
        if target and target != target_of(host.link(name)) and usable(target):
            point(host.link(name), target)


def serve(host: Host, apps: t.Sequence[App], former: t.Mapping[str, str], outcome: Outcome) -> None:
    """Have nginx serve what lies on disk, and look whether it does.

    :param former: where the links that were changed in this run pointed before, by app
    """
    expected = expected_on_wire(host, apps)
    for name in expected.missing:
        outcome.errors.append(
            f'app "{name}": there is no usable certificate in {host.link(name)}; run the role nginx_proxy'
        )
    if not former and not wait_for(host, expected.fingerprints, host.settle_timeout):
        return
    problem = _reload(host)
    if problem:
        _restore(host, former)
        outcome.errors.append(problem)
        return
    if not former:
        outcome.change(RELOADED)
    wrong = wait_for(host, expected.fingerprints, host.reload_timeout)
    outcome.errors += _wire_errors(host, wrong, expected)


def _wire_errors(host: Host, wrong: t.Mapping[str, Seen], expected: Expected) -> list[str]:
    """Return one error for each name served with another certificate, and one for all that do not answer alike."""
    where = f"on {host.address}:{host.port}, {host.reload_timeout:g} s after a reload of nginx"
    errors = []
    silent: dict[str, list[str]] = {}
    for name, seen in wrong.items():
        if not seen.fingerprint:
            silent.setdefault(seen.problem, []).append(name)
            continue
        owner, wanted = expected.owners[name], expected.fingerprints[name]
        errors.append(
            f'app "{owner}": {name} is served with another certificate (sha256 {seen.fingerprint[:16]}) '
            f"than the one in {host.link(owner)} (sha256 {wanted[:16]}) {where}"
        )
    for problem, names in silent.items():
        errors.append(f"no TLS answer for {', '.join(names)} {where}: {problem}")
    return errors
