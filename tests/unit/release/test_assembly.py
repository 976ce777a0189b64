# SPDX-License-Identifier: GPL-3.0-or-later
"""What a release's directory holds, and who reads it."""

from __future__ import annotations

from ansible_collections.webops.wsgi.plugins.module_utils.release import layout
from fake_systemd import APP, FakeSystemd, desired, run


def test_environment_is_for_root_alone(paths: layout.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, desired(environment='SECRET="hunter2"\n'))
    for folder in (paths.root, paths.units, paths.runtime):
        for path in folder.rglob("*"):
            if path.is_file() and "hunter2" in path.read_text():
                assert path.name == "environment"
                assert path.stat().st_mode & 0o777 == 0o600
    assert "hunter2" not in repr(desired(environment='SECRET="hunter2"\n'))


def test_credentials_are_for_root_alone_and_part_of_the_release(paths: layout.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, desired(credentials={"key.pem": "hunter2"}))
    step, _failures = run(paths, systemd, desired(credentials={"key.pem": "hunter3"}))
    assert step.reasons == ["credentials"]
    kept = paths.release(APP, "2") / "credentials" / "key.pem"
    assert kept.read_text() == "hunter3"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    assert "hunter3" not in (paths.release(APP, "2") / "release.json").read_text()
    assert "hunter3" not in repr(desired(credentials={"key.pem": "hunter3"}))


def test_configuration_files_are_for_the_app_alone_and_part_of_the_release(
    paths: layout.Paths, systemd: FakeSystemd
) -> None:
    run(paths, systemd, desired(config_files={"settings.cfg": "hunter2"}))
    step, _failures = run(paths, systemd, desired(config_files={"settings.cfg": "hunter3"}))
    assert step.reasons == ["files"]
    kept = paths.release(APP, "2") / "files" / "settings.cfg"
    assert kept.read_text() == "hunter3"
    assert kept.stat().st_mode & 0o777 == 0o640
    assert kept.parent.stat().st_mode & 0o777 == 0o750
    assert "hunter3" not in (paths.release(APP, "2") / "release.json").read_text()
    assert "hunter3" not in repr(desired(config_files={"settings.cfg": "hunter3"}))
    step, _failures = run(paths, systemd, desired())
    assert step.reasons == ["files"]


def test_a_release_without_configuration_files_keeps_the_digest_it_had_before_there_were_any() -> None:
    assert "files" not in desired().parts()
