# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a release is, and runs, as it was last asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.release import asked, health, layout
from fake_systemd import APP, FakeSystemd, desired, full, run

SECRETS = {
    "environment": 'TOKEN="hunter2-of-the-environment"\n',
    "credentials": {"key.pem": "hunter2-of-a-credential"},
    "config_files": {"app.ini": "hunter2-of-a-file"},
}


def wanted(**changes: Any) -> Any:
    return full(**SECRETS, **changes)


def options(**changes: Any) -> dict[str, Any]:
    return {**asdict(wanted(**changes)), "signature": "s1", "masked": ["hunter2"]}


@pytest.fixture(autouse=True)
def _deployed(paths: layout.Paths, systemd: FakeSystemd) -> None:
    assert run(paths, systemd, wanted())[1] == []
    asked.note(paths, "1", options())


def test_nothing_has_changed(paths: layout.Paths, systemd: FakeSystemd) -> None:
    assert asked.in_place(paths, [APP, "other"], systemd.manager) == {APP: {"release": "1", "signature": "s1"}}


def test_what_is_kept_is_for_root_alone_and_has_no_secret(paths: layout.Paths) -> None:
    file = paths.release(APP, "1") / asked.FILE
    assert file.stat().st_mode & 0o777 == 0o600
    assert "hunter2" not in file.read_text()


def test_nothing_is_kept_of_a_health_check_that_may_have_a_secret(paths: layout.Paths, systemd: FakeSystemd) -> None:
    asked.note(paths, "1", options(health=health.Health(headers={"Authorization": "hunter2"})))
    assert "hunter2" not in (paths.release(APP, "1") / asked.FILE).read_text()
    assert asked.in_place(paths, [APP], systemd.manager) == {}


def test_how_a_run_activates_is_not_what_is_asked_of_a_release(paths: layout.Paths) -> None:
    of_site, of_deploy = options(), options(run_hooks=False)
    of_deploy["proxy"] = {**of_deploy["proxy"], "required": True}
    assert asked.lasting(of_site) == asked.lasting(of_deploy)
    file = paths.release(APP, "1") / asked.FILE
    before = file.read_text()
    asked.note(paths, "1", of_deploy)
    assert file.read_text() == before


CHANGES: dict[str, Callable[[layout.Paths, FakeSystemd], object]] = {
    "the server is down": lambda _paths, systemd: systemd.stop(*systemd.running),
    "a file of the release was changed": lambda paths, _systemd: (
        paths.release(APP, "1") / "etc/environment"
    ).write_text("A=b\n"),
    "a credential was changed": lambda paths, _systemd: (paths.release(APP, "1") / "credentials/key.pem").write_text(
        "another"
    ),
    "a configuration file is gone": lambda paths, _systemd: (paths.release(APP, "1") / "files/app.ini").unlink(),
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
