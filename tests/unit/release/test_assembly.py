# SPDX-License-Identifier: GPL-3.0-or-later
"""What a release's directory holds, and who reads it."""

from __future__ import annotations

import shutil

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.files import TreeFile, digests_by_top
from ansible_collections.webops.wsgi.plugins.module_utils.host.files import write_file
from ansible_collections.webops.wsgi.plugins.module_utils.release import assembly, layout
from ansible_collections.webops.wsgi.plugins.module_utils.release import plan as release
from fake_systemd import APP, FakeSystemd, desired, run

CHECK_SETTINGS = assembly.check_settings


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


def test_server_settings_that_another_run_has_written_meanwhile_are_in_no_release(paths: layout.Paths) -> None:
    files = [TreeFile(f"{APP}/start", "#!/bin/sh\n", 0o755), TreeFile(f"{APP}/settings.py", "workers = 2\n")]
    wanted = desired(config=digests_by_top({item.dest: item for item in files})[APP])
    folder = paths.config / APP
    shutil.rmtree(folder)
    for item in files:
        write_file(paths.config / item.dest, item.content, item.mode)
    CHECK_SETTINGS(paths, wanted)
    (folder / "settings.py").write_text("workers = 4\n")
    with pytest.raises(release.ReleaseError, match="another run has written them meanwhile; run again"):
        CHECK_SETTINGS(paths, wanted)


def test_a_release_that_is_refused_half_way_leaves_nothing(
    paths: layout.Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assembly, "check_settings", CHECK_SETTINGS)
    (paths.root / APP / "builds" / "b1").mkdir(exist_ok=True)
    with pytest.raises(release.ReleaseError, match="another run"):
        assembly.assemble(paths, desired(), "1")
    assert list((paths.root / APP / "releases").iterdir()) == []
