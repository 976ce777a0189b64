"""Debian 12, whose Podman is older: an image is built there, and its containers serve."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from engines import Engine, reference


@pytest.fixture
def host(hosts: list[Any]) -> Any:
    """The host with Debian 12."""
    return next(host for host in hosts if host.name == "d12")


def test_from_a_process_to_a_container_and_to_the_next(
    play: Callable[..., Any], apps: dict[str, dict[str, Any]], visitors: Callable[..., Any], host: Any
) -> None:
    engine = Engine(host, "podman")
    image = reference(lambda *options, **variables: play("--limit", "d12", *options, **variables), engine)
    own = {"runtime": "container", "source": {"image": image}, "release": {"limit_nofile": 16384}}
    with visitors() as seen:
        for motto in ("1", "2"):
            entry = {**apps["api"], **own, "env": {**apps["api"]["env"], "MOTTO": motto}}
            done = play("--limit", "d12", playbook="deploy", wsgi_apps=[entry])
            assert done.code == 0, done.output
    assert seen["bad"] == []
    release = host.release("api")
    assert engine.run("ps --format '{{.Names}}'").split() == [f"api.{release}"]
    assert engine.run(f"exec api.{release} id -u") == host.run("id -u api")
    again = play("--limit", "d12", playbook="deploy", wsgi_apps=[entry])
    assert (again.code, again.changed) == (0, []), again.output
