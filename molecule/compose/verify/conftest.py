"""What the scenario's assertions share: its one host, and clients of the project there."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from projects import Project

VISITORS = Path(__file__).parents[2] / "shared" / "visitors.py"


@pytest.fixture
def host(hosts: list[Any]) -> Any:
    """The scenario's host."""
    return hosts[0]


@pytest.fixture
def project(host: Any) -> Project:
    """The project there."""
    return Project(host)


@pytest.fixture
def deploy(play: Callable[..., Any], apps: dict[str, dict[str, Any]]) -> Callable[..., Any]:
    """Deploy the app with another value of a variable; keys of its entry are replaced where they are given."""

    def run(motto: str = "", *options: str, **entry: Any) -> Any:
        app = {**apps["api"], **entry}
        app["env"] = {**app["env"], **({"MOTTO": motto} if motto else {})}
        return play(*options, playbook="compose", wsgi_apps=[app])

    return run


@pytest.fixture
def visitors(host: Any) -> Callable[..., AbstractContextManager[dict[str, Any]]]:
    """Clients while something happens, and until they have asked often enough; what they have seen."""

    @contextmanager
    def come(port: int = 443, least: int = 0) -> Iterator[dict[str, Any]]:
        seen: dict[str, Any] = {}
        host.run("rm -f /srv/visited /srv/end")
        host.run(f"cat >/srv/visitors.py <<'V'\n{VISITORS.read_text()}\nV")
        host.run(f"nohup python3 /srv/visitors.py {host.domain('api')} /srv/end {port} {least} >/srv/visited 2>&1 &")
        try:
            yield seen
        finally:
            host.run("touch /srv/end; timeout 300 sh -c 'until grep -q good /srv/visited; do sleep 0.2; done'")
            seen.update(json.loads(host.run("cat /srv/visited")))

    return come
