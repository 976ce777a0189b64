"""Under load: releases by switch, going back, pods one by one, a node that is emptied, a pod that is killed."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest

REQUESTS = 10_000


def on(play: Callable[..., Any], cluster: Any, *env: str, **variables: Any) -> None:
    """Deploy releases one after the other."""
    for release in env:
        run = play(env={"RELEASE": release}, **variables)
        assert run.code == 0, run.output
        assert cluster.json("/")["release"] == release


@pytest.mark.parametrize("route", ["ingress", "gateway"])
def test_three_releases_by_switch_and_back(
    cluster: Any, deploy: Callable[..., Any], play: Callable[..., Any], route: str
) -> None:
    led = {"probe_kubernetes": {"route": route}}
    on(deploy, cluster, f"{route}-0", **led)
    with cluster.load() as load:
        on(deploy, cluster, *(f"{route}-{number}" for number in (1, 2, 3)), **led)
        back = play("--limit", "kubernetes", playbook="kubernetes_rollback", app="probe")
        assert back.code == 0, back.output
        load.until(REQUESTS)
    print(f"\n{route}, three by switch and back: {load}")
    assert load.failed == 0, str(load)
    assert load.total >= REQUESTS
    assert cluster.json("/")["release"] == f"{route}-2"


def test_three_releases_pod_by_pod_and_the_same_without_care(cluster: Any, deploy: Callable[..., Any]) -> None:
    rolling = {"probe_kubernetes": {"strategy": "rolling"}}
    on(deploy, cluster, "rolling-0", **rolling)
    with cluster.load() as load:
        on(deploy, cluster, *(f"rolling-{number}" for number in (1, 2, 3)), **rolling)
        load.until(REQUESTS)
    roll = without_care(cluster)
    with cluster.load() as lossy:
        for number in (1, 2, 3):
            roll(f"careless-{number}")
        lossy.until(REQUESTS)
    print(f"\nrolling: {load}\nrolling without care: {lossy}")
    assert load.failed == 0, str(load)
    assert lossy.failed > 0, str(lossy)
    right = deploy("--diff", env={"RELEASE": "rolling-3"}, **rolling)
    assert right.code == 0, right.output
    assert "lifecycle" in right.output  # what was taken away by hand is back


def test_a_share_of_the_requests_by_weight(cluster: Any, deploy: Callable[..., Any]) -> None:
    led = {"route": "gateway", "canary_percent": 20, "canary_seconds": 20}
    on(deploy, cluster, "whole", probe_kubernetes={"route": "gateway"})
    with cluster.load() as load:
        load.until(500)
        run = deploy(env={"RELEASE": "share"}, probe_kubernetes=led)
        assert run.code == 0, run.output
        load.until(REQUESTS)
    print(f"\na fifth by weight for 20 s, then all: {load}")
    assert "led 20 % of the requests" in run.output
    assert load.failed == 0, str(load)
    assert cluster.json("/")["release"] == "share"
    (rule,) = cluster.get("httproute", "probe")["spec"]["rules"]
    assert [backend["name"] for backend in rule["backendRefs"]] == ["probe"]


def without_care(cluster: Any) -> Callable[[str], None]:
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

    def roll(release: str) -> None:
        cluster.kubectl("-n", "probe", "set", "env", "deployment/probe", "-c", "app", f"RELEASE={release}")
        cluster.kubectl(*wait)
        time.sleep(2)

    return roll


def test_a_node_is_emptied(cluster: Any, deploy: Callable[..., Any]) -> None:
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
        print(f"\na node drained and rebooted, controllers restarted: {load}")
        assert load.failed == 0, str(load)
        pods = cluster.get("pods", "-l", "app.kubernetes.io/component=web", "--field-selector=status.phase=Running")
        assert {pod["spec"]["nodeName"] for pod in pods} == {"cp"}
    finally:
        cluster.kubectl("uncordon", "n2")


def test_a_pod_is_killed(cluster: Any) -> None:
    with cluster.load() as load:
        load.until(300)
        pod = cluster.get("pods", "-l", "app.kubernetes.io/component=web")[0]["metadata"]["name"]
        cluster.kubectl("-n", "probe", "delete", "pod", pod, "--grace-period=0", "--force")
        load.until(2000)
    print(f"\na pod killed: {load}")
    # At most what was in flight in it: a request of each client.
    assert load.failed <= 11, str(load)
