# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a balancer may send no new requests to a host, and whether those in progress have ended."""

from __future__ import annotations

import http.client
import ipaddress
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ansible_collections.webops.wsgi.plugins.module_utils.release import health as probe

ESTABLISHED = "01"  # TCP_ESTABLISHED in /proc/net/tcp, see include/net/tcp_states.h of Linux


class DrainError(Exception):
    """Draining would leave an app without enough hosts."""


@dataclass(frozen=True)
class Server:
    """One host of an app, as the balancer reaches it."""

    host: str
    address: str
    port: int


@dataclass(frozen=True)
class App:
    """An app as a balancer asks its hosts for it.

    Attributes:
        name: Its name.
        health: What a healthy host answers.
        servers: Its hosts.
    """

    name: str
    health: probe.Health
    servers: Sequence[Server]


Ask = Callable[[Server, probe.Health], str]


def ask(server: Server, health: probe.Health) -> str:
    """What is wrong with what a host answers; empty when nothing is."""
    connection = http.client.HTTPConnection(server.address, server.port, timeout=health.timeout)
    return probe.ask_over(connection, health).fault


def faults(apps: Iterable[App], asked: Ask = ask) -> dict[str, dict[str, str]]:
    """What is wrong with each app on each of its hosts, by app and host; an empty text for a healthy one."""
    wanted = [(app, server) for app in apps for server in app.servers]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda pair: asked(pair[1], pair[0].health), wanted))
    found: dict[str, dict[str, str]] = {}
    for (app, server), fault in zip(wanted, answers, strict=True):
        found.setdefault(app.name, {})[server.host] = fault
    return found


def check(host: str, apps: Iterable[App], out: Iterable[str], least: int, asked: Ask = ask) -> None:
    """Refuse to drain a host when an app would be left with too few.

    Args:
        host: The host to drain.
        apps: All apps.
        out: Hosts that are drained already.
        least: How many healthy hosts each app must keep.

    Raises:
        DrainError: For each such app, which hosts would be left and what is wrong with the others.
    """
    concerned = [app for app in apps if host in {server.host for server in app.servers}]
    missing = set(out) | {host}
    others = [
        App(app.name, app.health, [server for server in app.servers if server.host not in missing]) for app in concerned
    ]
    found = faults(others, asked)
    problems = []
    for app in others:
        states = found.get(app.name, {})
        healthy = [name for name, fault in states.items() if not fault]
        if len(healthy) < least:
            why = "; ".join(f"{name}: {fault}" for name, fault in states.items() if fault)
            left = ", ".join(healthy) or "no host"
            problems.append(
                f'app "{app.name}": without {host} it would have {left} in service, and balancer_min_hosts is {least}'
                + (f" ({why})" if why else "")
            )
    if problems:
        raise DrainError("\n".join([*problems, f"{host} is not drained; have the other hosts serve first"]))


def connections(servers: Iterable[Server], tables: Iterable[str]) -> int:
    """How many connections to the servers are open.

    Args:
        servers: The servers.
        tables: Texts of C(/proc/net/tcp) and C(/proc/net/tcp6).
    """
    wanted = {_as_kernel(server) for server in servers}
    rows = [line.split() for table in tables for line in table.splitlines()[1:]]
    return sum(row[3] == ESTABLISHED and row[2] in wanted for row in rows)


def _as_kernel(server: Server) -> str:
    """An address and port as the kernel's tables have them: words of four bytes, in the machine's order."""
    packed = ipaddress.ip_address(server.address).packed
    words = (int.from_bytes(packed[at : at + 4], sys.byteorder) for at in range(0, len(packed), 4))
    return f"{''.join(f'{word:08X}' for word in words)}:{server.port:04X}"


def wait(servers: Sequence[Server], seconds: float, read: Callable[[], Iterable[str]]) -> int:
    """Wait until nothing is in progress on the servers; how many connections are left when the time is over."""
    ends = time.monotonic() + seconds
    while (left := connections(servers, read())) and time.monotonic() < ends:
        time.sleep(0.2)
    return left
