"""What the scenario's assertions share: its one host, and the project there."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from projects import Project


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
