"""Images: what is in them and what is not, that they are the same again, and that they run."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from engines import PLANTED, REPOSITORY, Engine

SCAN = r"""
import io, sys, tarfile
def scan(stream, place):
    with tarfile.open(fileobj=stream) as tree:
        for member in tree:
            if not member.isfile():
                continue
            data = tree.extractfile(member).read()
            try:
                scan(io.BytesIO(data), f"{place}/{member.name}")
            except tarfile.ReadError:
                if sys.argv[2].encode() in data:
                    print(f"{place}/{member.name}")
with open(sys.argv[1], "rb") as archive:
    scan(archive, "")
"""
RUN = (
    "run --detach --name tried --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges "
    "--network none --volume /srv/tried/run:/run/wsgi --volume /srv/tried/data:/var/lib/api"
)


@pytest.fixture
def tree(tmp_path: Path, repository_example: Path) -> Path:
    """A copy of the example's source."""
    shutil.copytree(repository_example, tmp_path / "tree", ignore=shutil.ignore_patterns("__pycache__", ".*"))
    return tmp_path / "tree"


@pytest.fixture
def entry(apps: dict[str, dict[str, Any]], tree: Path) -> dict[str, Any]:
    """The app with that source."""
    return {**apps["api"], "source": {"path": str(tree)}}


def test_built_once(
    build: Callable[..., str], play: Callable[..., Any], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert build()
    monkeypatch.setenv("ANSIBLE_CALLBACKS_ENABLED", "record_changes,ansible.posix.profile_tasks")
    seconds = []
    for _time in range(3):  # the machine may be busy with something else
        again = play(playbook="image", app="api", image_engine=engine.name)
        assert (again.code, again.changed) == (0, []), again.output
        took = re.search(r"Build the image of api -+ ([0-9.]+)s", again.output)
        assert took, again.output
        seconds.append(float(took[1]))
    print(f"\n{engine.name}: a build with nothing new takes {min(seconds)} s")
    assert min(seconds) <= 2


def test_changed_code_is_one_small_layer(
    build: Callable[..., str], engine: Engine, entry: dict[str, Any], tree: Path
) -> None:
    first = build(wsgi_apps=[entry])
    views = tree / "app" / "views.py"
    views.write_text(views.read_text() + "\n# another version\n")
    second = build(wsgi_apps=[entry])
    assert first
    assert second
    before, after = (engine.layers(f"{REPOSITORY}:{tag}") for tag in (first, second))
    assert len([layer for layer in after if layer not in before]) == 1
    history = engine.run(f"history --no-trunc --format '{{{{.Size}}}} {{{{.CreatedBy}}}}' {REPOSITORY}:{second}")
    [size] = [line.split()[0] for line in history.splitlines() if "/out/code" in line or "dir:" in line][1:2] or ["0kB"]
    assert size.lower().endswith("kb"), history


def test_nothing_cached_makes_the_same_digests(
    build: Callable[..., str], engine: Engine, entry: dict[str, Any]
) -> None:
    variables: dict[str, Any] = {"wsgi_apps": [{**entry, "image": {"labels": {"which": "reproducible"}}}]}
    tag = build(**variables)
    digest = engine.images()[tag]
    engine.forget()
    assert build(**variables) == tag
    assert engine.images()[tag] == digest


def test_the_server_runs_as_nobody_and_writes_nothing_else(
    build: Callable[..., str], engine: Engine, host: Any
) -> None:
    tag = build() or next(tag for tag in engine.images() if len(tag) == 16)
    host.try_(f"{engine.name} rm -f tried; rm -rf /srv/tried")
    host.run("mkdir -p /srv/tried/run /srv/tried/data; chown 10001:10001 /srv/tried/*")
    try:
        engine.run(f"{RUN} {REPOSITORY}:{tag}")
        host.run("timeout 60 sh -c 'until test -S /srv/tried/run/sock; do sleep 0.2; done'")
        answer = host.run("curl -s -o /dev/null -w '%{http_code}' --unix-socket /srv/tried/run/sock http://api/")
        assert answer == "200"
        assert engine.run("exec tried id -u") == "10001"
        assert engine.run("exec tried python -I /wsgi/check/healthy.py; echo $?").endswith("0")
        assert host.try_(f"{engine.name} exec tried sh -c 'echo x >/wsgi/app/src/x'").returncode != 0
        assert host.try_(f"{engine.name} exec tried sh -c 'command -v gcc cc uv pip apt-key'").returncode != 0
        started = time.monotonic()
        engine.run("stop -t 30 tried")
        assert time.monotonic() - started < 15
        assert "Shutting down: Master" in host.run(f"{engine.name} logs tried 2>&1")
    finally:
        host.try_(f"{engine.name} rm -f tried; rm -rf /srv/tried")


def test_no_secret_is_anywhere(play: Callable[..., Any], engine: Engine, host: Any, entry: dict[str, Any]) -> None:
    index = f"http://ci:planted-index-password@{host.ipv4}:8099/simple"
    engine.forget()
    host.run("mkdir -p /srv/index/simple; cd /srv/index; nohup python3 -m http.server 8099 >/srv/index.log 2>&1 & ")
    watch = f"while :; do ps -eo args | grep -v grep | grep {PLANTED}; sleep 0.05; done >/srv/seen 2>&1 & echo $!"
    watcher = host.run(f"nohup sh -c '{watch}'")
    try:
        tagged = {**entry, "image": {"labels": {"which": "secret"}}, "python": {"extra_index_urls": [index]}}
        options = {"image_engine": engine.name, "image_push": True, "app": "api", "wsgi_apps": [tagged]}
        done = play("-vvv", playbook="image", **options)
    finally:
        host.try_(f"kill {watcher}; pkill -f 'http.server 8099'")
    assert done.code == 0, done.output[-3000:]
    assert "planted-index-password" not in done.output
    assert "planted-registry-password" not in done.output
    assert "GET /simple/flask/" in host.run("cat /srv/index.log")
    assert host.run("cat /srv/seen") == ""
    [tag] = [tag for tag in engine.images() if len(tag) == 16]
    image = f"{REPOSITORY}:{tag}"
    assert PLANTED not in json.dumps(engine.inspect(image))
    assert PLANTED not in engine.run(f"history --no-trunc {image}")
    engine.run(f"save -o /srv/saved.tar {image}")
    assert host.run(f"python3 - /srv/saved.tar {PLANTED} <<'P'\n{SCAN}\nP\nrm /srv/saved.tar") == ""
    assert host.try_("grep -rl planted-registry-password /root/.docker /run/containers /root/.config").stdout == ""


def test_pushed_and_pulled_by_digest(play: Callable[..., Any], engine: Engine) -> None:
    options = {"image_engine": engine.name, "image_push": True, "app": "api", "image_tags": ["latest"]}
    done = play("-v", playbook="image", **options)
    assert done.code == 0, done.output
    reference = next(word.strip('",') for word in done.output.split() if word.strip('",').startswith(f"{REPOSITORY}@"))
    again = play(playbook="image", **options)
    assert (again.code, again.changed) == (0, []), again.output
    engine.forget()
    login = "login -u ci -p planted-registry-password" + (" --tls-verify=false" if engine.name == "podman" else "")
    engine.run(f"{login} 127.0.0.1:5000")
    try:
        engine.run(f"pull {'--tls-verify=false ' if engine.name == 'podman' else ''}{reference}")
    finally:
        engine.run("logout 127.0.0.1:5000")


def test_a_registry_that_refuses(play: Callable[..., Any], engine: Engine) -> None:
    options = {"image_engine": engine.name, "image_push": True, "app": "api"}
    done = play(playbook="image", image_registry_password="planted-but-wrong", **options)
    assert done.code != 0
    assert 'app "api"' in done.output
    assert "could not be pushed" in done.output
    assert "planted-but-wrong" not in done.output


def test_as_small_as_one_written_by_hand(build: Callable[..., str], engine: Engine, host: Any) -> None:
    tag = build() or next(tag for tag in engine.images() if len(tag) == 16)
    by_hand = r"""
FROM python-base:13 AS build
COPY uv /usr/local/bin/uv
COPY requirements.txt ca.pem /
ENV SSL_CERT_FILE=/ca.pem
RUN uv venv --quiet /venv && \
    uv pip install --quiet --python /venv/bin/python --compile-bytecode -r /requirements.txt gunicorn==27.0.1
FROM python-base:13
COPY --from=build /venv /venv
COPY app /app
USER 10001:10001
CMD ["/venv/bin/gunicorn", "app:create_app()"]
"""
    host.run(
        "mkdir -p /srv/hand; cd /srv/hand; cp /opt/wsgi/uv-*/bin/uv .; cp /etc/ssl/certs/ca-certificates.crt ca.pem"
    )
    for name in ("requirements.txt", "app"):
        host.run(
            f"test -e /srv/hand/{name} || {engine.name} create --name taken {REPOSITORY}:{tag} && "
            f"{engine.name} cp taken:/wsgi/app/src/{name} /srv/hand/; {engine.name} rm -f taken"
        )
    host.run(f"cat >/srv/hand/Containerfile <<'C'{by_hand}C")
    engine.run("build -q -f /srv/hand/Containerfile -t hand:1 /srv/hand")
    ours, theirs = (engine.inspect(image)["Size"] for image in (f"{REPOSITORY}:{tag}", "hand:1"))
    print(f"{engine.name}: ours {ours / 1e6:.1f} MB, by hand {theirs / 1e6:.1f} MB")
    assert ours <= theirs * 1.1
