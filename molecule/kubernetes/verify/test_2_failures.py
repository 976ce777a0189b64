"""A release that fails never gets a client: it is found out in seconds, told, and removed; bad input sends nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


@contextmanager
def somebody(cluster: Any, folder: Path, *roles: str) -> Iterator[Path]:
    """The kubeconfig of a person who has these ClusterRoles in the app's namespace."""
    cluster.kubectl("-n", "probe", "create", "serviceaccount", "ann")
    try:
        for role in roles:
            binding = ["create", "rolebinding", f"ann-{role}", f"--clusterrole={role}", "--serviceaccount=probe:ann"]
            cluster.kubectl("-n", "probe", *binding)
        known = json.loads(Path(cluster.lab["kubeconfig"]).read_text())
        known["users"][0]["user"] = {"token": cluster.kubectl("-n", "probe", "create", "token", "ann").strip()}
        file = folder / "kubeconfig"
        file.write_text(json.dumps(known))
        yield file
    finally:
        bindings = [f"rolebinding/ann-{role}" for role in roles]
        cluster.kubectl("-n", "probe", "delete", "serviceaccount/ann", *bindings)


def test_rights_that_are_missing_are_named(cluster: Any, deploy: Callable[..., Any], tmp_path: Path) -> None:
    with somebody(cluster, tmp_path, "view") as kubeconfig:
        before = cluster.current()
        run = deploy(env={"RELEASE": "rights"}, kubernetes_kubeconfig=str(kubeconfig))
        assert run.code != 0
        assert "kind: Role" in run.output
        assert 'apiGroups: ["apps"], resources: [deployments], verbs: [create, patch, delete]' in run.output
        assert json.loads(kubeconfig.read_text())["users"][0]["user"]["token"] not in run.output
        assert cluster.current() == before


def test_the_rights_that_are_named_are_enough(cluster: Any, deploy: Callable[..., Any], tmp_path: Path) -> None:
    """For a person who has none at all, in a namespace that somebody else has made."""
    asked = {"env": {"RELEASE": "1"}, "probe_kubernetes": {"create_namespace": False}}
    with somebody(cluster, tmp_path) as kubeconfig:
        asked["kubernetes_kubeconfig"] = str(kubeconfig)
        refused = deploy(**asked)
        assert refused.code != 0
        said = refused.output[refused.output.index("apiVersion: rbac") :]
        lines = [line.strip() for line in said.splitlines()]
        last = next(number for number, line in enumerate(lines) if line.startswith("subjects:"))
        rules = ["  " + line if line.startswith("- ") else line for line in lines[: last + 1]]
        try:
            cluster.kubectl("apply", "-f", "-", stdin="\n".join(rules))
            run = deploy(**asked)
            assert run.code == 0, run.output
            assert not deploy(**asked).changed
            asked["env"] = {"RELEASE": "by ann"}
            run = deploy(**asked)
            assert run.code == 0, run.output
            assert cluster.json("/")["release"] == "by ann"
        finally:
            cluster.kubectl("-n", "probe", "delete", "role,rolebinding", "webops-wsgi", check=False)
    run = deploy()
    assert run.code == 0, run.output


def test_what_is_somebody_else_s_is_left_alone(cluster: Any, deploy: Callable[..., Any]) -> None:
    cluster.kubectl("create", "namespace", "theirs")
    cluster.kubectl("-n", "theirs", "create", "service", "clusterip", "probe", "--tcp=80:80")
    try:
        told = deploy(probe_kubernetes={"namespace": "theirs"})
        assert told.code != 0
        assert "namespace theirs is there, and not of webops.wsgi" in told.output
        assert "Service probe of namespace theirs is there, and not of webops.wsgi" in told.output
        labels = json.loads(cluster.kubectl("get", "namespace", "theirs", "-o", "json"))["metadata"]["labels"]
        assert not any(name.startswith("pod-security") for name in labels)
    finally:
        cluster.kubectl("delete", "namespace", "theirs", "--wait=false")
