# SPDX-License-Identifier: GPL-3.0-or-later
"""What a release's directory holds, and who reads it."""

from __future__ import annotations

import os

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils import release_assembly, release_layout
from fake_systemd import APP, FakeSystemd, desired, run


def test_environment_is_for_root_alone(paths: release_layout.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, desired(environment='SECRET="hunter2"\n'))
    for folder in (paths.root, paths.units, paths.runtime):
        for path in folder.rglob("*"):
            if path.is_file() and "hunter2" in path.read_text():
                assert path.name == "environment"
                assert path.stat().st_mode & 0o777 == 0o600
    assert "hunter2" not in repr(desired(environment='SECRET="hunter2"\n'))


def test_what_the_source_ships_is_planted_once(
    paths: release_layout.Paths, systemd: FakeSystemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Me:
        pw_uid, pw_gid = os.getuid(), os.getgid()

    monkeypatch.setattr(release_assembly.pwd, "getpwnam", lambda _name: Me)
    seed = paths.root / APP / "builds" / "b1" / "seed" / "instance"
    seed.mkdir(parents=True)
    (seed / "config.py").write_text("shipped")
    run(paths, systemd, desired())
    kept = paths.state / APP / "instance" / "config.py"
    assert kept.read_text() == "shipped"
    kept.write_text("changed by the app")
    run(paths, systemd, desired(environment="2"))
    assert kept.read_text() == "changed by the app"


def test_seed_is_planted_without_following_links_of_the_app(
    paths: release_layout.Paths, systemd: FakeSystemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = release_assembly.pwd.getpwnam(
        "nobody" if os.getuid() == 0 else release_assembly.pwd.getpwuid(os.getuid()).pw_name
    )
    monkeypatch.setattr(release_assembly.pwd, "getpwnam", lambda _name: nobody)
    for folder in (paths.root, *paths.root.parents):
        if folder.owner() == paths.root.owner() and str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    seed = paths.root / APP / "builds" / "b1" / "seed" / "instance"
    seed.mkdir(parents=True)
    (seed / "config.py").write_text("shipped")
    target = paths.state / "of-root"
    target.mkdir()
    (target / "shadow").write_text("secret")
    before = (target.stat(), (target / "shadow").stat())
    home = paths.state / APP
    home.mkdir()
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    (home / ".instance.partial").symlink_to(target)
    run(paths, systemd, desired())
    assert ((target.stat().st_uid, target.stat().st_mode), (target / "shadow").stat().st_uid) == (
        (before[0].st_uid, before[0].st_mode),
        before[1].st_uid,
    )
    assert [path.name for path in target.iterdir()] == ["shadow"]
    assert (home / "instance" / "config.py").stat().st_uid == nobody.pw_uid


def test_credentials_are_for_root_alone_and_part_of_the_release(
    paths: release_layout.Paths, systemd: FakeSystemd
) -> None:
    run(paths, systemd, desired(credentials={"key.pem": "hunter2"}))
    step, _failures = run(paths, systemd, desired(credentials={"key.pem": "hunter3"}))
    assert step.reasons == ["credentials"]
    kept = paths.release(APP, "2") / "credentials" / "key.pem"
    assert kept.read_text() == "hunter3"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    assert "hunter3" not in (paths.release(APP, "2") / "release.json").read_text()
    assert "hunter3" not in repr(desired(credentials={"key.pem": "hunter3"}))
