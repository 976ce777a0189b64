# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses that an app holds, wants, or lets go of."""

from __future__ import annotations

import socket

from ansible_collections.webops.wsgi.plugins.module_utils.release import layout
from fake_systemd import APP, FakeSystemd, desired, full, listening, run, serving


def test_an_address_is_let_go_of_when_it_is_no_longer_wanted(paths: layout.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, full())
    step, failures = run(paths, systemd, full(files=desired().files))
    assert (step.kind, failures) == ("heal", [])
    assert f"{APP}.listen.socket" not in systemd.up
    assert not list(paths.units.rglob("*.listen.*"))
    assert run(paths, systemd, full(files=desired().files))[0].kind == "none"


def test_a_changed_address_is_taken_anew(paths: layout.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, full())
    systemd.calls.clear()
    run(paths, systemd, full(files={**full().files, f"{APP}.listen.socket": "elsewhere"}))
    socket = f"{APP}.listen.socket"
    told = [call for call in systemd.calls if socket in call]
    assert [call[0] for call in told[:2]] == ["stop", "start"]


def test_an_address_that_is_taken_is_refused_while_the_old_one_is_held(
    paths: layout.Paths, systemd: FakeSystemd
) -> None:
    run(paths, systemd, full())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        _step, failures = run(paths, systemd, listening(address, environment="2"))
    assert f"listen is {address}, which cannot be bound: Address already in use" in failures[0]
    assert f"{APP}.listen.socket" in systemd.up
    assert serving(paths) == "1"


def test_an_address_that_the_app_holds_itself_is_not_asked_for(paths: layout.Paths, systemd: FakeSystemd) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
    run(paths, systemd, listening(address))
    with socket.create_server(("127.0.0.1", int(address.rpartition(":")[2]))):
        _step, failures = run(paths, systemd, listening(address, "Backlog=9\n", environment="2"))
    assert (failures, serving(paths)) == ([], "2")
