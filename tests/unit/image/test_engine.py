# SPDX-License-Identifier: GPL-3.0-or-later
"""How engines are called, with programs in their place that write down what they were told."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.image.engine import (
    Build,
    Engine,
    EngineError,
    Registry,
    write_context,
)
from ansible_collections.webops.wsgi.plugins.module_utils.image.layers import LASTING_TIME, time_of

PASSWORD = "correct-horse-battery"
SCRIPT = """#!/bin/sh
echo "$@" >>"$LOG"
for word; do
  case $word in
  --authfile=*) cat "${word#*=}" >>"$LOG.file" ;;
  --digestfile=*) echo sha256:12 >"${word#*=}" ;;
  esac
done
if [ -n "$DOCKER_CONFIG" ]; then
  cat "$DOCKER_CONFIG/config.json" >>"$LOG.file"
  stat -c %a "$DOCKER_CONFIG/config.json" >>"$LOG.mode"
fi
case $1 in image) echo '[{"Id": "sha256:ab", "RepoDigests": ["r.example.com/api@sha256:34"]}]' ;; esac
exit "${FAIL:-0}"
"""


@pytest.fixture(params=["podman", "docker"])
def engine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    program = tmp_path / "bin" / request.param
    program.parent.mkdir()
    program.write_text(SCRIPT)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    return Engine(request.param)


def build(tmp_path: Path) -> Build:
    return Build(
        tmp_path / "context", "Containerfile", ["localhost/api:1"], {"b": "2", "a": "1"}, 5, tmp_path / "secrets"
    )


def test_a_build_names_no_secret_but_its_file(engine: Engine, tmp_path: Path) -> None:
    engine.build(build(tmp_path))
    told = (tmp_path / "log").read_text()
    assert f"--secret=id=wsgi,src={tmp_path}/secrets" in told
    assert "--tag localhost/api:1 --label=a=1 --label=b=2" in told
    assert ("SOURCE_DATE_EPOCH=5" if engine.name == "docker" else "--timestamp=315532800") in told


def test_a_password_is_in_a_file_alone_and_that_is_gone(engine: Engine, tmp_path: Path) -> None:
    digest = engine.push("r.example.com/api:1", Registry("ci", PASSWORD))
    told = (tmp_path / "log").read_text()
    assert PASSWORD not in told
    assert json.loads((tmp_path / "log.file").read_text())["auths"]["r.example.com"]["auth"]
    assert digest == ("sha256:12" if engine.name == "podman" else "sha256:34")
    for word in told.split():
        assert not word.startswith("--authfile=") or not Path(word.partition("=")[2]).exists()
    if engine.name == "docker":
        assert (tmp_path / "log.mode").read_text().strip() == "600"


def test_a_refusal_names_what_to_look_at(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIL", "1")
    with pytest.raises(EngineError, match=r"r\.example\.com/api:1 could not be pushed.*image_registry_password"):
        engine.push("r.example.com/api:1", Registry("ci", PASSWORD))
    assert engine.inspect("localhost/api:1") == {}
    assert engine.pushed("localhost/api:1", Registry()) == ""


def test_an_engine_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(
        EngineError, match=r"docker is not installed here; install docker\.io, docker-cli and docker-buildx"
    ):
        Engine("docker").check()


def test_a_context_has_the_times_and_modes_that_layers_are_made_of(tmp_path: Path) -> None:
    write_context(tmp_path, {"release/start": {"text": "#!/bin/sh\n", "mode": 0o755}})
    start = (tmp_path / "release/start").stat()
    assert (start.st_mode & 0o777, (tmp_path / "release").stat().st_mtime) == (0o755, LASTING_TIME)
    assert start.st_mtime == time_of(b"#!/bin/sh\n")


def test_a_file_of_the_same_size_has_another_time(tmp_path: Path) -> None:
    """BuildKit takes a file for unchanged by size and time, and would build the code of the time before."""
    times = set()
    for text in ("version = 1\n", "version = 2\n"):
        write_context(tmp_path, {"inputs.json": {"text": text, "mode": 0o644}})
        times.add((tmp_path / "inputs.json").stat().st_mtime)
    assert len(times) == 2
