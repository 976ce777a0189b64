# SPDX-License-Identifier: GPL-3.0-or-later
"""What stays of releases, and what goes."""

from __future__ import annotations

import socket
import threading
import time

from ansible_collections.webops.wsgi.plugins.module_utils.release import layout
from fake_systemd import APP, FakeSystemd, configure, desired, full, roll_back, run, serving


def test_prune_keeps_the_last_good_ones_and_the_last_failed_one(paths: layout.Paths, systemd: FakeSystemd) -> None:
    for number in range(4):
        run(paths, systemd, desired(environment=str(number)))
        configure(paths, "500")
        run(paths, systemd, desired(environment=f"bad {number}"))
        configure(paths, "200")
    # Good are 1, 3, 5, 7 and failed 2, 4, 6, 8.
    assert layout.release_numbers(paths, APP) == ["5", "7", "8"]
    assert sorted(path.name for path in (paths.root / APP / "builds").iterdir()) == ["b1"]


def test_going_back_again_and_again_never_uses_up_what_there_is_to_go_back_to(
    paths: layout.Paths, systemd: FakeSystemd
) -> None:
    run(paths, systemd, desired(environment="before", keep=3))
    run(paths, systemd, desired(environment="good", keep=3))
    for turn in range(4):
        run(paths, systemd, desired(environment=f"turn {turn}", keep=3))
        assert roll_back(paths, systemd) == []
        assert serving(paths) == "2"
    assert roll_back(paths, systemd) == []
    assert serving(paths) == "1", "releases that somebody went back from have pushed the good ones out"


def test_an_old_release_without_its_link_is_in_nobody_s_way(paths: layout.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, desired())
    run(paths, systemd, desired(environment="2"))
    (paths.release(APP, "1") / "app").unlink()
    _step, failures = run(paths, systemd, desired(environment="3"))
    assert (failures, serving(paths)) == ([], "3")


def test_a_release_whose_job_runs_is_kept(paths: layout.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, full())
    systemd.up.add(f"{APP}.tidy@1.service")
    for number in range(3):
        run(paths, systemd, full(environment=str(number)))
    assert layout.release_numbers(paths, APP) == ["1", "3", "4"]
    assert f"{APP}.tidy@1.service" in systemd.up, "a job was ended by a deployment"


def test_an_old_release_is_stopped_once_nobody_is_connected_to_it(paths: layout.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, desired())
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(paths.socket(APP, "1")))
        deployment = threading.Thread(target=run, args=(paths, systemd, desired(environment="2", drain=60)))
        deployment.start()
        deadline = time.monotonic() + 60
        while serving(paths) != "2" and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.5)
        assert f"{APP}@1.service" in systemd.running, "a request in progress was not waited for"
    deployment.join(60)
    assert list(systemd.running) == [f"{APP}@2.service"]
