"""The hook after a rollout: once for each release, and again when it has failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.managers.model import ManagerError
from ansible_collections.webops.wsgi.plugins.module_utils.release import finish
from ansible_collections.webops.wsgi.plugins.module_utils.release.layout import Paths


class Manager:
    """Starts nothing; refuses where it is told to."""

    def __init__(self, wrong: str = "") -> None:
        self.wrong = wrong
        self.started: list[str] = []

    def stop(self, _process: Any) -> None:
        """Nothing runs."""

    def start(self, process: Any) -> None:
        self.started.append(process.name)
        if self.wrong:
            raise ManagerError(self.wrong)


@pytest.fixture(name="paths")
def fixture_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """A host on which release 3 of an app is in service."""
    paths = Paths(root=tmp_path)
    paths.release("api", "3").mkdir(parents=True)
    paths.current("api").symlink_to("releases/3")
    hook = finish.Process("api", "3", finish.HOOK_NAME, finish.HOOK)
    monkeypatch.setattr(finish, "processes", lambda *_arguments: [hook])
    return paths


def test_it_runs_once_for_a_release(paths):
    manager = Manager()
    due = finish.due(paths, ["api", "gone"])
    assert due == {"api": "3"}
    assert finish.finish(paths, due, manager) == []
    assert manager.started == ["after-rollout"]
    assert finish.due(paths, ["api"]) == {}


def test_one_that_failed_is_tried_again(paths):
    (failure,) = finish.finish(paths, finish.due(paths, ["api"]), Manager("exit status 1"))
    assert failure.startswith('app "api": after_rollout failed: exit status 1')
    assert finish.due(paths, ["api"]) == {"api": "3"}
