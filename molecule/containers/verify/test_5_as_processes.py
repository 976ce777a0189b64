"""What the scenario `default` sees of apps that are processes, seen of one that is a container, by each engine."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from engines import ENGINES, Engine, reference

HERE = Path(__file__).parents[1]
sys.path.insert(0, str(HERE.parent / "default" / "verify"))

LEFT_OUT = {
    # of systemd's sandbox
    "test_no_process_of_an_app_runs_as_root",
    "test_sandbox_is_tight",
    # of hosts without engines and a registry, or with further apps
    "test_only_nginx_and_ssh_listen_on_tcp",
    "test_apps_cannot_read_each_other",
    "test_everything_serves_again_after_a_reboot",
}
for module in ("test_1_serves", "test_2_isolation", "test_3_survives"):
    found = vars(importlib.import_module(module)).items()
    globals().update({name: one for name, one in found if name.startswith("test_") and name not in LEFT_OUT})


@pytest.fixture(scope="module", params=ENGINES, autouse=True)
def engine(request: pytest.FixtureRequest, hosts: list[Any], play_once: Callable[..., Any]) -> Engine:
    """Each engine in turn, which then runs the app."""
    [host] = [host for host in hosts if host.name == "d13"]
    run, made = partial(play_once, "--limit", "d13"), Engine(host, request.param)
    [entry] = yaml.safe_load((HERE / "group_vars" / "wsgi" / "apps.yml").read_text(encoding="utf-8"))["wsgi_apps"]
    own = {"runtime": "container", "image": {"engine": made.name}, "release": {"limit_nofile": 16384}}
    done = run(wsgi_apps=[{**entry, **own, "source": {"image": reference(run, made)}}])
    assert done.code == 0, done.output
    return made


@pytest.fixture
def app() -> str:
    """The app."""
    return "api"
