# SPDX-License-Identifier: GPL-3.0-or-later
"""What the proxy was let read of an app's state is taken back, with the ACLs of a real file system."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.host.files import remove_tree
from ansible_collections.webops.wsgi.plugins.module_utils.release import layout, shares
from fake_systemd import APP, FakeSystemd, configure, desired, run

ME = os.getuid()
PROXY = 54321  # nobody's
READ, PASS = 5, 1
WHOLE = (READ, READ)


class Shares:
    """The state of an app, releases that shared it with the proxy, and what the proxy may read."""

    def __init__(self, paths: layout.Paths) -> None:
        self._paths = paths
        self.state = paths.state / APP
        self.state.mkdir(mode=0o750)

    def release(self, number: int, *folders: str) -> None:
        """A release that gives the proxy these directories when it starts."""
        folder = self._paths.release(APP, str(number))
        folder.mkdir(parents=True)
        lines = [f'A+ "/var/lib/{APP}/{name}" - - - - u:www-data:r-x,d:u:www-data:r-x\n' for name in folders]
        (folder / "prepare").write_text(f"#!/bin/sh\n{''.join(lines)}")
        for name in folders:
            self.give(name)

    def give(self, name: str, who: int = PROXY) -> None:
        """As systemd-tmpfiles does for what C(prepare) tells it."""
        place = self.state / name
        place.mkdir(mode=0o750, parents=True, exist_ok=True)
        for above in place.parents:
            if above.is_relative_to(self.state):
                self._add(above, shares.ACCESS, PASS, who)
        for found in [place, *place.rglob("*")]:
            if not found.is_symlink():
                self._add(found, shares.ACCESS, READ, who)
            if found.is_dir() and not found.is_symlink():
                self._add(found, shares.DEFAULT, READ, who)

    @staticmethod
    def _add(place: Path, name: str, may: int, who: int) -> None:
        mode = place.stat().st_mode
        had = shares._acl(str(place), name)
        had = had or [
            *((tag, mode >> shift & 7, 0xFFFFFFFF) for tag, shift in ((1, 6), (shares.OWN_GROUP, 3), (0x20, 0))),
            (shares.MASK, (mode >> 3 & 7) | may, 0xFFFFFFFF),
        ]
        others = [entry for entry in had if (entry[0], entry[2]) != (shares.USER, who)]
        shares._write(str(place), name, sorted([*others, (shares.USER, may, who)], key=shares._order))

    def serve(self, number: int) -> None:
        """The release is in service, and everything else was retired."""
        link = self._paths.current(APP)
        link.unlink(missing_ok=True)
        link.symlink_to(f"releases/{number}")
        shares.take_back(self._paths, APP)

    @property
    def all(self) -> dict[str, tuple[int, int]]:
        """What the proxy may do, and what with things that will be made there; nothing that is closed to it."""
        found = {}
        for place in [self.state, *self.state.rglob("*")]:
            may = (self._may(place, shares.ACCESS), self._may(place, shares.DEFAULT))
            if any(may):
                found[str(place.relative_to(self.state))] = may
        return found

    @staticmethod
    def _may(place: Path, name: str) -> int:
        if place.is_symlink():
            return 0
        return next((may for tag, may, who in shares._acl(str(place), name) if (tag, who) == (2, PROXY)), 0)


@pytest.fixture
def app(paths: layout.Paths, monkeypatch: pytest.MonkeyPatch) -> Shares:
    class Proxy:
        pw_uid = PROXY

    monkeypatch.setattr(shares.pwd, "getpwnam", lambda _name: Proxy)
    return Shares(paths)


def test_a_directory_that_is_no_longer_served_is_closed_to_the_proxy(app: Shares) -> None:
    app.release(1, "up", "a/b", "a/c")
    (app.state / "up/deep").mkdir()
    (app.state / "up/deep/file").write_text("uploaded")
    (app.state / "up/link").symlink_to("/etc/passwd")
    os.mkfifo(app.state / "up/pipe")
    app.give("up")
    app.serve(1)
    given = {".": (PASS, 0), "up": WHOLE, "up/deep": WHOLE, "a": (PASS, 0), "a/b": WHOLE, "a/c": WHOLE}
    assert app.all == {**given, "up/deep/file": (READ, 0), "up/pipe": (READ, 0)}
    app.release(2, "a/c")
    app.serve(2)
    assert app.all == {".": (PASS, 0), "a": (PASS, 0), "a/c": WHOLE}
    assert (app.state / "up").stat().st_mode & 0o777 == 0o750, "its owner's group may do more or less than before"
    app.release(3)
    app.serve(3)
    assert app.all == {}


@pytest.mark.parametrize(
    ("before", "now", "left"),
    [
        ("up/public", "up", {".": (PASS, 0), "up": WHOLE, "up/public": WHOLE}),
        ("up", "up/public", {".": (PASS, 0), "up": (PASS, 0), "up/public": WHOLE}),
    ],
)
def test_one_inside_another(app: Shares, before: str, now: str, left: dict[str, tuple[int, int]]) -> None:
    (app.state / "up/other").mkdir(parents=True)
    app.release(1, before)
    app.serve(1)
    app.release(2, now)
    app.serve(2)
    assert {name: may for name, may in app.all.items() if name != "up/other"} == left
    assert ("up/other" in app.all) == (now == "up")


def test_what_others_may_stays(app: Shares) -> None:
    app.release(1, "up")
    app.give("up", who=ME + 1)
    app.release(2)
    app.serve(2)
    assert app.all == {}
    assert [entry[1] for entry in shares._acl(str(app.state / "up"), shares.ACCESS) if entry[2] == ME + 1] == [READ]


def test_a_link_that_the_app_has_put_there_leads_nowhere(app: Shares, tmp_path: Path) -> None:
    app.release(1, "up/deep")
    (app.state / "up").rename(tmp_path / "elsewhere")
    (app.state / "up").symlink_to(tmp_path / "elsewhere")
    app.release(2)
    app.serve(2)
    assert app._may(tmp_path / "elsewhere/deep", shares.ACCESS) == READ, "root has followed a link of the app's"
    assert app.all == {}


def test_a_tree_without_end_is_closed_at_its_top(app: Shares) -> None:
    app.release(1, "up")
    script = "import os\nfor _ in range(1500):\n    os.mkdir('x')\n    os.chdir('x')"
    subprocess.run(["python3", "-c", script], cwd=app.state / "up", check=True)
    app.release(2)
    try:
        app.serve(2)
        assert [app._may(app.state / "up", name) for name in (shares.ACCESS, shares.DEFAULT)] == [0, 0]
    finally:
        remove_tree(app.state / "up")  # pytest could not


def test_a_release_that_failed_takes_back_what_it_gave(paths: layout.Paths, systemd: FakeSystemd, app: Shares) -> None:
    text = 'A+ "/var/lib/{}/{}" - - - - u:www-data:r-x\n'
    run(paths, systemd, desired(prepare=text.format(APP, "up")))
    app.give("up")
    app.give("new")
    configure(paths, "500")
    run(paths, systemd, desired(prepare=text.format(APP, "up") + text.format(APP, "new")))
    assert app.all == {".": (PASS, 0), "up": WHOLE}
