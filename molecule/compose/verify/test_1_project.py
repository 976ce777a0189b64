"""A Compose project stands alone, switches releases without losing a request, and refuses those that are not good."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from projects import PROJECT
from testbed import labs

ROOT = Path(__file__).parents[3]
SECOND = "/srv/second"
PLANTED = "planted-"  # every secret of the scenario begins so


@pytest.fixture
def second(host: Any, project: Any) -> Iterator[dict[str, Any]]:
    """Variables of a second project on the host, which only a person starts; it is removed in the end."""
    yield {
        "compose_directory": SECOND,
        "compose_project": "second",
        "compose_publish": "127.0.0.1",
        "compose_start": False,
        "nginx_proxy_http_port": 8081,
        "nginx_proxy_https_port": 8444,
    }
    project.compose("--profile development down --volumes --timeout 5", SECOND)
    host.run(f"rm -rf {SECOND}")


def test_two_commands_on_a_host_that_has_only_the_engine(
    play: Callable[..., Any], project: Any, second: dict[str, Any]
) -> None:
    done = play(playbook="compose", **second)
    assert done.code == 0, done.output
    project.compose("up --detach --wait", SECOND)
    assert '"release":"1"' in project.answer(port=8444)
    assert "--ink" in project.answer("/static/style.css", port=8444)
    again = play(playbook="compose", **second)
    assert (again.code, again.changed) == (0, []), again.output


def test_a_person_s_own_directory_needs_no_root(play: Callable[..., Any], host: Any, second: dict[str, Any]) -> None:
    host.run("usermod --append --groups docker --comment ,,,,umask=077 deploy")
    own = {**second, "compose_directory": "/home/deploy/shop", "ansible_become": False}
    done = play(playbook="compose", **own)
    assert done.code == 0, done.output
    as_deploy = "runuser -u deploy -- docker compose --project-directory /home/deploy/shop"
    try:
        host.run(f"{as_deploy} up --detach --wait")
        name = host.domain("api")
        asked = f"curl -sk --max-time 10 --connect-to {name}:8444:127.0.0.1:8444 https://{name}:8444/"
        assert '"release":"1"' in host.run(asked)
    finally:
        host.run(f"{as_deploy} down --volumes --timeout 5; rm -rf /home/deploy/shop; usermod --comment '' deploy")


def test_podman_compose(play: Callable[..., Any], host: Any, project: Any, second: dict[str, Any]) -> None:
    done = play(playbook="compose", **second)
    assert done.code == 0, done.output
    podman = f"cd {SECOND}; PODMAN_IGNORE_CGROUPSV1_WARNING=1 podman-compose"
    try:
        host.run(f"{podman} up --detach </dev/null")
        labs.wait_for(lambda: '"release":"1"' in project.answer(port=8444), "an answer of what Podman runs")
        assert "--ink" in project.answer("/static/style.css", port=8444)
        assert PLANTED not in host.run("podman inspect $(podman ps --all --quiet)")
    finally:
        host.run(f"{podman} down --volumes --timeout 5 </dev/null")


def test_development_beside_other_services(
    play: Callable[..., Any], host: Any, project: Any, second: dict[str, Any], apps: dict[str, Any], tmp_path: Path
) -> None:
    """The source is the person's own directory; one change of it, and the server has it."""
    source = tmp_path / "source"
    shutil.copytree(ROOT / "examples" / "flask_api", source, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    entry = {**apps["api"], "source": {"path": str(source)}, "compose": {"development": 8000, "depends_on": ["cache"]}}
    beside = {"cache": {"image": "python-base:13", "command": ["sleep", "1000"]}}
    done = play(playbook="compose", wsgi_apps=[entry], compose_services=beside, **second)
    assert done.code == 0, done.output
    packed = subprocess.run(["tar", "-C", str(source), "-c", "."], capture_output=True, check=True).stdout
    unpack = f"mkdir -p {source} && tar -C {source} -x"
    subprocess.run(["docker", "exec", "-i", host.container, "sh", "-c", unpack], input=packed, check=True)
    project.compose("up --detach --wait", SECOND)
    project.compose("--profile development up --detach api-development", SECOND)
    assert set(project.compose("ps --services", SECOND).split()) == {"nginx", "cache", "api-1", "api-development"}
    ask = "curl -s --max-time 40 http://127.0.0.1:8000/"
    assert '"version":"1.0.0"' in host.run(ask)
    host.run(f"sed -i 's/1.0.0/2.0.0/' {source}/app/__init__.py")
    host.run(f"timeout 60 sh -c 'until {ask} | grep -q 2.0.0; do sleep 0.2; done'")
    assert '"version":"1.0.0"' in project.answer(port=8444)


def test_nothing_to_do_the_second_time(deploy: Callable[..., Any], project: Any) -> None:
    assert deploy().code == 0
    before = project.compose("ps --all --quiet")
    again = deploy()
    assert (again.code, again.changed) == (0, []), again.output
    assert project.compose("ps --all --quiet") == before
    # And nothing for a person who says it by hand.
    project.compose("up --detach")
    assert project.compose("ps --all --quiet") == before


def test_three_deployments_and_a_rollback_lose_nothing(
    deploy: Callable[..., Any], play: Callable[..., Any], project: Any, visitors: Callable[..., Any]
) -> None:
    with visitors(least=10_000) as seen:
        for number in ("1", "2", "3"):
            done = deploy(number)
            assert done.code == 0, done.output
        last = int(project.release())
        assert project.serves(str(last))
        back_to = play(playbook="compose_rollback", app="api")
        assert back_to.code == 0, back_to.output
    print(f"\nthree deployments and a rollback: {seen}")
    assert seen["bad"] == []
    assert seen["good"] >= 10_000
    assert project.serves(str(last - 1))
    assert project.services() == {"nginx", f"api-{last - 1}"}


def test_it_is_closed_and_shows_no_secret(deploy: Callable[..., Any], host: Any, project: Any) -> None:
    assert deploy().code == 0
    service = f"api-{project.release()}"
    assert PLANTED not in host.run(f"cat {PROJECT}/compose.yaml {PROJECT}/apps/api/releases/*/release.json")
    assert PLANTED not in host.run("docker inspect $(docker ps --all --quiet)")
    assert PLANTED not in host.run("ps -eo args | grep -v grep")
    assert PLANTED not in host.run(f"docker history --no-trunc $(docker inspect -f '{{{{.Image}}}}' wsgi-{service}-1)")
    assert host.run(f"stat -c %a {PROJECT}") == "700"
    variables = project.compose(f'exec -T {service} sh -c \'tr "\\0" "\\n" </proc/1/environ\'')
    assert "SECRET_KEY=planted-secret-of-the-app $HOME \"'\\ `id`" in variables
    assert 'MOTTO=5$ "net"' in variables
    status = project.compose(f"exec -T {service} cat /proc/1/status")
    assert "NoNewPrivs:\t1" in status
    assert "CapEff:\t0000000000000000" in status
    assert "Uid:\t10001\t10001" in status
    assert host.try_(f"cd {PROJECT}; docker compose exec -T {service} touch /wsgi/x </dev/null").returncode != 0
    inside = project.compose(f"exec -T {service} cat /wsgi/credentials/signing.pem /wsgi/files/settings.cfg")
    assert inside.split() == ["planted-credentialpassword", "=", "planted-in-a-file"]
    told = json.loads(host.run("docker inspect $(docker ps --quiet)"))
    assert not [mount for one in told for mount in one["Mounts"] if "docker.sock" in mount["Source"]]
    assert not [one["Name"] for one in told if one["HostConfig"]["Privileged"]]
    workers = project.compose("exec -T nginx sh -c 'cat /proc/[0-9]*/status | grep ^Uid | sort | uniq -c'")
    assert "33" in workers  # nobody but nginx's master, and this shell, is root


def test_a_bad_release_is_refused_and_the_old_one_serves(
    deploy: Callable[..., Any], project: Any, visitors: Callable[..., Any]
) -> None:
    assert deploy().code == 0
    release = project.release()
    bad = {
        "no such factory": {"entrypoint": "app:nothing()"},
        "a hook that fails": {"release": {"before_activate": "false"}},
        "a hook that fails after the switch": {"release": {"after_activate": "false"}},
        "not healthy": {"release": {"health_path": "/nowhere", "health_status": ["200"], "start_timeout": 3}},
        "a worker that ends": {"workers": [{"name": "queue", "command": "true"}]},
    }
    with visitors() as seen:
        for what, entry in bad.items():
            done = deploy(**entry)
            assert done.code != 0, what
            assert f"release {release} still serves" in done.output, done.output
            assert project.serves(release), what
            assert project.services() == {"nginx", f"api-{release}"}, what
    assert seen["bad"] == []
    assert deploy().code == 0
    again = deploy()
    assert (again.code, again.changed) == (0, []), again.output


@pytest.mark.parametrize(
    "settings",
    [
        {"nginx": {"location_snippet": "no_such_directive on;"}},
        {"options": ("-e", "nginx_proxy_http_snippet='no_such_directive on;'")},
    ],
)
def test_what_nginx_refuses_changes_nothing(settings: dict[str, Any], deploy: Callable[..., Any], project: Any) -> None:
    assert deploy().code == 0
    release = project.release()
    done = deploy("other", *settings.pop("options", ()), **settings)
    assert done.code != 0
    assert "no_such_directive" in done.output
    assert project.serves(release)


def test_another_app_below_a_path_comes_and_goes(
    deploy: Callable[..., Any], play: Callable[..., Any], project: Any, apps: dict[str, dict[str, Any]]
) -> None:
    assert deploy().code == 0
    release = project.release()
    keys = ("source", "entrypoint", "domains", "nginx")
    second = {"name": "second", "server": "uwsgi", "path": "/second", **{key: apps["api"][key] for key in keys}}
    done = play(playbook="compose", wsgi_apps=[apps["api"], second])
    assert done.code == 0, done.output
    assert '"app":"second"' in project.answer("/second/")
    assert "--ink" in project.answer("/second/static/style.css")
    assert project.serves(release)
    again = play(playbook="compose", wsgi_apps=[apps["api"], second])
    assert (again.code, again.changed) == (0, []), again.output
    assert deploy().code == 0
    assert project.services() == {"nginx", f"api-{release}"}
    assert '"app":"second"' not in project.answer("/second/")


def test_workers_run_beside_the_server(deploy: Callable[..., Any], project: Any) -> None:
    worker = {"name": "queue", "command": "sleep 1000", "replicas": 2, "stop_timeout": 1}
    done = deploy(workers=[worker])
    assert done.code == 0, done.output
    release = project.release()
    names = {"nginx", f"api-{release}", f"api-{release}-queue-1", f"api-{release}-queue-2"}
    assert project.services() == names
    assert deploy().code == 0
    assert project.services() == {"nginx", f"api-{project.release()}"}


def test_an_image_of_a_registry(deploy: Callable[..., Any], host: Any, project: Any) -> None:
    assert deploy().code == 0
    release = project.release()
    pushed = "127.0.0.1:5000/api"
    host.run("docker login -u ci -p planted-registry-password 127.0.0.1:5000")
    built = host.run(f"docker inspect -f '{{{{.Image}}}}' wsgi-api-{release}-1")
    host.run(f"docker tag {built} {pushed}:1; docker push -q {pushed}:1; docker logout 127.0.0.1:5000")
    image = host.run(f"docker inspect -f '{{{{index .RepoDigests 0}}}}' {pushed}:1")
    host.run(f"docker rmi {pushed}:1")
    done = deploy(source={"image": image}, runtime="container")
    assert done.code == 0, done.output
    assert project.serves(str(int(release) + 1))
    assert host.try_("grep -r planted-registry /root/.docker").stdout == ""
    missing = f"{pushed}@sha256:{'0' * 64}"
    done = deploy(source={"image": missing}, runtime="container")
    assert done.code != 0
    assert f"{missing} could not be pulled" in done.output
    assert project.serves(str(int(release) + 1))


def test_check_mode_tells_and_does_nothing(deploy: Callable[..., Any], project: Any) -> None:
    assert deploy().code == 0
    before = project.compose("ps --all --quiet")
    done = deploy("checked", "--check")
    assert (done.code, len(done.changed)) == (0, 1), done.output
    assert project.compose("ps --all --quiet") == before
    done = deploy("", "--check")
    assert (done.code, done.changed) == (0, []), done.output


def test_it_comes_back_by_itself(deploy: Callable[..., Any], host: Any, project: Any) -> None:
    assert deploy().code == 0
    release = project.release()
    project.compose("restart nginx")
    restarted = project.back()
    host.run(f"kill -9 $(docker inspect -f '{{{{.State.Pid}}}}' wsgi-api-{release}-1)")
    killed = project.back()
    host.run("systemctl restart docker")
    engine = project.back()
    subprocess.run(["docker", "restart", host.container], check=True, capture_output=True)
    machine = project.back(120)
    assert project.serves(release)
    told = f"nginx restarted {restarted:.1f}, app killed {killed:.1f}, engine {engine:.1f}, host {machine:.1f}"
    print(f"\nseconds until it answers again: {told}")
    time.sleep(5)
    done = deploy("", "--diff")
    assert (done.code, done.changed) == (0, []), done.output


@pytest.mark.parametrize("before", ["docker.*up.*api-", "os.rename.*current.partial", "docker.*rm.*--stop", "proved"])
def test_a_run_that_was_killed_is_made_up_for(
    before: str,
    deploy: Callable[..., Any],
    traps: dict[Any, Any],
    host: Any,
    project: Any,
    visitors: Callable[..., Any],
) -> None:
    assert deploy().code == 0
    trap = traps[host]
    trap.lay("compose.deploy")
    trap.set(before)
    with visitors() as seen:
        killed = deploy(f"killed before {before}", *trap.interpreter)
        assert killed.code != 0
        assert trap.sprung, killed.output
        done = deploy(f"killed before {before}")
        assert done.code == 0, done.output
    assert seen["bad"] == []
    assert project.services() == {"nginx", f"api-{project.release()}"}
    again = deploy(f"killed before {before}")
    assert (again.code, again.changed) == (0, []), again.output


def test_what_compose_cannot_do_is_refused_before_the_host_is_touched(deploy: Callable[..., Any], project: Any) -> None:
    before = project.compose("ps --all --quiet")
    done = deploy(timers=[{"name": "tidy", "command": "true", "on_calendar": "daily"}], tls="letsencrypt")
    assert done.code != 0
    assert "timers is set, and a Compose project does not have it" in done.output
    assert 'tls is "letsencrypt"' in done.output
    assert project.compose("ps --all --quiet") == before


def test_status(play: Callable[..., Any], project: Any) -> None:
    done = play(playbook="compose_status")
    assert done.code == 0, done.output
    row = next(line for line in done.output.splitlines() if line.startswith("d13"))
    assert row.split()[:3] == ["d13", "api", project.release()]
    assert "good" in row
    told = play(playbook="compose_status", format="history")
    assert "rollback" in told.output
