"""Releases that are containers: they serve, switch, come back and are refused as processes are."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from engines import PLANTED, REPOSITORY, Engine

VISITORS = Path(__file__).parents[2] / "shared" / "visitors.py"
ASK = "curl -s -o /dev/null -w '%{http_code}' --unix-socket /run/api/current.sock http://api/"


@pytest.fixture
def contained(play: Callable[..., Any], engine: Engine, apps: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The app as containers of an image that the registry has."""
    done = play("-v", playbook="image", app="api", image_engine=engine.name, image_push=True)
    assert done.code == 0, done.output
    image = next(word.strip('",') for word in done.output.split() if word.strip('",').startswith(f"{REPOSITORY}@"))
    # Nobody may raise a limit on a host that is a container itself.
    own = {"image": {"engine": engine.name}, "release": {"limit_nofile": 16384}}
    return {**apps["api"], **own, "source": {"image": image}, "runtime": "container"}


@pytest.fixture
def deploy(play: Callable[..., Any]) -> Callable[..., Any]:
    """Deploy the app as it is given, with another value of a variable where one is given."""

    def run(entry: dict[str, Any], playbook: str = "deploy", **env: str) -> Any:
        return play(playbook=playbook, wsgi_apps=[{**entry, "env": {**entry["env"], **env}}])

    return run


@contextmanager
def visitors(host: Any) -> Iterator[dict[str, Any]]:
    """Clients while something happens; yields what they have seen, once they are gone."""
    seen: dict[str, Any] = {}
    host.run("rm -f /srv/visited /srv/end")
    host.run(f"cat >/srv/visitors.py <<'V'\n{VISITORS.read_text()}\nV")
    host.run(f"nohup python3 /srv/visitors.py {host.domain('api')} /srv/end >/srv/visited 2>&1 &")
    try:
        yield seen
    finally:
        host.run("touch /srv/end; timeout 60 sh -c 'until grep -q good /srv/visited; do sleep 0.2; done'")
        seen.update(json.loads(host.run("cat /srv/visited")))


def back(host: Any) -> None:
    """Wait until the app answers again."""
    host.run(f"timeout 60 sh -c 'until [ \"$({ASK})\" = 200 ]; do sleep 0.2; done'")


def test_three_deployments_and_a_rollback_lose_nothing(
    deploy: Callable[..., Any], play: Callable[..., Any], contained: dict[str, Any], engine: Engine, host: Any
) -> None:
    with visitors(host) as seen:
        for number in ("1", "2", "3"):
            done = deploy(contained, MOTTO=number)
            assert done.code == 0, done.output
        back_to = play(playbook="rollback", app="api", wsgi_apps=[contained])
        assert back_to.code == 0, back_to.output
    assert seen["bad"] == []
    assert seen["good"] > 1000
    running = engine.run("ps --format '{{.Names}}'").split()
    assert f"api.{host.release('api')}" in running
    assert len([name for name in running if name.startswith("api.") and name.count(".") == 1]) == 1


def test_from_a_process_to_a_container_and_back(
    deploy: Callable[..., Any], contained: dict[str, Any], apps: dict[str, dict[str, Any]], engine: Engine, host: Any
) -> None:
    with visitors(host) as seen:
        for entry in (apps["api"], contained, apps["api"], contained):
            done = deploy(entry)
            assert done.code == 0, done.output
    assert seen["bad"] == []
    assert deploy(contained, "site").code == 0
    assert deploy(contained, "site").changed == []
    assert engine.run("ps --format '{{.Names}}'")


def test_it_is_closed_and_shows_no_secret(
    deploy: Callable[..., Any], contained: dict[str, Any], engine: Engine, host: Any
) -> None:
    assert deploy(contained).code == 0
    name = f"api.{host.release('api')}"
    assert PLANTED not in engine.run(f"inspect {name}")
    assert PLANTED not in host.run("ps -eo args | grep -v grep; cat /srv/api/releases/*/etc/container")
    assert engine.run(f"exec {name} id -u") == host.run("id -u api")
    assert host.try_(f"{engine.name} exec {name} touch /wsgi/app/src/x").returncode != 0
    assert "NoNewPrivs:\t1" in engine.run(f"exec {name} cat /proc/1/status")
    assert "CapEff:\t0000000000000000" in engine.run(f"exec {name} cat /proc/1/status")
    inside = engine.run(f"exec {name} sh -c 'cat /wsgi/credentials/signing.pem /wsgi/files/settings.cfg'")
    assert inside.split() == ["planted-credentialpassword", "=", "planted-in-a-file"]
    assert "Booting worker" in host.run(f"journalctl -t api -u api@{host.release('api')} -o cat")


def test_it_comes_back_when_it_is_killed(
    deploy: Callable[..., Any], contained: dict[str, Any], engine: Engine, host: Any
) -> None:
    assert deploy(contained).code == 0
    release = host.release("api")
    engine.run(f"kill api.{release}")
    back(host)
    host.run(f"kill -9 $(systemctl show -P MainPID api@{release})")
    back(host)
    if engine.name == "docker":
        host.run("systemctl restart docker")
        back(host)
    subprocess.run(["docker", "restart", host.container], check=True, capture_output=True)
    back(host)
    assert host.release("api") == release


def test_a_bad_release_is_refused_and_the_old_one_serves(
    deploy: Callable[..., Any], contained: dict[str, Any], host: Any
) -> None:
    assert deploy(contained).code == 0
    release = host.release("api")
    bad = deploy({**contained, "entrypoint": "app:nothing()"})
    assert bad.code != 0
    assert f"release {release} still serves" in bad.output
    assert host.run(ASK) == "200"


def test_an_image_that_somebody_removed_is_fetched_again(
    deploy: Callable[..., Any], contained: dict[str, Any], engine: Engine, host: Any
) -> None:
    assert deploy(contained).code == 0
    host.try_(f"systemctl stop 'api@*'; {engine.name} rmi -f {contained['source']['image']}")
    done = deploy(contained)
    assert done.code == 0, done.output
    back(host)


def test_an_image_that_the_registry_lacks(deploy: Callable[..., Any], contained: dict[str, Any], host: Any) -> None:
    assert deploy(contained).code == 0
    missing = f"{REPOSITORY}@sha256:{'0' * 64}"
    done = deploy({**contained, "source": {"image": missing}})
    assert done.code != 0
    assert f'app "api": {missing} could not be pulled' in done.output
    assert host.run(ASK) == "200"
