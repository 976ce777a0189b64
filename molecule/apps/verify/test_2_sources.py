"""Apps whose sources are not one directory with one file of requirements."""

from __future__ import annotations

import json
import subprocess

PROJECT = """\
[build-system]
requires = ["setuptools>=80", "setuptools-scm>=8"]
build-backend = "setuptools.build_meta"
[project]
name = "NAME"
dynamic = ["version"]
dependencies = REQUIREMENTS
[tool.setuptools]
py-modules = ["MODULE"]
[tool.setuptools_scm]
"""
VERSIONED = """\
from importlib.metadata import version
def app(environ, start_response):
    start_response("200 OK", [])
    return [f"{version('versioned-app')} {version('private-library')}".encode()]
"""
# Does on this machine what the last argument says: no host has this way to the repository.
SSH = '#!/bin/sh\nfor last; do :; done\nexec sh -c "$last"\n'


def test_app_of_a_monorepo_has_what_the_lock_of_its_workspace_says(host, client):
    answer = client.get(host.url("shop"))
    assert json.loads(answer.body) == {"total": 21, "bottle": "0.13.2"}


def test_the_run_and_the_build_say_which_file_decided(host):
    build = json.loads(host.run("cat /srv/shop/current/app/build.json"))
    assert build["requirements"] == "../../uv.lock"


def test_project_that_asks_git_for_its_version_with_a_requirement_in_a_private_repository(
    hosts, apps, play, client, tmp_path, monkeypatch
):
    (tmp_path / "ssh").write_text(SSH)
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(tmp_path / "ssh"))
    library = _repository(tmp_path / "library", "private-library", "library", "", "v0.7.1")
    requirement = f"private-library @ git+ssh://git@git.example.test{library}@v0.7.1"
    versioned = _repository(tmp_path / "versioned", "versioned-app", "versioned", VERSIONED, "v2.3.0", requirement)
    source = {"git": versioned.as_uri(), "version": "v2.3.0"}
    changes = {"source": source, "entrypoint": "versioned:app", "build_packages": ["git"]}
    run = play(playbook="deploy", wsgi_apps=[apps["shop"] | changes])
    assert run.code == 0, run.output[-3000:]
    for host in hosts:
        assert client.get(host.url("shop")).body == "2.3.0 0.7.1"
        assert not host.try_("find /srv/shop/current/ -name '.git*' | grep .").stdout


def _repository(folder, name, module, code, tag, *requirements):
    """A repository with a project that setuptools-scm versions, by a tag."""
    project = PROJECT.replace("NAME", name).replace("MODULE", module)
    folder.mkdir()
    (folder / "pyproject.toml").write_text(project.replace("REQUIREMENTS", json.dumps(requirements)))
    (folder / f"{module}.py").write_text(code)
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.test"]
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", tag], ["tag", tag]):
        subprocess.run(["git", "-C", folder, *command], check=True)
    return folder
