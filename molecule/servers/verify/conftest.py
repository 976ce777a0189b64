"""The servers that are looked at: each entry of the inventory's list."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import yaml

FRONT = "front"  # the app that has the domain, and is led through all servers
INVENTORY = Path(__file__).resolve().parents[1] / "group_vars" / "wsgi" / "apps.yml"
APPS: dict[str, dict[str, Any]] = {
    app["name"]: app for app in yaml.safe_load(INVENTORY.read_text(encoding="utf-8"))["wsgi_apps"]
}
SERVERS = [name for name in APPS if name != FRONT]
RATE = 0.6  # of the full rates of the load's clients, shared by all apps of a host
MOST_RATE = 0.1  # of one app


@pytest.fixture(params=["d12", "d13", os.environ.get("SUPERVISED") or "s13"])
def host(request: pytest.FixtureRequest, hosts: list[Any]) -> Any:
    """Each host in turn, that of Supervisor among them."""
    return next(host for host in hosts if host.name == request.param)


@pytest.fixture(params=SERVERS)
def name(request: pytest.FixtureRequest) -> str:
    """Each app that is served below a path, under a server of its own."""
    return str(request.param)


@pytest.fixture(params=[name for name in SERVERS if APPS[name].get("interface") == "asgi"])
def asgi(request: pytest.FixtureRequest) -> str:
    """Each of them that is an ASGI app."""
    return str(request.param)


@pytest.fixture
def ask(client) -> Callable[..., Any]:
    """Ask an app of a host through nginx."""

    def asked(host: Any, name: str, path: str = "/", *options: str) -> Any:
        return client.get(host.url(FRONT, APPS[name].get("path", "") + path), *options)

    return asked


@pytest.fixture
def all_under_load(under_load) -> Callable[..., Any]:
    """Clients of several apps of a host, as long as a block runs; outcomes by app."""

    @contextmanager
    def loaded(host: Any, names: list[str], kinds: str) -> Iterator[dict[str, Counter[str]]]:
        over = Event()
        told: dict[str, Counter[str]] = {}

        def clients(name: str) -> None:
            options = ["--name", host.domain(FRONT), "--ca", "/root/ca.pem", "--clients", kinds]
            options += ["--prefix", APPS[name].get("path", ""), "--pace", f"{min(MOST_RATE, RATE / len(names)):.3f}"]
            with under_load(host, *options) as outcomes:
                over.wait()
            told[name] = outcomes

        with ThreadPoolExecutor(len(names)) as pool:
            asking = [pool.submit(clients, name) for name in names]
            try:
                yield told
            finally:
                over.set()
            for each in asking:
                each.result()

    return loaded


@pytest.fixture
def nothing_failed() -> Callable[[dict[str, Counter[str]]], int]:
    """Checks that every request of a load was answered; how many there were."""

    def check(told: dict[str, Counter[str]]) -> int:
        failed = {name: dict(outcomes) for name, outcomes in told.items() if set(outcomes) - {"ok", "repeated"}}
        assert not failed, f"not all answered: {failed}"
        assert all(outcomes["ok"] for outcomes in told.values()), told
        return sum(outcomes.total() for outcomes in told.values())

    return check
