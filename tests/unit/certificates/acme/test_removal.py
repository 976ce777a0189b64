# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes with an app."""

from __future__ import annotations

import pathlib

from ansible_collections.webops.wsgi.plugins.module_utils.certificates import store as store
from certificate_stand_ins import Programs, app, issued, snapshot, start


class TestRemoval:
    def test_absent_app(self, host: store.Host, programs: Programs, tmp_path: pathlib.Path) -> None:
        start(host, programs, app("api"), app("web", tls="selfsigned"))
        issued(host, app("api"), app("web", tls="selfsigned"))
        gone = [app("api", present=False), app("web", tls="selfsigned", present=False)]
        kept = issued(host, *gone)
        assert len(kept.errors) == 2
        assert 'app "api": its certificate is not removed: the configuration of nginx still names' in kept.errors[0]
        programs.nginx.sites.clear()
        predicted = issued(host, *gone, check=True)
        assert predicted == issued(host, *gone)
        assert [
            path for path in snapshot(tmp_path) if not path.endswith(("ca.pem", "attempts.jsonl")) and "_ca" not in path
        ] == []
        assert not issued(host, *gone).changed

    def test_app_without_tls_keeps_its_lineage(self, host: store.Host, programs: Programs) -> None:
        start(host, programs, app())
        issued(host, app())
        programs.nginx.sites.clear()
        assert issued(host, app(tls="off")).actions == ["api: certificate removed"]
        assert store.usable(host.live("api"))
