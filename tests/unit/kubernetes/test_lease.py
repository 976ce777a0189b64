"""One run at a time for each app."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes import lease
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.kubeconfig import ClusterError
from fake_cluster import FakeCluster

KEY = ("Lease", "webops-wsgi-api")


def held(cluster: FakeCluster) -> Any:
    return lease.alone(cluster, "api", "api", {})  # type: ignore[arg-type]


def test_a_second_run_is_told_who_is_at_it() -> None:
    cluster = FakeCluster()
    with held(cluster):
        assert KEY in cluster.store
        with pytest.raises(ClusterError, match=r"@.* is deploying it at this moment"), held(cluster):
            pass
        assert KEY in cluster.store  # it is the first one's
    assert KEY not in cluster.store


def test_one_that_was_killed_is_followed_after_a_minute() -> None:
    cluster = FakeCluster()
    with held(cluster):
        left = cluster.store[KEY]
    left["spec"]["renewTime"] = (lease._now() - timedelta(seconds=lease.SECONDS + 1)).strftime(lease._FORM)
    left["metadata"]["resourceVersion"] = "7"
    cluster.store[KEY] = left
    with held(cluster):
        assert cluster.store[KEY]["metadata"]["resourceVersion"] == "7"  # which only one of two has seen
        assert cluster.store[KEY]["spec"]["renewTime"] > left["spec"]["renewTime"]


def test_a_long_run_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster()
    with held(cluster) as renew:
        before = cluster.store[KEY]["spec"]["renewTime"]
        renew()
        assert cluster.store[KEY]["spec"]["renewTime"] == before
        monkeypatch.setattr(lease, "RENEWED", -1)
        renew()
        assert cluster.store[KEY]["spec"]["renewTime"] > before


def test_what_another_has_taken_over_is_not_given_up_for_it() -> None:
    cluster = FakeCluster()
    with held(cluster):
        cluster.store[KEY]["spec"]["holderIdentity"] = "ben@elsewhere (7)"
    assert KEY in cluster.store
