"""What clients, and the app, see of a cluster; what a second run does."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

PLANTED = ("planted-secret-of-the-probe", "planted-in-a-file", "planted-secret-of-the-shop")
# Written for Flask and reached by an Ingress; for Django, by the Gateway.
APPS = ("probe", "shop")

STATUS = ("-o", "/dev/null", "-w", "%{http_code}")

# What the linter asks for and is not done, each with the reason.
NOT_DONE = {
    "container-image-pull-policy": "images are pinned by digests: a node that has one has the right one",
    "container-resources": "without release_cpu_quota nothing limits the processor, as on hosts; memory is limited",
    "container-ephemeral-storage-request-and-limit": "nobody knows what an app writes to /tmp; a limit ends pods",
    "pod-networkpolicy": "what an app connects to is its own affair; what connects to it is said",
    "deployment-has-host-podantiaffinity": "topologySpreadConstraints do it, and let more pods than nodes be",
}


def until(condition: Callable[[], bool], seconds: float = 60) -> bool:
    """Whether something comes true within a while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.5)
    return False


@pytest.mark.parametrize("app", APPS)
def test_the_app_knows_its_client(cluster: Any, app: str) -> None:
    seen = cluster.json("/seen", f"{app}.example.test")
    assert seen["scheme"] == "https"
    assert seen["host"] == f"{app}.example.test"
    assert seen["secure"] is True
    assert seen["url"] == f"https://{app}.example.test/seen"
    # The controller's, as which the machine's clients come to the nodes.
    assert seen["address"].endswith(".1"), seen


@pytest.mark.parametrize("app", APPS)
def test_nobody_can_claim_another_address(cluster: Any, app: str) -> None:
    told = cluster.curl(f"https://{app}.example.test/seen", "-H", "X-Forwarded-For: 203.0.113.9")
    assert json.loads(told)["address"] != "203.0.113.9"


def test_django_s_static_files_are_those_that_the_build_collected(cluster: Any) -> None:
    style = cluster.json("/", "shop.example.test")["style"]
    assert re.fullmatch(r"/static/shop\.[0-9a-f]{12}\.css", style)
    told = cluster.curl(f"https://shop.example.test{style}", "-i")
    assert "body { color: navy }" in told
    assert "immutable" in told
    assert "server: nginx" in told.lower()


def test_static_files_are_nginx_s_and_others_are_problems(cluster: Any) -> None:
    style = cluster.curl("https://probe.example.test/static/style.css", "-i")
    assert "body { color: teal }" in style
    assert "server: nginx" in style.lower()
    missing = cluster.curl("https://probe.example.test/static/none", "-i", "-H", "Accept: application/json")
    assert "application/problem+json" in missing


def test_http_leads_to_https_and_unknown_hosts_nowhere(cluster: Any) -> None:
    for app in APPS:
        told = cluster.curl(f"http://{app}.example.test/seen", "-i")
        assert "308" in told.splitlines()[0]
        assert f"https://{app}.example.test/seen" in told
    assert cluster.curl("https://other.example.test/", *STATUS) == "404"


def test_an_app_is_below_a_path_of_another(cluster: Any, deploy: Callable[..., Any]) -> None:
    place = {"domains": ["probe.example.test"], "path": "/shop", "below": "probe"}
    run = deploy(app="shop", shop_place=place, shop_kubernetes={"route": "ingress"})
    assert run.code == 0, run.output
    try:
        assert until(lambda: "style" in cluster.curl("https://probe.example.test/shop/"))
        seen = cluster.json("/shop/seen")
        assert (seen["url"], seen["secure"]) == ("https://probe.example.test/shop/seen", True)
        assert cluster.json("/seen")["url"] == "https://probe.example.test/seen"
        assert "https://probe.example.test/shop/" in cluster.curl("https://probe.example.test/shop", "-i")
    finally:
        back = deploy(app="shop")
    assert back.code == 0, back.output
    assert until(lambda: cluster.curl("https://probe.example.test/shop/seen", *STATUS) == "404")
    assert cluster.json("/seen", "shop.example.test")["host"] == "shop.example.test"


def test_an_app_is_closed_and_opened_while_its_pods_go_on(cluster: Any, play: Callable[..., Any]) -> None:
    def state(wanted: str) -> Any:
        run = play("--limit", "kubernetes", playbook="kubernetes_maintenance", app="probe", state=wanted)
        assert run.code == 0, run.output
        return run

    def answered() -> set[str]:
        """By both pods, sooner or later."""
        return {cluster.curl("https://probe.example.test/", *STATUS) for _ in range(10)}

    web = f"probe-{cluster.current()}"
    try:
        assert state("on").changed
        began = time.monotonic()
        assert until(lambda: answered() == {"503"})
        print(f"\nclosed {time.monotonic() - began:.1f} s after the run")
        told = cluster.curl("https://probe.example.test/", "-i").lower()
        assert "retry-after: 300" in told
        assert "x-maintenance: on" in told
        assert "teal" in cluster.curl("https://probe.example.test/static/style.css")
        time.sleep(12)  # so long its pods are asked whether they are ready
        assert cluster.get("deployment", web)["status"]["readyReplicas"] == 2
        assert not state("on").changed
    finally:
        state("off")
    assert until(lambda: answered() == {"200"})
    assert not state("off").changed


def test_a_pod_has_no_token_and_no_services_in_its_variables(cluster: Any) -> None:
    inside = cluster.json("/inside")
    assert inside["token"] is False
    assert inside["services"] == ["KUBERNETES_SERVICE_HOST"]
    assert inside["user"] == 10001
    assert inside["file"] == "password = planted-in-a-file\n"


def test_pods_are_spread_over_nodes_that_enforce_the_restricted_standard(cluster: Any) -> None:
    pods = cluster.get("pods", "-l", "app.kubernetes.io/component=web")
    assert {pod["spec"]["nodeName"] for pod in pods} == {"cp", "n2"}
    namespace = json.loads(cluster.kubectl("get", "namespace", "probe", "-o", "json"))
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_no_secret_is_where_it_can_be_read(cluster: Any, deploy: Callable[..., Any]) -> None:
    shown = cluster.kubectl("-n", "probe", "describe", "all,configmap,secret,ingress")
    shown += cluster.kubectl("-n", "probe", "get", "all,configmap,ingress,events", "-o", "yaml")
    run = deploy("-vvv", "--diff", "--check", env={"RELEASE": "shown"})
    assert run.code == 0, run.output
    for planted in PLANTED:
        assert planted not in shown
        assert planted not in run.output
    secrets = cluster.get("secrets")
    assert not any("last-applied" in json.dumps(item["metadata"]) for item in secrets)


def test_no_secret_is_in_a_process_list(deploy: Callable[..., Any]) -> None:
    """Of this machine, in which the nodes and their pods are as well."""
    ended = threading.Event()
    shown: set[str] = set()
    looks = 0

    def look_on() -> None:
        nonlocal looks
        while not ended.is_set():
            looks += 1
            for file in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):
                    line = file.read_bytes().decode(errors="replace")
                    shown.update(line for planted in PLANTED if planted in line)
            time.sleep(0.05)

    looker = threading.Thread(target=look_on)
    looker.start()
    try:
        run = deploy(app="shop", env={"RELEASE": "looked at"})
    finally:
        ended.set()
        looker.join()
    assert run.code == 0, run.output
    assert looks > 20
    assert not shown


def test_a_check_run_changes_nothing_and_says_what_would(cluster: Any, deploy: Callable[..., Any]) -> None:
    before = cluster.current(), cluster.names("deployment", "configmap", "secret")
    run = deploy("--check", "--diff", env={"RELEASE": "checked"})
    assert run.code == 0, run.output
    assert run.changed
    assert "would serve" in run.output
    assert "Deployment probe-" in run.output
    assert (cluster.current(), cluster.names("deployment", "configmap", "secret")) == before


def test_a_hand_edit_is_put_right_and_said(cluster: Any, deploy: Callable[..., Any]) -> None:
    web = f"probe-{cluster.current()}"
    cluster.kubectl("-n", "probe", "patch", "ingress", "probe", "--type=json", "-p", json.dumps([
        {"op": "replace", "path": "/spec/rules/0/host", "value": "edited.example.test"}]))  # fmt: skip
    cluster.kubectl("-n", "probe", "scale", "deployment", web, "--replicas=1")
    cluster.kubectl("-n", "probe", "annotate", "ingress", "probe", "mesh.example.test/mark=kept")
    run = deploy("--diff")
    assert run.code == 0, run.output
    assert run.changed
    assert "-  - host: edited.example.test" in run.output
    assert f"Deployment {web} had 1 pods" in run.output
    assert cluster.json("/")["release"] == "1"
    # What another one manages is left alone.
    assert cluster.get("ingress", "probe")["metadata"]["annotations"] == {"mesh.example.test/mark": "kept"}
    again = deploy()
    assert again.code == 0, again.output
    assert not again.changed


def test_files_pass_the_schemas_of_all_versions_and_a_linter(
    cluster: Any, deploy: Callable[..., Any], tmp_path: Path
) -> None:
    run = deploy(app="", output=str(tmp_path))
    assert run.code == 0, run.output
    files = sorted(tmp_path.glob("*/*.yaml"))
    assert {file.parent.name for file in files} == set(APPS)
    for file in files:
        manifest = yaml.safe_load(file.read_text())
        for version in ("1.31", "1.37"):
            if not manifest["apiVersion"].startswith("gateway."):
                kubernetes_validate.validate(manifest, version, strict=True)
    options = [f"--ignore-test={name}" for name in NOT_DONE]
    linter = Path(cluster.lab["programs"]) / "kube-score"
    command = [str(linter), "score", "--exit-one-on-warning", "--color=never", *options, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_cert_manager_s_schema_takes_the_certificate(cluster: Any, deploy: Callable[..., Any]) -> None:
    """Its custom resources are the real ones; nobody is there to act on them."""
    issued = {"probe_kubernetes": {"tls_issuer": "own"}}
    issuer = {
        "apiVersion": "cert-manager.io/v1",
        "kind": "ClusterIssuer",
        "metadata": {"name": "own"},
        "spec": {"selfSigned": {}},
    }
    refused = deploy(**issued)
    assert "the cluster does not have that ClusterIssuer" in refused.output
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(issuer))
    try:
        run = deploy(**issued)
        assert run.code == 0, run.output
        spec = cluster.get("certificate", "probe")["spec"]
        assert (spec["secretName"], spec["dnsNames"]) == ("probe-tls", ["probe.example.test"])
        assert cluster.get("ingress", "probe")["spec"]["tls"][0]["secretName"] == "probe-tls"
        assert not deploy(**issued).changed
    finally:
        cluster.kubectl("delete", "clusterissuer", "own")
        back = deploy()
    assert back.code == 0, back.output
    assert not cluster.get("certificates")
    assert cluster.json("/")["release"] == "1"


def test_files_for_git_are_what_kubectl_takes(cluster: Any, deploy: Callable[..., Any], tmp_path: Path) -> None:
    run = deploy(output=str(tmp_path / "manifests"))
    assert run.code == 0, run.output
    assert not deploy(output=str(tmp_path / "manifests")).changed
    overlay = tmp_path / "overlay"
    overlay.mkdir()
    # In a namespace of their own, as an overlay of kustomize puts them there.
    (overlay / "kustomization.yaml").write_text(
        "namespace: files\nresources: [../manifests]\npatches:\n"
        "- target: {kind: Ingress}\n  patch: |\n"
        "    - {op: replace, path: /spec/rules/0/host, value: files.example.test}\n"
    )
    try:
        cluster.kubectl("apply", "--server-side", "-k", str(overlay))
        cluster.kubectl("-n", "files", "rollout", "status", "deployment/probe", "--timeout=90s")
        kinds = "deployment,service,ingress,poddisruptionbudget,configmap,secret,serviceaccount"
        assert len(cluster.get(kinds, "-l", "app.kubernetes.io/name=probe", namespace="files")) == 10
    finally:
        cluster.kubectl("delete", "namespace", "files", "--wait=false")


def test_the_time_of_a_run_with_nothing_to_do(cluster: Any, deploy: Callable[..., Any]) -> None:
    began = time.monotonic()
    cluster.kubectl("get", "--raw", "/readyz")
    asked = time.monotonic() - began
    began = time.monotonic()
    run = deploy()
    took = time.monotonic() - began
    print(f"\na run with nothing to do: {took:.1f} s; kubectl get --raw /readyz: {asked:.2f} s")
    assert not run.changed
    assert took < 4 * asked + 20
