"""Releases that are containers and bad: each kind is refused as it is of processes, in time and with the cause."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from engines import Engine, reference

sys.path.insert(0, str(Path(__file__).parents[2] / "shared"))

from troubles import GRACEFUL, TROUBLE

ROOT = Path(__file__).parents[3]
# What is wrong in each run with which app; `api` has clients meanwhile.
RUNS = (
    {"api": "a worker that ends", "beta": "answers 500", "gamma": "cannot be imported"},
    {"api": "a failing hook", "beta": "ends after a while", "gamma": "imports too slowly"},
    {"api": "a failing hook afterwards", "beta": "a hook without an end", "gamma": "boots too slowly"},
    {"api": "never answers", "beta": "a worker that is no program", "gamma": "ends at once"},
)


@pytest.fixture
def troubled(play: Callable[..., Any], engine: Engine, apps: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """Three apps whose containers make trouble on demand, of one image."""
    source = tmp_path / "source"
    for part in ("examples/flask_api", "molecule/deploy/app"):
        shutil.copytree(ROOT / part, source, ignore=shutil.ignore_patterns("__pycache__", ".*"), dirs_exist_ok=True)
    common = {
        "entrypoint": "trouble:create_app()",
        "gunicorn": {"workers": 1},
        "nginx": {"static": {"/static/": "app/static"}},
        "tls": "selfsigned",
    }
    packages = {"python": {"packages": ["celery==5.7.0", "redis==8.1.0"]}}
    built = {"name": "api", "source": {"path": str(source)}, "domains": apps["api"]["domains"], **common, **packages}
    image = reference(play, engine, wsgi_apps=[built])
    contained = {"source": {"image": image}, "runtime": "container", "image": {"engine": engine.name}}
    release = {"limit_nofile": 16384, "health_path": "/healthz", "health_status": [200], "look_after": 1}
    patient = {"health_timeout": 60, "start_timeout": 60, "worker_settle": 20}
    domain = apps["api"]["domains"][0]
    return {
        name: {
            "name": name,
            "domains": [domain.replace("api.", f"{name}.", 1)],
            **common,
            **contained,
            "env": {"TROUBLE": ""},
            "release": {**release, **patient},
        }
        for name in ("api", "beta", "gamma")
    }


def test_each_kind_of_bad_release(
    play: Callable[..., Any],
    troubled: dict[str, Any],
    visitors: Callable[..., Any],
    engine: Engine,
    host: Any,
) -> None:
    done = play(wsgi_apps=list(troubled.values()))
    assert done.code == 0, done.output
    before = {app: host.release(app) for app in troubled}
    try:
        for run in RUNS:
            with visitors() as seen:
                began = time.monotonic()
                done = play(playbook="deploy", wsgi_apps=[changed(troubled[app], run[app]) for app in troubled])
                seconds = time.monotonic() - began
            assert done.code != 0, f"{run}: the run reports success"
            for app, name in run.items():
                for words in (f'app "{app}"', *(text.replace("{app}", app) for text in TROUBLE[name][1])):
                    assert words in done.output, f"{name}: no {words!r} in\n{done.output[-6000:]}"
            assert seen["bad"] == [], run
            assert seconds < GRACEFUL / 2, "the run waited for a release that nobody waits for"
            assert {app: host.release(app) for app in troubled} == before, run
            names = set(engine.run("ps --format '{{.Names}}'").split())
            assert names == {f"{app}.{number}" for app, number in before.items()}, run
    finally:
        gone = [{**entry, "state": "absent", "purge": True} for app, entry in troubled.items() if app != "api"]
        done = play(wsgi_apps=[troubled["api"], *gone])
    assert done.code == 0, done.output


def changed(entry: dict[str, Any], name: str) -> dict[str, Any]:
    """An app with what is wrong with it."""
    changes = TROUBLE[name][0]
    merged = {key: {**entry[key], **value} if isinstance(value, dict) else value for key, value in changes.items()}
    return {**entry, **merged}
