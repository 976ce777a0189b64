"""Releases that are containers: what their units and their script say."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webops.wsgi.plugins.action.app_release import environment
from render import HOST, app, render

IMAGE = "registry.example.com/api@sha256:" + "0123456789abcdef" * 4
ENTRY = Path(__file__).resolve().parents[2] / "roles/server/files/enter_release"


def contained(**changes: Any) -> dict[str, Any]:
    source = {"kind": "image", "image": IMAGE}
    return {**app(source=source, **changes), "runtime": "container"}


def unit(entry: dict[str, Any]) -> str:
    return render("release", "release.conf.j2", app={**entry, "env_lines": [], "state_folders": []}, __wsgi_host=HOST)


def script(**changes: Any) -> str:
    return render("server", "container.j2", app=contained(**changes))


def test_the_drop_in_replaces_all_that_the_unit_says_of_a_process() -> None:
    text = unit(contained(release={"memory_max": "512M"}))
    lines = text.splitlines()
    for name in ("User", "Group", "WorkingDirectory", "EnvironmentFile", "Environment", "ExecStart"):
        assert f"{name}=" in lines
    assert "ExecStart=/bin/sh /srv/api/releases/%i/etc/container run api.%i %i /wsgi/start" in lines
    assert "MemoryMax=512M" in lines
    assert "StandardInput=file:/srv/api/releases/%i/etc/environment" in lines
    assert "ProtectSystem" not in text
    assert "StateDirectory" not in text


def test_a_process_has_nothing_of_it() -> None:
    assert "container" not in unit(app())


@pytest.mark.parametrize("engine", ["podman", "docker"])
def test_the_script_closes_the_container(engine: str) -> None:
    text = script(image={"engine": engine, "network": "none"})
    for option in ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=none", "--rm"):
        assert option in text
    assert IMAGE in text
    assert ("--cgroups=disabled" in text) == (engine == "podman")
    assert subprocess.run(["sh", "-n"], input=text, text=True, check=False).returncode == 0


@pytest.mark.parametrize("engine", ["podman", "docker"])
def test_the_environment_comes_as_it_is_and_its_file_stays_root_s(engine: str, tmp_path: Path) -> None:
    """crun and runc give the user of a container what is its standard input."""
    text = environment(contained(secrets={"KEY": '5$ "net" `id`\\nsecond'}))
    (tmp_path / "environment").write_text(text)
    (tmp_path / engine).write_text("#!/bin/sh\n[ -p /dev/stdin ] && exec cat\n")
    (tmp_path / engine).chmod(0o755)
    script_text = script(image={"engine": engine}).replace("PATH=/usr/local/sbin", f"PATH={tmp_path}:/usr/local/sbin")
    (tmp_path / "container").write_text(script_text)
    with (tmp_path / "environment").open() as stream:
        done = subprocess.run(
            ["sh", str(tmp_path / "container"), "run", "api.1", "1", "/wsgi/start"],
            stdin=stream,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.stdout.endswith(text)


@pytest.mark.parametrize("engine", ["podman", "docker"])
def test_no_engine_sets_a_limit_of_its_own(engine: str) -> None:
    text = script(image={"engine": engine}, release={"limit_nofile": 4096})
    assert "--ulimit=nofile=4096:4096" in text
    assert ("--ulimit=nproc=" in text) == (engine == "podman")


def test_a_container_is_told_of_its_state_directory_as_a_process_is() -> None:
    assert '--env=STATE_DIRECTORY="$state"' in script()


def test_docker_gets_the_limits_that_podman_has_from_its_unit() -> None:
    limits = {"memory_max": "512M", "cpu_quota": "150%", "tasks_max": 100}
    text = script(image={"engine": "docker"}, release=limits)
    assert "--memory=512m" in text
    assert "--cpus=1.5" in text
    assert "--pids-limit=100" in text
    assert "--memory" not in script(release=limits)


def test_no_secret_is_in_the_script() -> None:
    text = script(secrets={"KEY": "correct-horse"}, credentials={"key.pem": "staple"}, env={"A": "b-in-env"})
    assert not any(word in text for word in ("correct-horse", "staple", "b-in-env"))


def test_every_value_of_the_environment_arrives_as_it_is(tmp_path: Path) -> None:
    values = {"A": 'a "quoted" $HOME `id` \\ end', "B": "two\nlines", "C": "it's"}
    text = environment(contained(env={"A": values["A"], "F": "{files}/x"}, secrets=values, files={"x": ""}))
    show = ["python3", "-c", "import os, json; print(json.dumps(dict(os.environ)))"]
    asked = {"PATH": "/usr/bin:/bin", "WSGI_RELEASE_DIR": str(tmp_path)}
    done = subprocess.run(["sh", str(ENTRY), *show], input=text, capture_output=True, text=True, check=True, env=asked)
    for name, value in values.items():
        assert f'"{name}": ' in done.stdout
        assert value in json.loads(done.stdout)[name]
    assert '"F": "/wsgi/files/x"' in done.stdout
