# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes with an app, and what stays of it."""

from __future__ import annotations

from ansible_collections.webops.wsgi.plugins.module_utils.release import layout, removal
from fake_systemd import APP, FakeSystemd, desired, run


def test_data_of_a_removed_app_is_closed_and_marked(paths: layout.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, desired())
    (paths.state / APP).mkdir(mode=0o755)
    removal.remove(paths, APP, False, systemd.manager)
    assert (paths.state / APP).stat().st_mode & 0o777 == 0o700
    assert (paths.state / APP / removal.KEPT).exists()


def test_removal_keeps_the_data_unless_purged(paths: layout.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, desired())
    (paths.state / APP).mkdir()
    removal.remove(paths, APP, False, systemd.manager)
    assert systemd.running == {}
    assert not removal.leftovers(paths, APP, False, systemd.manager)
    assert (paths.state / APP).exists()
    assert removal.leftovers(paths, APP, True, systemd.manager) == [str(paths.state / APP)]
    removal.remove(paths, APP, True, systemd.manager)
    assert not removal.leftovers(paths, APP, True, systemd.manager)
    assert not [path for folder in (paths.units, paths.runtime, paths.run) for path in folder.rglob(f"*{APP}*")]


def test_what_was_logged_of_an_app_s_clients_goes_with_its_data(paths: layout.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, desired())
    paths.logs.mkdir()
    for name in (f"{APP}.access.log", f"{APP}.access.log.2.gz", f"{APP}2.access.log", "access.log"):
        (paths.logs / name).touch()
    removal.remove(paths, APP, False, systemd.manager)
    assert len(list(paths.logs.iterdir())) == 4
    assert removal.leftovers(paths, APP, True, systemd.manager)
    removal.remove(paths, APP, True, systemd.manager)
    assert sorted(path.name for path in paths.logs.iterdir()) == sorted([f"{APP}2.access.log", "access.log"])


def test_what_the_proxy_and_builds_keep_of_an_app_goes_with_it(paths: layout.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, desired())
    for folder in (paths.cache(APP), paths.maintenance, paths.workshops(APP)[0], paths.workshops(APP)[1].parent):
        folder.mkdir(parents=True)
    (paths.maintenance / APP).touch()
    paths.workshops(APP)[1].symlink_to(paths.workshops(APP)[0])
    (paths.maintenance / "other").touch()
    assert removal.leftovers(paths, APP, False, systemd.manager)
    removal.remove(paths, APP, False, systemd.manager)
    assert not removal.leftovers(paths, APP, False, systemd.manager)
    assert not paths.cache(APP).exists()
    assert not [path for path in paths.workshops(APP) if path.is_symlink() or path.exists()]
    assert [path.name for path in paths.maintenance.iterdir()] == ["other"]
