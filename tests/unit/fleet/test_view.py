"""What is shown of a fleet: rotation as balancers see it, and versions that differ."""

from __future__ import annotations

from ansible_collections.webops.wsgi.plugins.module_utils.release import status
from ansible_collections.webops.wsgi.plugins.plugin_utils.fleet import view

ROW = {"host": "web2", "app": "api", "source": "v1"}
WELL = {"drained": {}, "faults": {"api": {"web2": ""}}}


def test_balancers_that_agree_are_not_named():
    assert view.rotation(ROW, {"lb1": WELL, "lb2": WELL}) == "in service"


def test_balancers_that_do_not_agree_are_named():
    out = {"drained": {"web2": "person"}, "faults": {}}
    failing = {"drained": {}, "faults": {"api": {"web2": "GET / answered 502"}}}
    found = view.rotation(ROW, {"lb1": WELL, "lb2": out, "lb3": failing})
    assert found == "lb1: in service, lb2: drained, lb3: failing"


def test_versions_that_differ_are_named():
    rows = [ROW, {**ROW, "host": "web1"}, {**ROW, "host": "web3", "source": "v2"}, {**ROW, "app": "other"}]
    assert view.skew(rows) == ["api: 2 versions: v1 on web2 web1; v2 on web3"]


def test_the_table_says_what_balancers_think():
    row = {
        **{"host": "web2", "app": "api", "release": "3", "source": "v1", "since": "", "state": "active", "health": ""},
        **{"maintenance": False, "workers": 1, "beside": {}, "memory_bytes": None, "restarts": 0, "previous": []},
        **{"faults": [], "disk_bytes": 0, "certificate_days": None},
    }
    assert "BALANCERS" not in status.overview([row])
    assert status.overview([{**row, "rotation": "drained"}]).split()[-1] == "drained"
