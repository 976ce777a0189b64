"""Releases that are containers: they serve, switch, come back and are refused as processes are."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from engines import PLANTED, REPOSITORY, Engine, reference
from testbed import labs, machine

ASK = "curl -s -o /dev/null -w '%{http_code}' --unix-socket /run/api/current.sock http://api/"


@pytest.fixture
def contained(play: Callable[..., Any], engine: Engine, apps: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The app as containers of an image that the registry has."""
    # Nobody may raise a limit on a host that is a container itself.
    own = {"image": {"engine": engine.name}, "release": {"limit_nofile": 16384}}
    return {**apps["api"], **own, "source": {"image": reference(play, engine)}, "runtime": "container"}


@pytest.fixture
def deploy(play: Callable[..., Any]) -> Callable[..., Any]:
    """Deploy the app as it is given, with another value of a variable where one is given."""

    def run(entry: dict[str, Any], playbook: str = "deploy", **env: str) -> Any:
        return play(playbook=playbook, wsgi_apps=[{**entry, "env": {**entry["env"], **env}}])

    return run


def back(host: Any) -> None:
    """Wait until the app answers again."""
    host.run(f"timeout 60 sh -c 'until [ \"$({ASK})\" = 200 ]; do sleep 0.2; done'")


def test_three_deployments_and_a_rollback_lose_nothing(
    deploy: Callable[..., Any],
    play: Callable[..., Any],
    contained: dict[str, Any],
    visitors: Callable[..., Any],
    engine: Engine,
    host: Any,
) -> None:
    with visitors(least=10_000) as seen:
        for number in ("1", "2", "3"):
            done = deploy(contained, MOTTO=number)
            assert done.code == 0, done.output
        back_to = play(playbook="rollback", app="api", wsgi_apps=[contained])
        assert back_to.code == 0, back_to.output
    looked = play(playbook="status")
    [row] = [line for line in looked.output.splitlines() if line.split()[:2] == ["d13", "api"]]
    assert row.split()[2] == host.release("api")
    assert " active " in row
    assert " good " in row
    print(f"\n{engine.name}: three deployments and a rollback: {seen}")
    assert seen["bad"] == []
    assert seen["good"] >= 10_000
    running = engine.run("ps --format '{{.Names}}'").split()
    assert f"api.{host.release('api')}" in running
    assert len([name for name in running if name.startswith("api.") and name.count(".") == 1]) == 1


def test_from_a_process_to_a_container_and_back(
    deploy: Callable[..., Any],
    contained: dict[str, Any],
    apps: dict[str, dict[str, Any]],
    visitors: Callable[..., Any],
    engine: Engine,
) -> None:
    with visitors() as seen:
        for entry in (apps["api"], contained, apps["api"], contained):
            done = deploy(entry)
            assert done.code == 0, done.output
    assert seen["bad"] == []
    assert deploy(contained, "site").code == 0
    again = deploy(contained, "site")
    assert (again.code, again.changed) == (0, []), again.output
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


OWN = r"""
FROM python-base:13
WORKDIR /code
COPY . .
ENV PIP_CERT=/code/ca.pem {index}
RUN python3 -m venv --without-pip /opt/venv \
    && export PYTHONPATH="$(echo /usr/share/python-wheels/pip-*.whl)" \
    && /opt/venv/bin/python -m pip install -q -r requirements.txt
ENV PATH=/opt/venv/bin:$PATH
CMD ["flask", "run"]
"""


def test_an_image_of_the_app_s_own_containerfile(
    deploy: Callable[..., Any],
    play: Callable[..., Any],
    apps: dict[str, dict[str, Any]],
    repository_example: Path,
    engine: Engine,
    host: Any,
    tmp_path: Path,
) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(repository_example, tree, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    shutil.copyfile(machine.ca_bundle() or labs.HOST_CA_BUNDLE, tree / "ca.pem")
    index = f"PIP_INDEX_URL={os.environ['PIP_INDEX_URL']}" if os.environ.get("PIP_INDEX_URL") else ""
    entry = {**apps["api"], "source": {"path": str(tree)}, "image": {"containerfile": "Dockerfile"}}
    (tree / "Dockerfile").write_text(OWN.format(index=index))
    refused = play(playbook="image", app="api", image_engine=engine.name, wsgi_apps=[{**entry, "server": "waitress"}])
    assert refused.code != 0
    assert "python3 of the image has no waitress, the app's server" in refused.output
    image = reference(play, engine, wsgi_apps=[entry])
    own = {"image": {"engine": engine.name}, "release": {"limit_nofile": 16384}, "source": {"image": image}}
    done = deploy({**apps["api"], **own, "runtime": "container"}, "site")
    assert done.code == 0, done.output
    assert host.run(ASK) == "200"
    assert engine.run(f"exec api.{host.release('api')} pwd") == "/code"
    static = f"curl -sk --connect-to ::127.0.0.1: https://{host.domain('api')}/static/style.css"
    assert "--ink" in host.run(static)


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
