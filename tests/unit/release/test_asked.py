# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a release is, and runs, as it was last asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.release import asked, layout
from fake_systemd import APP, FakeSystemd, desired, full, run


def options(wanted: Any = None) -> dict[str, Any]:
    return {**asdict(wanted or full()), "signature": "s1", "masked": ["hunter2"]}


@pytest.fixture(autouse=True)
def _deployed(paths: layout.Paths, systemd: FakeSystemd) -> None:
    assert run(paths, systemd, full())[1] == []
    asked.note(paths, "1", options())


def test_nothing_has_changed(paths: layout.Paths, systemd: FakeSystemd) -> None:
    assert asked.in_place(paths, [APP, "other"], systemd.manager) == {APP: {"release": "1", "signature": "s1"}}


def test_what_was_asked_is_for_root_alone_and_its_secrets_are_not_listed(paths: layout.Paths) -> None:
    file = paths.release(APP, "1") / asked.FILE
    assert file.stat().st_mode & 0o777 == 0o600
    assert "hunter2" not in file.read_text()


CHANGES: dict[str, Callable[[layout.Paths, FakeSystemd], object]] = {
    "the server is down": lambda _paths, systemd: systemd.stop(*systemd.running),
    "a file of the release was changed": lambda paths, _systemd: (
        paths.release(APP, "1") / "etc/environment"
    ).write_text("A=b\n"),
    "nginx is led elsewhere": lambda paths, _systemd: paths.current_socket(APP).unlink(),
    "the record is half written": lambda paths, _systemd: (paths.release(APP, "1") / asked.FILE).write_text(
        '{"signature": "s1"'
    ),
    "the record is of another version": lambda paths, _systemd: (paths.release(APP, "1") / asked.FILE).write_text(
        '{"signature": "s1", "name": "api"}'
    ),
    "there is no record": lambda paths, _systemd: (paths.release(APP, "1") / asked.FILE).unlink(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_something_has(
    paths: layout.Paths, systemd: FakeSystemd, change: Callable[[layout.Paths, FakeSystemd], object]
) -> None:
    change(paths, systemd)
    assert asked.in_place(paths, [APP], systemd.manager) == {}


def test_the_record_is_that_of_the_release_in_service(paths: layout.Paths, systemd: FakeSystemd) -> None:
    assert run(paths, systemd, desired(build="b2"))[1] == []
    assert asked.in_place(paths, [APP], systemd.manager) == {}
