"""Going back brings code and configuration; two runs, a lost API server, an autoscaler; an app that goes."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

WORKER = {"name": "echo", "command": "python -c 'import time; time.sleep(3600)'", "replicas": 2}
TIMER = {"name": "tidy", "command": "python -c 'print(1)'", "on_calendar": "*:0/1"}


def rollback(play: Callable[..., Any], **variables: Any) -> Any:
    run = play("--limit", "kubernetes", playbook="kubernetes_rollback", app="probe", **variables)
    assert run.code == 0, run.output
    return run


def test_going_back_brings_configuration_workers_and_timers(
    cluster: Any, deploy: Callable[..., Any], play: Callable[..., Any]
) -> None:
    first = deploy(env={"RELEASE": "old"}, probe_file="old-password", probe_workers=[WORKER], probe_timers=[TIMER])
    assert first.code == 0, first.output
    old = cluster.current()
    second = deploy(env={"RELEASE": "new"}, probe_file="new-password")
    assert second.code == 0, second.output
    new = cluster.current()
    assert cluster.json("/inside")["file"] == "password = new-password\n"
    assert pods(cluster) == {f"probe-{new}": 2, f"probe-{old}": 0, f"probe-{old}-echo": 0}
    assert cluster.get("cronjob", f"probe-{old}-tidy")["spec"]["suspend"] is True
    rollback(play)
    assert cluster.current() == old
    inside = cluster.json("/inside")
    assert (cluster.json("/")["release"], inside["file"]) == ("old", "password = old-password\n")
    assert pods(cluster) == {f"probe-{new}": 0, f"probe-{old}": 2, f"probe-{old}-echo": 2}
    assert cluster.get("cronjob", f"probe-{old}-tidy")["spec"]["suspend"] is False
    told = play("--limit", "kubernetes", playbook="kubernetes_status", app="probe", format="json")
    assert old in told.output


def pods(cluster: Any) -> dict[str, int]:
    """Pods of each Deployment of the last two releases, as they are wanted."""
    every = sorted(cluster.get("deployments"), key=lambda item: item["metadata"]["creationTimestamp"])
    return {item["metadata"]["name"]: item["spec"]["replicas"] for item in every[-3:]}


def test_as_many_releases_are_kept_as_are_asked_for(cluster: Any, deploy: Callable[..., Any]) -> None:
    run = deploy(env={"RELEASE": "kept"}, probe_release={"keep": 2})
    assert run.code == 0, run.output
    releases = {item["metadata"]["labels"]["webops.wsgi/release"] for item in cluster.get("deployments")}
    assert len(releases) == 2
    maps = cluster.get("configmaps", "-l", "app.kubernetes.io/name=probe")
    assert {item["metadata"]["labels"]["webops.wsgi/release"] for item in maps} == releases


def test_two_people_do_not_mix(cluster: Any, deploy: Callable[..., Any]) -> None:
    runs: dict[str, Any] = {}

    def run(name: str) -> None:
        runs[name] = deploy(env={"RELEASE": name})

    people = [threading.Thread(target=run, args=(name,)) for name in ("ann", "ben")]
    for person in people:
        person.start()
    for person in people:
        person.join()
    codes = sorted(one.code for one in runs.values())
    assert codes[0] == 0, [one.output for one in runs.values()]
    for name, one in runs.items():
        if one.code:
            assert "is deploying it at this moment" in one.output, one.output
        elif codes[1]:
            assert cluster.json("/")["release"] == name
    assert not cluster.get("leases")


def test_the_next_run_finishes_after_the_api_server_was_gone(
    cluster: Any, deploy: Callable[..., Any], measured: Callable[..., None]
) -> None:
    node = cluster.lab["nodes"]["cp"]["container"]
    runs: list[Any] = []
    person = threading.Thread(target=lambda: runs.append(deploy(env={"RELEASE": "gone"})))
    before = cluster.current()
    with cluster.load() as load:
        person.start()
        end = time.monotonic() + 90
        while time.monotonic() < end and f"deployment.apps/probe-{before}" in cluster.names("deployment"):
            if len(cluster.names("deployment")) and _starts(cluster, before):
                break
            time.sleep(0.3)
        subprocess.run(["docker", "exec", node, "systemctl", "stop", "kube-apiserver"], check=True)
        time.sleep(8)
        subprocess.run(["docker", "exec", node, "systemctl", "start", "kube-apiserver"], check=True)
        person.join()
        _wait(lambda: cluster.kubectl("get", "--raw", "/readyz", check=False) == "ok")
        # A run that was cut off keeps its Lease for a minute.
        _wait(lambda: not cluster.get("leases") or deploy(env={"RELEASE": "gone"}).code == 0)
        again = deploy(env={"RELEASE": "gone"})
    print(f"\nthe first run ended with {runs[0].code}")
    measured("the API server gone for eight seconds", "ingress", load)
    assert again.code == 0, again.output
    assert cluster.json("/")["release"] == "gone"
    assert load.failed == 0, str(load)
    assert not deploy(env={"RELEASE": "gone"}).changed


def _starts(cluster: Any, before: str) -> bool:
    return any(
        item["metadata"]["labels"]["webops.wsgi/release"] != before and item["spec"]["replicas"]
        for item in cluster.get("deployments")
    )


def _wait(condition: Callable[[], Any], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(1)


SCALED: dict[str, Any] = {
    "probe_kubernetes": {"replicas_max": 4, "cpu_request": "60m", "cpu_percent": 25},
    "probe_release": {"start_timeout": 90},  # four pods more on a machine that is busy with the clients already
}


def test_an_autoscaler_keeps_its_count_over_a_deployment_and_takes_it_back(
    cluster: Any, deploy: Callable[..., Any], measured: Callable[..., None]
) -> None:
    run = deploy(env={"RELEASE": "scaled-1"}, **SCALED)
    assert run.code == 0, run.output
    # Of the five minutes that it waits before it stops pods; a field of somebody else's, which a run leaves alone.
    sooner = {"spec": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 15}}}}
    cluster.kubectl("-n", "probe", "patch", "hpa", "probe", "--type=merge", "-p", json.dumps(sooner))
    with cluster.load() as load:
        _wait(lambda: _count(cluster) == 4, 180)
        scaled = load.total
        run = deploy(env={"RELEASE": "scaled-2"}, **SCALED)
        counted = _count(cluster)
    print(f"\n2 to 4 pods after {scaled} requests, {counted} after a deployment")
    measured("two pods to four by an autoscaler, a deployment in the middle", "ingress", load)
    assert run.code == 0, run.output
    assert counted == 4
    assert load.failed == 0, str(load)
    with cluster.load(kinds={"keep": 1, "slow": 1}, pause=0.5) as calm:
        _wait(lambda: _count(cluster) == 2, 180)
        again = deploy(env={"RELEASE": "scaled-2"}, **SCALED)
        _wait(lambda: len(_web(cluster)) == 2)
    measured("four pods to two", "ingress", calm)
    assert calm.failed == 0, str(calm)
    assert not again.changed, again.output
    assert cluster.get("hpa", "probe")["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 15


def _web(cluster: Any) -> list[Any]:
    return list(cluster.get("pods", "-l", "app.kubernetes.io/component=web"))


def _count(cluster: Any) -> int:
    return int(cluster.get("deployment", f"probe-{cluster.current()}")["spec"]["replicas"])


def test_files_for_git_give_what_a_run_gives(cluster: Any, deploy: Callable[..., Any], tmp_path: Path) -> None:
    run = deploy(env={"RELEASE": "files"}, probe_kubernetes={"strategy": "rolling"})
    assert run.code == 0, run.output
    written = deploy(env={"RELEASE": "files"}, output=str(tmp_path / "manifests"))
    assert written.code == 0, written.output
    asked = ["--server-side", "--field-manager=webops.wsgi", "--force-conflicts", "-k", str(tmp_path / "manifests")]
    cluster.kubectl("diff", *asked)  # which fails where something would change


def test_an_app_that_goes_takes_its_own_with_it_and_nothing_else(cluster: Any, deploy: Callable[..., Any]) -> None:
    own = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "somebody-s", "namespace": "probe"}}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(own))
    run = deploy("--diff", probe_state="absent")
    assert run.code == 0, run.output
    kinds = "deployments,services,ingresses,httproutes,configmaps,secrets,cronjobs,jobs,pdb,hpa,serviceaccounts,leases"
    left = cluster.kubectl("-n", "probe", "get", kinds, "-o", "name").split()
    assert set(left) == {"configmap/kube-root-ca.crt", "configmap/somebody-s", "serviceaccount/default"}
    assert not deploy(probe_state="absent").changed
    back = deploy()
    assert back.code == 0, back.output
    assert cluster.json("/")["release"] == "1"
