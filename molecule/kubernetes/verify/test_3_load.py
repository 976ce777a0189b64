"""Under load: releases by switch, going back, pods one by one, a node that is emptied, a pod that is killed."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest
from kube_clients import WITH_SOCKETS

REQUESTS = 10_000
ROUTES = ("ingress", "gateway")


def on(play: Callable[..., Any], cluster: Any, *env: str, **variables: Any) -> None:
    """Deploy releases one after the other."""
    for release in env:
        run = play(env={"RELEASE": release}, **variables)
        assert run.code == 0, run.output
        assert cluster.json("/")["release"] == release


@pytest.mark.parametrize("route", ROUTES)
def test_three_releases_by_switch_and_back(
    cluster: Any, deploy: Callable[..., Any], play: Callable[..., Any], measured: Callable[..., None], route: str
) -> None:
    led = {"probe_kubernetes": {"route": route}}
    on(deploy, cluster, f"{route}-0", **led)
    with cluster.load() as load:
        on(deploy, cluster, *(f"{route}-{number}" for number in (1, 2, 3)), **led)
        back = play("--limit", "kubernetes", playbook="kubernetes_rollback", app="probe")
        assert back.code == 0, back.output
        load.until(REQUESTS)
    measured("three releases by switch, and back", route, load)
    assert load.failed == 0, str(load)
    assert load.total >= REQUESTS
    assert cluster.json("/")["release"] == f"{route}-2"


def test_three_releases_by_switch_and_back_with_websockets(
    cluster: Any, deploy: Callable[..., Any], play: Callable[..., Any], measured: Callable[..., None]
) -> None:
    with cluster.load("shop", WITH_SOCKETS) as load:
        for release in ("2", "3", "4"):
            run = deploy(app="shop", env={"RELEASE": release})
            assert run.code == 0, run.output
        back = play("--limit", "kubernetes", playbook="kubernetes_rollback", app="shop")
        assert back.code == 0, back.output
        load.until(REQUESTS)
    measured("three releases by switch, and back, with WebSockets", "gateway", load)
    assert load.failed == 0, str(load)
    assert load.by_kind["socket"] > 1000
    assert cluster.json("/", "shop.example.test")["release"] == "3"


@pytest.mark.parametrize("route", ROUTES)
def test_three_releases_pod_by_pod_and_back_and_the_same_without_care(
    cluster: Any, deploy: Callable[..., Any], play: Callable[..., Any], measured: Callable[..., None], route: str
) -> None:
    rolling = {"probe_kubernetes": {"strategy": "rolling", "route": route}}
    first, *others = (f"rolling-{route}-{number}" for number in range(4))
    on(deploy, cluster, first, **rolling)
    with cluster.load() as load:
        on(deploy, cluster, *others, **rolling)
        back = play("--limit", "kubernetes", playbook="kubernetes_rollback", app="probe", **rolling)
        assert back.code == 0, back.output
        load.until(REQUESTS)
    assert cluster.json("/")["release"] == others[1]
    roll = without_care(cluster)
    with cluster.load() as lossy:
        for number in (1, 2, 3):
            roll(number)
        lossy.until(REQUESTS)
    measured("three releases pod by pod, and back", route, load)
    measured("the same pods without care, three times", route, lossy)
    assert load.failed == 0, str(load)
    assert lossy.failed > 0, str(lossy)
    right = deploy("--diff", env={"RELEASE": others[1]}, **rolling)
    assert right.code == 0, right.output
    assert "lifecycle" in right.output  # what was taken away by hand is back


def test_a_share_of_the_requests_by_weight(
    cluster: Any, deploy: Callable[..., Any], measured: Callable[..., None]
) -> None:
    led = {"route": "gateway", "canary_percent": 20, "canary_seconds": 20}
    on(deploy, cluster, "whole", probe_kubernetes={"route": "gateway"})
    with cluster.load() as load:
        load.until(500)
        run = deploy(env={"RELEASE": "share"}, probe_kubernetes=led)
        assert run.code == 0, run.output
        load.until(REQUESTS)
    measured("a fifth of the requests by weight, then all of them", "gateway", load)
    assert "led 20 % of the requests" in run.output
    assert load.failed == 0, str(load)
    assert cluster.json("/")["release"] == "share"
    (rule,) = cluster.get("httproute", "probe")["spec"]["rules"]
    assert [backend["name"] for backend in rule["backendRefs"]] == ["probe"]


def without_care(cluster: Any) -> Callable[[int], None]:
    """Our pods as people write them first: no probes, no wait before they end. Gives what rolls them."""
    pod = cluster.get("deployment", "probe")["spec"]["template"]["spec"]
    cares = ("lifecycle", "startupProbe", "readinessProbe", "livenessProbe")
    gone = [
        {"op": "remove", "path": f"/spec/template/spec/containers/{number}/{key}"}
        for number, container in enumerate(pod["containers"])
        for key in cares
        if key in container
    ]
    cluster.kubectl("-n", "probe", "patch", "deployment", "probe", "--type=json", "-p", json.dumps(gone))
    wait = ["-n", "probe", "rollout", "status", "deployment/probe", "--timeout=120s"]
    cluster.kubectl(*wait)

    def roll(number: int) -> None:
        cluster.kubectl("-n", "probe", "set", "env", "deployment/probe", "-c", "app", f"TURN={number}")
        cluster.kubectl(*wait)
        time.sleep(2)

    return roll


def test_a_node_is_emptied(cluster: Any, deploy: Callable[..., Any], measured: Callable[..., None]) -> None:
    on(deploy, cluster, "drained")
    try:
        with cluster.load() as load:
            cluster.kubectl("drain", "n2", "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=180s")
            # And it is started again, as are the controllers of the cluster.
            subprocess.run(
                ["docker", "restart", cluster.lab["nodes"]["n2"]["container"]], check=True, capture_output=True
            )
            manager = ["systemctl", "restart", "kube-controller-manager", "kube-scheduler"]
            subprocess.run(["docker", "exec", cluster.lab["nodes"]["cp"]["container"], *manager], check=True)
            cluster.kubectl("wait", "--for=condition=Ready", "node/n2", "--timeout=120s")
            load.until(REQUESTS)
        measured("a node drained and started again, the controllers restarted", "ingress", load)
        assert load.failed == 0, str(load)
        pods = cluster.get("pods", "-l", "app.kubernetes.io/component=web", "--field-selector=status.phase=Running")
        assert {pod["spec"]["nodeName"] for pod in pods} == {"cp"}
    finally:
        cluster.kubectl("uncordon", "n2")


def test_a_pod_is_killed(cluster: Any, measured: Callable[..., None]) -> None:
    with cluster.load() as load:
        load.until(300)
        pod = cluster.get("pods", "-l", "app.kubernetes.io/component=web")[0]["metadata"]["name"]
        cluster.kubectl("-n", "probe", "delete", "pod", pod, "--grace-period=0", "--force")
        load.until(2000)
    measured("a pod killed", "ingress", load)
    # At most what was in flight in it: a request of each client.
    assert load.failed <= 11, str(load)
