# SPDX-License-Identifier: GPL-3.0-or-later
"""The build context of an image: what is in it, what is not, and when it is another one."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.build.inputs import BuildInputs
from ansible_collections.webops.wsgi.plugins.plugin_utils.image import parts
from ansible_collections.webops.wsgi.plugins.plugin_utils.image.context import (
    Context,
    ContextError,
    File,
    context,
    stamp_of,
)
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import collection_root

RELEASE = {"start": File("#!/bin/sh\n", 0o755), "etc/gunicorn.conf.py": File("workers = 2\n")}
INPUTS = BuildInputs(
    app="api",
    source={"tree": "1a2b"},
    label="a directory",
    python="",
    interpreter="",
    index_url="https://ci:hunter2hunter2@packages.example.com/simple",
    extra_index_urls=["https://ci:hunter3hunter3@more.example.com/simple"],
    ca_bundle="/etc/ssl/own.pem",
)
APP: dict[str, Any] = {
    "name": "api",
    "source": {"kind": "path", "path": "/src"},
    "env": {"LEVEL": "info", "PRICE": '5$ "net"', "SETTINGS": "{files}/settings.cfg"},
    "secrets": {"SECRET_KEY": "correct-horse-battery"},
    "files": {"settings.cfg": "password = staple-staple"},
    "credentials": {"key.pem": "very-private-key"},
    "system_packages": [],
    "build_packages": [],
    "python": {"version": ""},
    "server": {"name": "gunicorn", "stop_timeout": 40},
    "image": {
        "base": "python:{python}-slim",
        "packages": [],
        "containerfile": "",
        "user": 10001,
        "health_timeout": 5,
        "labels": {},
    },
}


def made(app: dict[str, Any] | None = None, inputs: BuildInputs = INPUTS, version: str = "") -> Context:
    return context(app or APP, inputs, RELEASE, "0.13.9", version)


def changed(**changes: Any) -> dict[str, Any]:
    app = copy.deepcopy(APP)
    for key, value in changes.items():
        app[key] = {**app[key], **value} if isinstance(value, dict) and isinstance(app.get(key), dict) else value
    return app


def recipe(app: dict[str, Any] | None = None) -> str:
    return made(app).files["Containerfile"].text


def test_no_secret_is_in_it() -> None:
    everything = json.dumps([file.text for file in made().files.values()]) + json.dumps(made().labels)
    for secret in ("correct-horse", "staple-staple", "very-private", "hunter2", "hunter3", "/etc/ssl/own.pem"):
        assert secret not in everything


def test_equal_things_have_one_name_and_others_another() -> None:
    names = {
        made().name,
        made(changed(env={"LEVEL": "debug"})).name,
        made(changed(image={"base": "debian:13"})).name,
        made(changed(image={"labels": {"team": "shop"}})).name,
        made(inputs=BuildInputs(**{**INPUTS.__dict__, "source": {"tree": "2b3c"}})).name,
        context(APP, INPUTS, {**RELEASE, "start": File("#!/bin/sh\nexec x\n", 0o755)}, "0.13.9", "").name,
    }
    assert len(names) == 6
    assert made().name == made(copy.deepcopy(APP)).name


def test_a_new_password_makes_no_new_image() -> None:
    other = BuildInputs(**{**INPUTS.__dict__, "index_url": "https://ci:other@packages.example.com/simple"})
    assert made(inputs=other).name == made().name


def test_a_commit_elsewhere_in_the_repository_makes_no_new_image() -> None:
    assert made(version="1.2.dev3").name == made(version="1.2.dev4").name


def test_the_final_stage_has_no_compiler_and_no_secret() -> None:
    text = recipe(changed(build_packages=["build-essential"], system_packages=["libpq5"]))
    runtime, building, final = text.split("FROM ")[1:]
    assert "libpq5" in runtime
    assert "build-essential" in building
    assert "RUN" not in final
    assert "--mount=type=secret" not in final
    assert "USER 10001:10001" in final
    assert "STOPSIGNAL SIGTERM" in final


def test_a_linter_of_containerfiles_finds_nothing(tmp_path: Path) -> None:
    file = tmp_path / "Containerfile"
    file.write_text(recipe(changed(build_packages=["build-essential"], system_packages=["libpq5"])), encoding="utf-8")
    done = subprocess.run(["hadolint", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_containerfile_of_the_app_s_own_is_added_to(tmp_path: Path) -> None:
    own = made(changed(image={"containerfile": "Dockerfile"}))
    text = own.files["Containerfile"].text
    assert "FROM" not in text
    assert "COPY --from=wsgi release/ /wsgi/" in text
    assert "RUN /wsgi/adopt gunicorn" in text
    assert "USER 10001:10001" in text
    assert not [name for name in own.files if name.startswith("program/")]
    assert own.name != made(changed(image={"containerfile": "docker/Dockerfile"})).name
    file = tmp_path / "Containerfile"
    file.write_text(f"FROM python:3.13-slim\nWORKDIR /app\nCOPY . .\n{text}", encoding="utf-8")
    done = subprocess.run(["hadolint", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_changes_with_the_code_comes_after_what_stays() -> None:
    copied = [line for line in recipe().split("FROM ")[-1].splitlines() if line.startswith("COPY")]
    assert [line.split()[-2] for line in copied] == ["/out/environment/", "/out/code/", "release/"]


def test_no_build_host_decides_the_python_of_a_base() -> None:
    assert "FROM python:3.13-slim AS base" in recipe()
    assert "FROM python:3.12-slim AS base" in recipe(changed(python={"version": "3.12"}))


def test_values_mean_themselves() -> None:
    assert 'ENV PRICE="5\\$ \\"net\\""' in recipe()


def test_variables_that_name_files_of_a_release_are_left_to_whoever_brings_these() -> None:
    assert "SETTINGS" not in recipe()


def test_a_variable_of_several_lines_is_refused() -> None:
    with pytest.raises(ContextError, match=r'app "api": env\.MOTTO has more than one line'):
        made(changed(env={"MOTTO": "a\nUSER root"}))


def test_labels_name_the_source_without_its_credentials() -> None:
    source = {"kind": "git", "git": "https://me:hunter2hunter2@git.example.com/api.git", "version": "v1.4"}
    inputs = BuildInputs(**{**INPUTS.__dict__, "source": {"commit": "a" * 40}})
    labels = made(changed(source=source), inputs).labels
    assert labels["org.opencontainers.image.source"] == "https://git.example.com/api.git"
    assert labels["org.opencontainers.image.revision"] == "a" * 40
    assert labels["org.opencontainers.image.version"] == "v1.4"
    assert labels["webops.wsgi.stop-timeout"] == "40"


def test_files_of_one_source_have_one_time_in_the_past() -> None:
    assert stamp_of({"tree": "1"}) == stamp_of({"tree": "1"}) != stamp_of({"tree": "2"})
    assert 946684800 <= stamp_of({"tree": "1"}) < 946684800 + 631152000


def test_the_program_of_the_stage_is_whole_without_ansible(tmp_path: Path) -> None:
    for name, text in parts.program().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "__main__.py").write_text(
        f"import sys\nfrom {parts.STAGE} import main\nprint('ansible' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-I", "-S", str(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "False"), done.stderr


def test_the_health_check_is_whole_without_the_collection(tmp_path: Path) -> None:
    for name, text in parts.modules(parts.HEALTH).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    check = Path(collection_root(), "roles/image/files/healthy.py").read_text(encoding="utf-8")
    (tmp_path / "healthy.py").write_text(check, encoding="utf-8")
    asked = {"path": "/", "statuses": ["200"], "host": "x", "scheme": "https", "body": "", "headers": {}, "timeout": 1}
    (tmp_path / "health.json").write_text(json.dumps(asked), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(tmp_path / "healthy.py")],
        env={"WSGI_SOCKET": str(tmp_path / "sock")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "got no answer" in done.stderr) == (1, True), done.stderr
