"""The order in which a cluster is brought to another release, and what is left of one that fails."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict
from typing import Any

import pytest
import yaml
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes import rights, watch
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.deploy import Deploy
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.names import RELEASE
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.outcome import DeployError, Outcome
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


ROLLING = {"kubernetes": {"strategy": "rolling"}}


def test_pod_by_pod_going_back_brings_pods_and_workers_of_before() -> None:
    cluster = FakeCluster()
    worker = {"name": "mail", "command": "mail", "replicas": 3, "stop_timeout": 5}
    old, new = release(1, workers=[worker], timers=[TIMER], **ROLLING), release(2, **ROLLING)
    deploy(cluster, old, strategy="rolling")
    template = copy.deepcopy(cluster.store["Deployment", "api"]["spec"]["template"])
    deploy(cluster, new, strategy="rolling")
    assert pods(cluster) == {"api": 2, "api-mail": 0}
    outcome = rollback(cluster, strategy="rolling")
    assert (outcome.release, outcome.number) == (old.release, 1)
    assert cluster.store["Deployment", "api"]["spec"]["template"] == template
    assert pods(cluster) == {"api": 2, "api-mail": 3}
    assert cluster.store["CronJob", f"api-{old.release}-tidy"]["spec"]["suspend"] is False
    # Pods of the next release will stand beside those of this one.
    assert RELEASE not in cluster.store["Service", "api"]["spec"]["selector"]
    assert not deploy(cluster, old, strategy="rolling").did


def test_pod_by_pod_what_fails_to_come_back_leaves_what_serves() -> None:
    cluster = FakeCluster()
    old, new = release(1, **ROLLING), release(2, **ROLLING)
    deploy(cluster, old, strategy="rolling")
    deploy(cluster, new, strategy="rolling")
    template = copy.deepcopy(cluster.store["Deployment", "api"]["spec"]["template"])
    cluster.broken = "api"
    with pytest.raises(DeployError, match=r"release 2 \(.*\) serves as before"):
        rollback(cluster, strategy="rolling")
    assert cluster.store["Deployment", "api"]["spec"]["template"] == template
    assert pods(cluster) == {"api": 2}


def test_what_is_not_kept_of_a_release_is_said() -> None:
    cluster = FakeCluster()
    deploy(cluster, release(1, **ROLLING), strategy="rolling")
    deploy(cluster, release(2, **ROLLING), strategy="rolling")
    cluster.replaced.clear()
    with pytest.raises(DeployError, match="no pods are kept; deploy it from the inventory"):
        rollback(cluster, strategy="rolling")


def test_timers_of_a_release_that_comes_again_run_again() -> None:
    cluster = FakeCluster()
    first = release(1, timers=[TIMER])
    deploy(cluster, first)
    deploy(cluster, release(2))
    deploy(cluster, first)
    assert cluster.store["CronJob", f"api-{first.release}-tidy"]["spec"]["suspend"] is False


def test_what_came_with_a_release_that_failed_goes_with_it() -> None:
    cluster = FakeCluster()
    deploy(cluster, release(1))
    before = dict(cluster.store)
    cluster.restarts = 1
    with pytest.raises(DeployError, match="has ended while it was watched"):
        deploy(cluster, release(2, kubernetes={"replicas_max": 4}), bake=5)
    assert cluster.store == before


def test_rights_to_look_for_what_a_cluster_may_not_have_are_not_needed() -> None:
    cluster = FakeCluster()
    cluster.hidden = ("HTTPRoute", "Certificate", "IngressClass", "Gateway", "Namespace")
    assert deploy(cluster, made(kubernetes={"create_namespace": False})).changed
    assert not deploy(cluster, made(kubernetes={"create_namespace": False})).changed


def test_missing_rights_are_told_with_what_gives_them() -> None:
    cluster = FakeCluster()
    cluster.lacking = ("Lease", "Namespace")
    with pytest.raises(DeployError) as caught:
        deploy(cluster, release(1))
    first, *role = str(caught.value).splitlines()
    assert first.endswith("write kubernetes_create_namespace: false; have this applied:")
    documents = list(yaml.safe_load_all("\n".join(role)))
    assert documents[0]["rules"] == [
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": list(rights.VERBS)}
    ]
    assert documents[1]["subjects"][0]["name"] == "ann"
    assert not cluster.store


@pytest.mark.parametrize(("there", "said"), [("", "it has none, or no cert-manager"), ("own", "it has own")])
def test_an_issuer_that_is_not_there(there: str, said: str) -> None:
    cluster = FakeCluster()
    if there:
        cluster.store["ClusterIssuer", there] = {"kind": "ClusterIssuer", "metadata": {"name": there}}
    issued = made(kubernetes={"tls_issuer": "letsencrypt"})
    with pytest.raises(DeployError, match=f"does not have that ClusterIssuer; {said}"):
        deploy(cluster, issued)
    cluster.store["ClusterIssuer", "letsencrypt"] = {"kind": "ClusterIssuer", "metadata": {"name": "letsencrypt"}}
    deploy(cluster, issued)
    assert cluster.store["Certificate", "api"]["spec"]["secretName"] == "api-tls"
    deploy(cluster, made())
    assert ("Certificate", "api") not in cluster.store


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        ("Service", "api", "Service api of namespace api is there, and not of webops.wsgi; rename the app"),
        (
            "Namespace",
            "api",
            "write kubernetes_create_namespace: false, or have it ours with kubectl label namespace api",
        ),
    ],
)
def test_what_is_somebody_else_s_is_left_alone(kind: str, name: str, said: str) -> None:
    cluster = FakeCluster()
    cluster.store[kind, name] = {"kind": kind, "metadata": {"name": name, "labels": {"mine": "1"}}, "spec": {}}
    before = dict(cluster.store)
    with pytest.raises(DeployError, match=said):
        deploy(cluster, release(1))
    assert cluster.store == before


def close(cluster: FakeCluster, wanted: bool, check: bool = False) -> Outcome:
    return Deploy(cluster, asked(None), check).maintenance(wanted)  # type: ignore[arg-type]


def test_an_app_that_is_closed_stays_so_until_it_is_opened() -> None:
    cluster = FakeCluster()
    deploy(cluster, release(1))
    before = dict(cluster.store)
    assert close(cluster, True, check=True).changed
    assert cluster.store == before
    assert close(cluster, True).did == ["closed to clients: nodes see it within seconds"]
    assert cluster.store["ConfigMap", "api-maintenance"]["data"] == {"api": ""}
    assert not close(cluster, True).changed
    deploy(cluster, release(2))
    assert Deploy(cluster, asked(None), check=False).status()["closed"]  # type: ignore[arg-type]
    assert close(cluster, False).changed
    assert ("ConfigMap", "api-maintenance") not in cluster.store


def test_who_may_not_touch_pods_closes_an_app_later() -> None:
    cluster = FakeCluster()
    deploy(cluster, release(1))
    cluster.hidden = ("Pod",)
    assert "within two minutes" in close(cluster, True).did[0]


def test_what_is_not_there_is_not_closed() -> None:
    with pytest.raises(DeployError, match="namespace api has no release of it; deploy it first"):
        close(FakeCluster(), True)


def test_host_names_clash_where_the_path_is_the_same() -> None:
    cluster = FakeCluster()
    other = copy.deepcopy(next(item for item in release(1).after if item["kind"] == "Ingress"))
    other["metadata"] = {"name": "front", "namespace": "other"}
    cluster.store["Ingress", "front"] = other
    with pytest.raises(DeployError, match="which Ingress other/front has too"):
        deploy(cluster, release(1))
    other["spec"]["rules"][0]["http"]["paths"][0]["path"] = "/shop"
    assert deploy(cluster, release(1)).changed


def test_pod_by_pod_a_run_ends_after_the_last_pod_of_before(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster()
    old, new = release(1, **ROLLING), release(2, **ROLLING)
    deploy(cluster, old, strategy="rolling")
    labels = {"app.kubernetes.io/name": "api", RELEASE: old.release}
    ending = {"metadata": {"name": "api-ending", "labels": labels}, "spec": {"terminationGracePeriodSeconds": 40}}
    looks = iter([True, True, False])
    pods_of = cluster._pods
    monkeypatch.setattr(cluster, "_pods", lambda asked: pods_of(asked) + [ending] * (len(asked) == 1 and next(looks)))
    deploy(cluster, new, strategy="rolling")
    assert list(looks) == []


def test_the_first_release_that_fails_once_it_serves_leaves_none() -> None:
    cluster = FakeCluster()
    cluster.restarts = 1
    with pytest.raises(DeployError, match="no release serves"):
        deploy(cluster, release(1), bake=5)
    assert {kind for kind, _name in cluster.store} == {"Namespace", "ServiceAccount"}
