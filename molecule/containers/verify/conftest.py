"""What the scenario's assertions share: the host that has both engines, and the images that these make."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from engines import ENGINES, Engine


@pytest.fixture
def host(hosts: list[Any]) -> Any:
    """The host that has both engines."""
    return next(host for host in hosts if host.name == "d13")


@pytest.fixture
def play(play: Callable[..., Any]) -> Callable[..., Any]:
    """Run a playbook for that host, unless another is named."""
    return partial(play, "--limit", "d13")


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, host: Any) -> Engine:
    """Each engine in turn."""
    return Engine(host, request.param)


@pytest.fixture
def build(play: Callable[..., Any], engine: Engine) -> Callable[..., str]:
    """Build the app's image; return its tag. Keyword arguments are variables."""

    def made(**variables: Any) -> str:
        before = set(engine.images())
        done = play(playbook="image", app="api", image_engine=engine.name, **variables)
        assert done.code == 0, done.output
        new = {tag for tag in set(engine.images()) - before if len(tag) == 16}
        return new.pop() if new else ""

    return made
