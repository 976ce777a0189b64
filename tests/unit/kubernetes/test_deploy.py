"""The order in which a cluster is brought to another release, and what is left of one that fails."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes import watch
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.deploy import Deploy, DeployError, Outcome
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.names import RELEASE
from ansible_collections.webops.wsgi.plugins.plugin_utils.kubernetes.objects import Rendered
from fake_cluster import FakeCluster
from kube import made

TIMER = {"name": "tidy", "command": "flask tidy", "on_calendar": "daily", "random_delay": 0, "timeout": 60}


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "INTERVAL", 0)


def asked(rendered: Rendered | None, **changes: Any) -> dict[str, Any]:
    told = {
        "name": "api",
        "namespace": "api",
        "strategy": "switch",
        "route": "ingress",
        "start_timeout": 1,
        "schedule_timeout": 1,
        "hook_timeout": 1,
        "bake": 0,
        "keep": 5,
        "objects": json.loads(json.dumps(asdict(rendered))) if rendered else {},
    }
    return {**told, **changes}


def deploy(cluster: FakeCluster, rendered: Rendered, check: bool = False, **changes: Any) -> Outcome:
    return Deploy(cluster, asked(rendered, **changes), check).present()  # type: ignore[arg-type]


def rollback(cluster: FakeCluster, target: str = "previous", **changes: Any) -> Outcome:
    return Deploy(cluster, asked(None, **changes), check=False).rollback(target)  # type: ignore[arg-type]


def release(number: int, **more: Any) -> Rendered:
    return made(env={"NUMBER": number}, **more)


def serves(cluster: FakeCluster) -> str:
    service = cluster.store["Service", "api"]
    assert service["spec"]["selector"][RELEASE] == service["metadata"]["annotations"][RELEASE]
    return str(service["spec"]["selector"][RELEASE])


def pods(cluster: FakeCluster) -> dict[str, int]:
    return {
        name: item["spec"].get("replicas", 1) for (kind, name), item in cluster.store.items() if kind == "Deployment"
    }


def test_a_second_run_changes_nothing() -> None:
    cluster = FakeCluster()
    assert deploy(cluster, release(1)).changed
    cluster.did.clear()
    outcome = deploy(cluster, release(1))
    assert (outcome.changed, outcome.number, cluster.did) == (False, 1, [])


def test_clients_are_led_to_a_release_after_its_pods_are_ready_and_before_the_old_ones_go() -> None:
    cluster = FakeCluster()
    old, new = release(1), release(2)
    deploy(cluster, old)
    cluster.did.clear()
    outcome = deploy(cluster, new)
    order = [
        f"apply Deployment api-{new.release}",
        f"patch Deployment api-{new.release} {{'replicas': 2}}",
        "apply Service api-candidate",
        "apply Service api",
        f"patch Deployment api-{old.release} {{'replicas': 0}}",
        "delete Service api-candidate",
    ]
    assert [step for step in cluster.did if step in order] == order
    assert (serves(cluster), outcome.number) == (new.release, 2)
    assert pods(cluster) == {f"api-{old.release}": 0, f"api-{new.release}": 2}


def test_a_release_that_crashes_is_removed_and_nobody_was_led_to_it() -> None:
    cluster = FakeCluster()
    old, new = release(1), release(2)
    deploy(cluster, old)
    before = dict(cluster.store)
    cluster.broken = new.release
    with pytest.raises(DeployError) as caught:
        deploy(cluster, new)
    first, *rest = str(caught.value).splitlines()
    assert first == 'app "api": app ended with exit code 3: RuntimeError: no such table'
    assert rest[-1] == f"The new release, {new.release}, was removed; release 1 ({old.release}) serves as before."
    assert cluster.store == before
    assert "apply Service api" not in cluster.did[cluster.did.index(f"apply Deployment api-{new.release}") :]


def test_a_container_that_wrote_nothing_is_told_by_the_cluster_s_words() -> None:
    cluster = FakeCluster()
    cluster.broken, cluster.logged = "api-", ""
    with pytest.raises(DeployError) as caught:
        deploy(cluster, release(1))
    assert str(caught.value).splitlines()[0] == 'app "api": app ended with exit code 3'
    assert "Fix:" not in str(caught.value)


def test_the_first_release_that_fails_leaves_none() -> None:
    cluster = FakeCluster()
    cluster.broken = "api-"
    with pytest.raises(DeployError, match="no release serves"):
        deploy(cluster, release(1))
    assert {kind for kind, _name in cluster.store} == {"Namespace", "ServiceAccount"}


def test_a_migration_that_fails_starts_nothing() -> None:
    cluster = FakeCluster()
    deploy(cluster, release(1))
    cluster.jobs_fail = True
    with pytest.raises(DeployError, match="before-activate failed"):
        deploy(cluster, release(2, release={"before_activate": "flask db upgrade"}))
    assert len(pods(cluster)) == 1


def test_one_that_ends_while_it_is_watched_is_gone_back_from() -> None:
    cluster = FakeCluster()
    old, new = release(1), release(2)
    deploy(cluster, old)
    before = dict(cluster.store)
    cluster.restarts = 1
    with pytest.raises(DeployError, match="has ended while it was watched"):
        deploy(cluster, new, bake=5)
    assert serves(cluster) == old.release
    assert cluster.store == before


SHARED = {"kubernetes": {"route": "gateway", "gateway": "edge/public", "canary_percent": 10}}


def weights(cluster: FakeCluster) -> dict[str, int]:
    (rule,) = cluster.store["HTTPRoute", "api"]["spec"]["rules"]
    return {backend["name"]: backend["weight"] for backend in rule["backendRefs"]}


def test_a_share_of_the_requests_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster()
    seen: list[dict[str, int]] = []
    monkeypatch.setattr(watch.Watch, "steady", lambda *_asked: seen.append(weights(cluster)))
    changes = {"route": "gateway", "canary_percent": 10, "canary_seconds": 1}
    deploy(cluster, release(1, **SHARED), **changes)
    new = release(2, **SHARED)
    deploy(cluster, new, **changes)
    assert seen == [{"api": 1}, {"api": 90, "api-candidate": 10}, {"api": 1}]
    assert (serves(cluster), weights(cluster)) == (new.release, {"api": 1})


def test_one_that_does_not_bear_its_share_is_gone_back_from() -> None:
    cluster = FakeCluster()
    changes = {"route": "gateway", "canary_percent": 10, "canary_seconds": 5}
    old = release(1, **SHARED)
    deploy(cluster, old, **changes)
    before = dict(cluster.store)
    cluster.restarts = 1
    with pytest.raises(DeployError, match="has ended while it was watched"):
        deploy(cluster, release(2, **SHARED), **changes)
    assert (serves(cluster), weights(cluster)) == (old.release, {"api": 1})
    assert cluster.store == before


def test_going_back_is_one_patch_and_brings_timers() -> None:
    cluster = FakeCluster()
    old, new = release(1, timers=[TIMER]), release(2)
    deploy(cluster, old)
    deploy(cluster, new)
    assert cluster.store["CronJob", f"api-{old.release}-tidy"]["spec"]["suspend"] is True
    outcome = rollback(cluster)
    assert (serves(cluster), outcome.number) == (old.release, 1)
    assert cluster.store["CronJob", f"api-{old.release}-tidy"]["spec"]["suspend"] is False
    assert pods(cluster) == {f"api-{old.release}": 2, f"api-{new.release}": 0}


def test_going_back_to_what_is_not_kept() -> None:
    cluster = FakeCluster()
    deploy(cluster, release(1))
    with pytest.raises(DeployError, match="no release 7 to go back to; kept are none"):
        rollback(cluster, "7")


def test_what_the_inventory_gave_up_comes_again_under_its_number() -> None:
    cluster = FakeCluster()
    first = release(1)
    deploy(cluster, first)
    deploy(cluster, release(2))
    assert deploy(cluster, first).number == 1
    assert serves(cluster) == first.release


def test_so_many_releases_are_kept() -> None:
    cluster = FakeCluster()
    for number in range(1, 6):
        deploy(cluster, release(number), keep=3)
    assert sorted(pods(cluster).values()) == [0, 0, 2]
    assert len([name for kind, name in cluster.store if kind == "ConfigMap"]) == 9


def test_objects_that_nothing_asks_for_any_more_go() -> None:
    cluster = FakeCluster()
    deploy(cluster, made(kubernetes={"replicas_max": 4}))
    assert ("HorizontalPodAutoscaler", "api") in cluster.store
    deploy(cluster, made(kubernetes={"route": "none"}))
    assert ("HorizontalPodAutoscaler", "api") not in cluster.store
    assert ("Ingress", "api") not in cluster.store


def test_a_release_has_as_many_pods_as_an_autoscaler_has_made_of_the_one_before() -> None:
    cluster = FakeCluster()
    scaled = {"kubernetes": {"replicas_max": 6}}
    old, new = release(1, **scaled), release(2, **scaled)
    deploy(cluster, old)
    cluster.store["Deployment", f"api-{old.release}"]["spec"]["replicas"] = 5
    deploy(cluster, new)
    assert pods(cluster)[f"api-{new.release}"] == 5
    target = cluster.store["HorizontalPodAutoscaler", "api"]["spec"]["scaleTargetRef"]["name"]
    assert target == f"api-{new.release}"


def test_a_check_run_sends_nothing() -> None:
    cluster = FakeCluster()
    deploy(cluster, release(1))
    cluster.did.clear()
    assert deploy(cluster, release(2), check=True).changed
    assert not deploy(cluster, release(1), check=True).changed
    assert cluster.did == []


def test_a_run_that_was_cut_off_after_the_switch_is_finished() -> None:
    cluster = FakeCluster()
    old, new = release(1), release(2)
    deploy(cluster, old)
    deploy(cluster, new)
    # As if the run had ended before it stopped the old one and marked the new one.
    cluster.store["Deployment", f"api-{old.release}"]["spec"]["replicas"] = 2
    del cluster.store["ConfigMap", f"api-{new.release}"]["metadata"]["annotations"]["webops.wsgi/proved"]
    assert deploy(cluster, new).changed
    assert pods(cluster)[f"api-{old.release}"] == 0
    assert not deploy(cluster, new).changed


def test_an_app_that_goes_leaves_its_namespace_and_its_volume() -> None:
    cluster = FakeCluster()
    deploy(cluster, made(persistent=["uploads"]))
    Deploy(cluster, asked(None, purge=False), check=False).absent()  # type: ignore[arg-type]
    assert {kind for kind, _name in cluster.store} == {"Namespace", "PersistentVolumeClaim"}
    Deploy(cluster, asked(None, purge=True), check=False).absent()  # type: ignore[arg-type]
    assert {kind for kind, _name in cluster.store} == {"Namespace"}


def test_from_switch_to_pod_by_pod_and_back() -> None:
    cluster = FakeCluster()
    deploy(cluster, release(1))
    rolling = {"kubernetes": {"strategy": "rolling"}}
    deploy(cluster, release(2, **rolling), strategy="rolling")
    assert pods(cluster)["api"] == 2
    assert sum(pods(cluster).values()) == 2
    third = release(3)
    deploy(cluster, third)
    assert serves(cluster) == third.release
    assert pods(cluster)["api"] == 0


def test_pod_by_pod_what_fails_is_rolled_back() -> None:
    cluster = FakeCluster()
    rolling = {"kubernetes": {"strategy": "rolling"}}
    deploy(cluster, release(1, **rolling), strategy="rolling")
    before = json.dumps(cluster.store["Deployment", "api"]["spec"]["template"], sort_keys=True)
    cluster.broken = "api"
    with pytest.raises(DeployError, match="serves as before"):
        deploy(cluster, release(2, **rolling), strategy="rolling")
    assert json.dumps(cluster.store["Deployment", "api"]["spec"]["template"], sort_keys=True) == before
    assert len([name for kind, name in cluster.store if kind == "ConfigMap"]) == 3
