# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of certificates in the report."""

from __future__ import annotations

from ansible_collections.webops.wsgi.plugins.module_utils.certificates import issue as issue
from ansible_collections.webops.wsgi.plugins.module_utils.certificates import status
from ansible_collections.webops.wsgi.plugins.module_utils.certificates import store as store
from certificate_stand_ins import NOW, Authority, Programs, app, days, start


class TestStatus:
    def problem(self, host: store.Host, *domains: str, later: float = 0) -> str:
        return status.problems(host, {"api": domains or ("api.example.test",)}, NOW + days(later))["api"]

    def test_what_is_said(self, host: store.Host, programs: Programs, authority: Authority) -> None:
        assert self.problem(host) == "none that can be used"
        start(host, programs, app())
        issue.ensure_issued(host, [app()], NOW)
        assert self.problem(host) == ""
        assert self.problem(host, later=60) == ""
        assert self.problem(host, later=70) == "21 % of its life left"
        assert self.problem(host, later=100).startswith("expired on")
        programs.nginx.sites["other.example.test"] = "api"
        programs.nginx.reload()
        assert self.problem(host, "other.example.test") == "not for other.example.test"
        programs.put("api", authority.pair("api.example.test"))
        assert self.problem(host) == "api.example.test shows another one than the one on disk"
        del programs.nginx.contexts["api.example.test"]
        assert self.problem(host).startswith("no TLS answer for api.example.test: ")
