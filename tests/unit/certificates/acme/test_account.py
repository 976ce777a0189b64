# SPDX-License-Identifier: GPL-3.0-or-later
"""Accounts that an authority does not know any more."""

from __future__ import annotations

import os
import pathlib

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.certificates import store as store
from certificate_stand_ins import ACCOUNT, Programs, app, issued, start


class TestForgottenAccount:
    def forget(self, host: store.Host, programs: Programs, url: str = ACCOUNT) -> pathlib.Path:
        """Have an account that the authority does not know, for two certificates."""
        account = pathlib.Path(host.letsencrypt) / "accounts/ca.example.test:14000/dir/0123"
        account.mkdir(parents=True)
        (account / "regr.json").write_text(f'{{"body": {{}}, "uri": "{url}"}}')
        programs.account = account
        return account

    @pytest.mark.parametrize("names", [["api"], ["api", "web", "one"]])
    def test_a_new_one_is_made(self, host: store.Host, programs: Programs, names: list[str]) -> None:
        apps = [app(name) for name in names]
        start(host, programs, *apps)
        account = self.forget(host, programs)
        programs.put("old", programs.authority.pair("old.example.test"), options="account = 0123\n")
        outcome = issued(host, *apps)
        assert (sorted(outcome.issued), outcome.errors) == (sorted(names), [])
        assert not account.exists()
        (aside,) = pathlib.Path(host.letsencrypt, "damaged").glob("account-*/0123/regr.json")
        assert ACCOUNT in aside.read_text()
        assert "account =" not in store.read_text(host.renewal("old"))
        assert not issued(host, *apps).changed

    def test_another_one_stays(self, host: store.Host, programs: Programs) -> None:
        start(host, programs, app())
        account = self.forget(host, programs, ACCOUNT[:-1])
        (error,) = issued(host, app()).errors
        assert f"Account {ACCOUNT} not found" in error
        assert account.exists()


def test_of_several_the_one_that_was_registered_last_is_used(host: store.Host, programs: Programs) -> None:
    start(host, programs, app())
    accounts = pathlib.Path(host.letsencrypt) / "accounts/ca.example.test:14000/dir"
    for name, registered in (("b550", 2), ("7d18", 1)):
        (accounts / name).mkdir(parents=True)
        (accounts / name / "regr.json").write_text("{}")
        os.utime(accounts / name / "regr.json", (registered, registered))
    outcome = issued(host, app())
    assert (outcome.issued, outcome.errors) == (["api"], [])
    assert programs.asked("certonly")[-1][-2:] == ["--account", "b550"]
