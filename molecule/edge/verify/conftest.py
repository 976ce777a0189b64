"""What only this scenario looks with."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

APP = "probe"


@pytest.fixture
def stopped(host, client) -> Iterator[None]:
    """The app is not running meanwhile."""
    host.run(f"systemctl stop {APP}.target")
    yield
    host.run(f"systemctl start {APP}.target")
    _wait(client, host)


def _wait(client, host) -> None:
    tries = ["--retry", "60", "--retry-delay", "1", "--retry-all-errors", "--fail"]
    answer = client.get(host.url(APP), *tries)
    assert answer.status == 200, f"{APP} on {host.name} does not come back: {answer.status} {answer.error}"


@pytest.fixture(scope="session")
def tools(client) -> tuple[str, ...]:
    """Programs of the client's machine, installed from Debian where they are missing."""
    programs = ("python3", "h2load", "slowhttptest")
    wanted = "python3 nghttp2-client slowhttptest"
    install = "apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends"
    client.shell(f"command -v {' '.join(programs)} >/dev/null || {{ {install} {wanted} >/dev/null; }}")
    return programs


@pytest.fixture
def python(client, tools):
    """Run a Python script, with arguments, where the client is; returns what it printed."""
    assert tools

    def run(script: str, *arguments: str) -> str:
        command = ["docker", "exec", "-i", client.container, "python3", "-", *arguments]
        done = subprocess.run(command, input=script, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def scenario() -> Path:
    """The scenario's directory."""
    return Path(__file__).parents[1]
