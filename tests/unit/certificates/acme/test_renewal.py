# SPDX-License-Identifier: GPL-3.0-or-later
"""When certbot renews, and where it puts the answer to the challenge then."""

from __future__ import annotations

import pathlib
from dataclasses import replace

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.certificates import model
from ansible_collections.webops.wsgi.plugins.module_utils.certificates import store as store
from certificate_stand_ins import DIRECTORY, Authority, Programs, app, issued, renewal, start


class TestRenewal:
    @pytest.mark.parametrize(
        ("life", "percent", "days_left"), [(90, 33, 29.7), (45, 33, 14.85), (6, 33, 1.98), (64, 20, 12.8)]
    )
    def test_when_it_is_renewed(self, authority: Authority, life: float, percent: int, days_left: float) -> None:
        facts = model.parse(authority.pair("api.example.test", left=life - 1, age=1).chain)
        assert facts.renewal_seconds(percent) == int(days_left * 86400)

    def test_moved_webroot_asks_nobody(self, host: store.Host, programs: Programs, tmp_path: pathlib.Path) -> None:
        start(host, programs, app())
        issued(host, app())
        moved = replace(host, webroot=str(tmp_path / "elsewhere"))
        predicted = issued(moved, app(), check=True)
        assert predicted.actions == [f"api: webroot_path {host.webroot} -> {moved.webroot}"]
        assert issued(moved, app()) == predicted
        text = pathlib.Path(host.renewal("api")).read_text()
        before = f"renew_before_expiry = {90 * 86400 * 33 // 100} seconds"
        wanted = renewal(DIRECTORY, moved.webroot, live=host.live("api"))
        assert text == wanted.replace("# renew_before_expiry = 30 days", before)
        assert not issued(moved, app()).changed
        assert len(programs.asked("certonly")) == 1

    def test_renewal_follows_the_life_of_the_certificate(
        self, host: store.Host, programs: Programs, authority: Authority
    ) -> None:
        start(host, programs, app())
        issued(host, app())
        programs.put("api", authority.pair("api.example.test", left=44))
        programs.nginx.reload()
        outcome = issued(host, app())
        assert outcome.actions == [
            f"api: renew_before_expiry {90 * 86400 * 33 // 100} seconds -> {45 * 86400 * 33 // 100} seconds"
        ]
        assert not issued(host, app()).changed
        assert issued(replace(host, renew_left=50), app()).changed
