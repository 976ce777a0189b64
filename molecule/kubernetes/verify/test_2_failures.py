"""A release that fails never gets a client: it is found out in seconds, told, and removed; bad input sends nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MOST_SECONDS = 30  # from the start of the run to its message
NOWHERE = f"localhost/nowhere@sha256:{'0' * 64}"
QUOTA = {
    "apiVersion": "v1",
    "kind": "ResourceQuota",
    "metadata": {"name": "small", "namespace": "probe"},
    "spec": {"hard": {"requests.memory": "1Mi"}},
}
QUICK = {"health_timeout": 3, "start_timeout": 3, "before_activate": ""}

FAULTS: dict[str, tuple[dict[str, Any], list[str]]] = {
    # In the server, not in the migration, which imports the app as well.
    "crash": (
        {"env": {"FAULT": "crash"}, "probe_release": {"before_activate": ""}},
        ["RuntimeError: the database of the probe has no such table"],
    ),
    "unready": ({"env": {"FAULT": "unready"}, "probe_release": QUICK}, ["not ready within 6 seconds", "503"]),
    "image": ({"probe_kubernetes": {"image": NOWHERE}}, ["ErrImagePull", "nowhere"]),
    "migration": ({"env": {"FAULT": "migration"}}, ["found two heads", "before-activate", "exit code 1"]),
    "memory": (
        {"probe_kubernetes": {"memory_request": "900Gi", "schedule_timeout": 5}, "probe_release": {"memory_max": ""}},
        ["Unschedulable", "Insufficient memory"],
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_release_that_fails_is_told_and_removed(cluster: Any, deploy: Callable[..., Any], fault: str) -> None:
    variables, words = FAULTS[fault]
    before = cluster.current(), cluster.names("deployment", "configmap", "secret", "service", "job")
    with cluster.load() as load:
        began = time.monotonic()
        run = deploy(**variables)
        took = time.monotonic() - began
    assert run.code != 0, run.output
    first = run.output[run.output.index('app "probe":') :].splitlines()[:8]
    print(f"\n{fault}: {took:.0f} s; {load}\n" + "\n".join(first))
    for word in words:
        assert word in "\n".join(first), run.output
    assert "serves as before" in run.output
    assert took < MOST_SECONDS
    assert load.failed == 0, str(load)
    assert set(load.releases) <= {"1", ""}
    assert (cluster.current(), cluster.names("deployment", "configmap", "secret", "service", "job")) == before


def test_pods_that_a_quota_refuses(cluster: Any, deploy: Callable[..., Any]) -> None:
    before = cluster.current()
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(QUOTA))
    try:
        run = deploy(env={"RELEASE": "quota"}, probe_release={"before_activate": ""})
    finally:
        cluster.kubectl("-n", "probe", "delete", "resourcequota", "small")
    assert run.code != 0
    assert "exceeded quota" in run.output
    assert cluster.current() == before
    assert cluster.json("/")["release"] == "1"


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "class": ({"kubernetes_ingress_class": "nginx"}, "which the cluster does not have; it has traefik"),
    "annotation": (
        {"probe_kubernetes": {"annotations": {"nginx.org/websocket-services": "probe"}}},
        "the controller of class traefik, ignores",
    ),
    "gateway": (
        {"probe_kubernetes": {"route": "gateway", "gateway": "edge/none"}},
        "which the cluster does not have; it has edge/public",
    ),
    "listener": (
        {"probe_kubernetes": {"route": "gateway", "gateway_listener": "tls"}},
        "it has web, websecure",
    ),
    "secret": ({"probe_kubernetes": {"tls_secret": "own"}}, "which namespace probe does not have"),
    "namespace": (
        {"probe_kubernetes": {"namespace": "nowhere", "create_namespace": False}},
        "namespace nowhere is not there",
    ),
    "host": (
        {"probe_kubernetes": {"namespace": "twice"}},
        "domains has probe.example.test, which Ingress probe/probe has",
    ),
    "context": ({"kubernetes_context": "production"}, "production"),
    "digest": ({"probe_kubernetes": {"image": "localhost/probe:1"}}, "does not name one image for good"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_sends_nothing(cluster: Any, deploy: Callable[..., Any], name: str) -> None:
    variables, word = BAD[name]
    before = cluster.kubectl("get", "deployments,ingresses,services,configmaps,namespaces", "-A", "-o", "name")
    run = deploy(env={"RELEASE": "bad"}, **variables)
    assert run.code != 0
    assert word in run.output, run.output
    assert cluster.kubectl("get", "deployments,ingresses,services,configmaps,namespaces", "-A", "-o", "name") == before


def test_rights_that_are_missing_are_named(cluster: Any, deploy: Callable[..., Any], tmp_path: Path) -> None:
    cluster.kubectl("-n", "probe", "create", "serviceaccount", "reader")
    cluster.kubectl(
        "-n", "probe", "create", "rolebinding", "reader", "--clusterrole=view", "--serviceaccount=probe:reader"
    )
    try:
        token = cluster.kubectl("-n", "probe", "create", "token", "reader").strip()
        known = json.loads(Path(cluster.lab["kubeconfig"]).read_text())
        known["users"][0]["user"] = {"token": token}
        file = tmp_path / "kubeconfig"
        file.write_text(json.dumps(known))
        before = cluster.current()
        run = deploy(env={"RELEASE": "rights"}, kubernetes_kubeconfig=str(file))
        assert run.code != 0
        assert "kind: Role" in run.output
        assert 'apiGroups: ["apps"], resources: [deployments], verbs: [create, patch, delete]' in run.output
        assert token not in run.output
        assert cluster.current() == before
    finally:
        cluster.kubectl("-n", "probe", "delete", "serviceaccount/reader", "rolebinding/reader")
