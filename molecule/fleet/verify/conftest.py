"""What the fleet is looked at with: clients of the floating address, and what happens to its hosts."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from fleet_clients import DOMAIN, Load

ROOT = Path(__file__).resolve().parents[3]
LOAD = ROOT / "bench" / "load.py"


@pytest.fixture
def under_load(client) -> Callable[..., Any]:
    """Clients that ask the app at the floating address for as long as a block runs."""

    @contextmanager
    def loaded(address: str, *kinds: str, pace: float = 0.4) -> Iterator[Load]:
        subprocess.run(
            ["docker", "cp", str(LOAD), f"{client.container}:/root/load.py"], check=True, capture_output=True
        )
        asked = ["--name", DOMAIN, "--address", address, "--ca", client.root, "--pace", str(pace), "--seconds", "600"]
        asked += ["--clients", ",".join(kinds)] if kinds else []
        command = ["docker", "exec", "-i", client.container, "python3", "/root/load.py", *asked]
        clients = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        seen = Load()
        time.sleep(2)
        try:
            yield seen
        finally:
            out, _ = clients.communicate()
            for line in out.splitlines():
                began, took, kind, outcome = line.split("\t")
                seen.lines.append((float(began), float(took), kind, outcome))
            print(f"{len(seen.lines)} requests, not ok: {dict(seen.failed())}, longest silence {seen.gap():.2f} s")

    return loaded


@pytest.fixture
def named(hosts) -> dict[str, Any]:
    """All hosts by name."""
    return {host.name: host for host in hosts}


@pytest.fixture
def webs(hosts) -> list[Any]:
    """The hosts that run the apps."""
    return [host for host in hosts if host.name.startswith("web")]


@pytest.fixture
def balancers(hosts) -> list[Any]:
    """The balancers."""
    return [host for host in hosts if host.name.startswith("lb")]


@pytest.fixture
def floating(client) -> str:
    """The address that clients connect to."""
    return client.shell('getent ahostsv4 "$0" | head -1 | cut -d" " -f1', DOMAIN)


@pytest.fixture
def holder(balancers, floating) -> Callable[[], list[Any]]:
    """The balancers that have the floating address now."""

    def having() -> list[Any]:
        return [one for one in balancers if f" {floating}/" in one.try_("ip -oneline -4 address").stdout]

    return having


@pytest.fixture
def changed_app(apps_of_fleet) -> Callable[..., list[dict[str, Any]]]:
    """The scenario's apps, of which the first has changes."""

    def changed(**changes: Any) -> list[dict[str, Any]]:
        first, *others = apps_of_fleet
        return [{**first, **changes}, *others]

    return changed


@pytest.fixture
def apps_of_fleet() -> list[dict[str, Any]]:
    """The scenario's apps as its inventory has them."""
    text = (ROOT / "molecule/fleet/group_vars/fleet/apps.yml").read_text(encoding="utf-8")
    apps: list[dict[str, Any]] = yaml.safe_load(text)["wsgi_apps"]
    for app in apps:
        app["source"] = {"path": str(ROOT / "examples/flask_api")}
    return apps
