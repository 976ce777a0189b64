"""The controller's part of a build: of which time files are, whichever controller sends them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.webops.wsgi.plugins.action import app_build


@pytest.fixture(autouse=True)
def fixture_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A controller that has seen nothing yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_a_source_keeps_the_time_at_which_it_was_first_seen(tmp_path: Path) -> None:
    first = app_build.time_of("one", [])
    (marker,) = (tmp_path / "webops.wsgi" / "seen").iterdir()
    os.utime(marker, (first - 500, first - 500))
    assert app_build.time_of("one", [{}, {"other": 5}]) == first - 500


def test_another_controller_gives_files_the_time_that_hosts_know() -> None:
    """Or a host that is added from there would give a file another ETag than the others do."""
    app_build.first_seen("one")
    assert app_build.time_of("one", [{}, {"one": 1_600_000_000}, {"one": 1_600_000_900}]) == 1_600_000_000


def test_the_hosts_of_the_play_are_asked() -> None:
    known = {"web1": {"__wsgi_host": {"times": {"one": 5}}}, "web2": {}, "away": {"__wsgi_host": {"times": {"one": 4}}}}
    variables = {"ansible_play_hosts": ["web1", "web2"], "hostvars": known}
    assert list(app_build.times_of_all(variables)) == [{"one": 5}, {}]
