# SPDX-License-Identifier: GPL-3.0-or-later
"""Users of apps, as systemd-sysusers makes them below a directory."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.host import marks, users


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    return tmp_path


def passwd(root: Path) -> dict[str, list[str]]:
    lines = (root / "etc/passwd").read_text().splitlines()
    return {line.split(":")[0]: line.split(":") for line in lines}


def test_each_app_gets_a_locked_system_user_with_a_group(root: Path) -> None:
    users.create(["api", "shop-2"], str(root))
    found = passwd(root)
    assert {"api", "shop-2"} <= found.keys()
    _name, _password, uid, gid, comment, home, shell = found["api"]
    assert 0 < int(uid) < 1000
    assert f"api:x:{gid}:" in (root / "etc/group").read_text()
    assert (comment, home, shell) == (marks.USER_MARK, "/var/lib/api", "/usr/sbin/nologin")
    assert "\napi:!" in "\n" + (root / "etc/shadow").read_text()


def test_a_user_that_exists_stays_as_it_is(root: Path) -> None:
    users.create(["api"], str(root))
    before = passwd(root)
    users.create(["api", "other"], str(root))
    assert passwd(root)["api"] == before["api"]


def test_what_sysusers_refuses_names_the_apps(root: Path) -> None:
    (root / "etc/passwd").mkdir()
    with pytest.raises(users.UsersError, match="the users of api, other cannot be created: "):
        users.create(["api", "other"], str(root))
