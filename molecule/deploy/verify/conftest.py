"""What deployments are looked at with: clients on the host, and runs that are killed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def api(apps) -> dict[str, Any]:
    """The app as the inventory has it; a test may change its copy."""
    return apps["api"]


def changed(entry: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """An app with changes; dictionaries are merged."""
    merged = {
        key: {**entry[key], **value} if isinstance(value, dict) and key in entry else value
        for key, value in changes.items()
    }
    return {**entry, **merged}


@pytest.fixture
def deploy(play, api) -> Callable[..., Any]:
    """Deploy the app with changes to one host: C(deploy("d12", env={"A": "1"}, release={"bake": 3}))."""

    def deployed(host: str, *options: str, **changes: Any) -> Any:
        return play("--limit", host, *options, playbook="deploy", wsgi_apps=[changed(api, changes)])

    return deployed


@pytest.fixture
def deploy_several(play, apps) -> Callable[..., Any]:
    """Deploy apps to one host in one run, each with changes of its own."""

    def deployed(host: str, changes: dict[str, dict[str, Any]]) -> Any:
        wanted = [changed(apps[name], changes[name]) for name in changes]
        return play("--limit", host, playbook="deploy", wsgi_apps=wanted)

    return deployed


@pytest.fixture
def start(command, api) -> Callable[..., subprocess.Popen[bytes]]:
    """Start to deploy the app to one host, in a process group of its own."""

    def started(host: str, **changes: Any) -> subprocess.Popen[bytes]:
        asked = command("--limit", host, playbook="deploy", wsgi_apps=[changed(api, changes)])
        environment = {**os.environ, "MOLECULE_PROJECT_DIRECTORY": str(ROOT)}
        environment.pop("RECORD_CHANGES_TO", None)
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(asked, env=environment, start_new_session=True, **quiet)

    return started


@pytest.fixture
def serves(client) -> Callable[[Any], None]:
    """Checks that the release in service answers and that nginx would start."""

    def check(host: Any) -> None:
        number = host.release("api")
        answer = client.get(host.url("api"))
        assert answer.status == 200, f"{host.name} answered {answer.status} {answer.error}"
        assert answer.json["release"] == number, f"{host.name}: {answer.json['release']} answers, {number} is current"
        assert host.try_("nginx -t").returncode == 0, f"{host.name}: nginx -t fails"

    return check


@pytest.fixture
def whole(serves) -> Callable[[Any], None]:
    """Checks, beyond C(serves), that everything of the release in service runs, and nothing of another."""

    def check(host: Any) -> None:
        serves(host)
        number = host.release("api")
        units = host.run(
            "systemctl list-units --plain --no-legend --state=active 'api@*' 'api.*@*' 'api.*.socket'"
        ).splitlines()
        passing = {f"api.tick@{number}.service", "api.listen.service"}  # they come and go
        names = {line.split()[0] for line in units} - passing
        lasting = {f"api@{number}.service", f"api.celery@{number}.service", f"api.tick@{number}.timer"}
        lasting |= {"api.listen.socket", f"api.instance@{number}.service"}
        assert names == lasting, f"{host.name}: not what release {number} is: {names}"

    return check
