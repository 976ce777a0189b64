"""What the fleet is looked at with: clients of the floating address, and what happens to its hosts."""

from __future__ import annotations

import os
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from fleet_clients import DOMAIN, Load

ROOT = Path(__file__).resolve().parents[3]
LOAD = ROOT / "bench" / "load.py"


@pytest.fixture(scope="session")
def sent() -> Counter[str]:
    """How many requests clients have sent so far, by the test that had them sent."""
    return Counter()


@pytest.fixture
def measured(record_property) -> Callable[[str], None]:
    """Have a number in the report of the test, and so in the summary of `make test-fleet`."""

    def note(text: str) -> None:
        print(text)
        record_property("measured", text)

    return note


@pytest.fixture
def under_load(request, client, sent, measured) -> Callable[..., Any]:
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
            sent[request.node.name] += len(seen.lines)
            measured(f"{len(seen.lines)} requests, not ok: {dict(seen.failed())}, longest silence {seen.gap():.2f} s")

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
def without(tmp_path) -> Callable[..., str]:
    """The scenario's inventory without a host, or with one that cannot be reached."""

    def lacking(name: str, named: bool = False) -> str:
        ours = Path(os.environ["MOLECULE_INVENTORY_FILE"])
        told = yaml.safe_load(ours.read_text(encoding="utf-8"))
        for group in told.values():
            if group.get("hosts", {}).pop(name, None) is not None and named:
                group["hosts"][name] = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9}
        folder = tmp_path / f"without-{name}"
        folder.mkdir()
        (folder / "group_vars").symlink_to((ours.parent / "group_vars").resolve())
        (folder / ours.name).write_text(yaml.safe_dump(told), encoding="utf-8")
        return str(folder)

    return lacking


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
