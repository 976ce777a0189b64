"""What only this scenario looks with."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from testbed import labs

APP = "probe"


@pytest.fixture
def stopped(host, client) -> Iterator[None]:
    """The app is not running meanwhile."""
    host.run(f"systemctl stop {APP}.target")
    yield
    host.run(f"systemctl start {APP}.target")
    _wait(client, host)


def _wait(client, host) -> None:
    tries = ["--retry", "120", "--retry-delay", "1", "--retry-all-errors", "--fail"]
    answer = client.get(host.url(APP), *tries)
    assert answer.status == 200, f"{APP} on {host.name} does not come back: {answer.status} {answer.error}"


@pytest.fixture
def python(client):
    """Run a Python script, with arguments, where the client is; returns what it printed."""

    def run(script: str, *arguments: str) -> str:
        command = ["docker", "exec", "-i", client.container, "python3", "-", *arguments]
        done = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def logged(host) -> Callable[[str], list[dict[str, Any]]]:
    """The lines that nginx has logged of a URL of the app's; it writes what it has collected once a second."""

    def found(url: str) -> list[dict[str, Any]]:
        lines: list[dict[str, Any]] = []

        def there() -> bool:
            log = host.run(f"tail -n 100 /var/log/nginx/{APP}.access.log").splitlines()
            lines.extend(line for line in map(json.loads, log) if line["url.original"] == url)
            return bool(lines)

        labs.wait_for(there, f"a line of {url} in the log")
        return lines

    return found


@pytest.fixture
def scenario() -> Path:
    """The scenario's directory."""
    return Path(__file__).parents[1]
