"""The objects of an app: what an expert would have written, and what makes another release."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.names import COMPONENT, NAME, RELEASE
from ansible_collections.webops.wsgi.plugins.plugin_utils.kubernetes import schema
from kube import container, kube, made, one, pod

EVERYTHING: dict[str, Any] = {
    "env": {"LEVEL": "info", "SETTINGS": "{files}/settings.cfg", "COUNT": 3},
    "secrets": {"SECRET_KEY": "correct-horse-battery"},
    "credentials": {"key.pem": "very-private-key"},
    "files": {"settings.cfg": "password = staple-staple"},
    "workers": [{"name": "celery", "command": "celery worker", "replicas": 3, "stop_timeout": 60}],
    "timers": [{"name": "tidy", "command": "flask tidy", "on_calendar": "daily", "random_delay": 0, "timeout": 60}],
    "persistent": ["uploads"],
    "nginx": {"static": {"/static/": "app/static", "/uploads/": "uploads"}, "basic_auth": {"ann": "$2y$hash"}},
    "release": {"before_activate": "flask db upgrade", "memory_max": "512M", "cpu_quota": "150%"},
    "kubernetes": {"replicas_max": 6, "tls_issuer": "letsencrypt", "controller_namespace": "traefik"},
}


@pytest.mark.parametrize("strategy", ["switch", "rolling"])
@pytest.mark.parametrize("app", [{}, EVERYTHING], ids=["least", "everything"])
def test_the_oldest_and_the_newest_kubernetes_take_them(app: dict[str, Any], strategy: str) -> None:
    rendered = made(**{**app, "kubernetes": {**app.get("kubernetes", {}), "strategy": strategy}})
    everything = [*rendered.manifests(), *rendered.hooks.values()]
    assert list(schema.faults(everything)) == []


def test_a_fault_is_found_for_both_versions() -> None:
    deployment = one(made(), "Deployment")
    deployment["spec"]["replica"] = 2
    found = list(schema.faults([deployment]))
    assert len(found) == 2
    assert found[0].startswith(f"Deployment {deployment['metadata']['name']}: ")


@pytest.mark.parametrize("name", ["app", "nginx", "static"])
def test_pods_pass_the_restricted_standard(name: str) -> None:
    rendered = made(**EVERYTHING)
    web = pod(rendered)
    assert web["securityContext"] | {"fsGroup": 0} == {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "runAsGroup": 10001,
        "fsGroup": 0,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    # By its user, a server tells nginx from a program of the app.
    another = {"runAsUser": 10002} if name == "nginx" else {}
    assert container(rendered, name)["securityContext"] == {
        **another,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_a_pod_has_no_token_and_no_variables_of_services() -> None:
    rendered = made(**EVERYTHING)
    every = [item["spec"]["template"]["spec"] for item in rendered.release_objects if item["kind"] == "Deployment"]
    every.append(one(rendered, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"])
    every.append(rendered.hooks["before_activate"]["spec"]["template"]["spec"])
    assert len(every) == 4
    for spec in every:
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
    assert one(rendered, "ServiceAccount")["automountServiceAccountToken"] is False


def test_secrets_are_in_secrets_alone() -> None:
    rendered = made(**EVERYTHING)
    others = [item for item in rendered.manifests() if item["kind"] != "Secret"]
    text = json.dumps([*others, *rendered.hooks.values()])
    for secret in ("correct-horse", "very-private", "staple-staple", "$2y$hash"):
        assert secret not in text
    for kind in ("Secret", "ConfigMap"):
        assert all(item["immutable"] for item in rendered.manifests() if item["kind"] == kind)


@pytest.mark.parametrize(
    "change",
    [
        {"env": {"LEVEL": "debug"}},
        {"secrets": {"SECRET_KEY": "another-horse-battery"}},
        {"files": {"settings.cfg": "other"}},
        {"credentials": {"key.pem": "other"}},
        {"kubernetes": {"image": f"registry.example.com/api@sha256:{'b' * 64}"}},
        {"nginx": {"client_max_body_size": "7m"}},
        {"release": {"before_activate": "flask db stamp"}},
        {"workers": [{"name": "rq", "command": "rq worker", "replicas": 1, "stop_timeout": 60}]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_runs_or_is_read_makes_another_release(change: dict[str, Any]) -> None:
    assert made(**change).release != made().release


def test_more_pods_and_another_certificate_make_no_other_release() -> None:
    assert made(kubernetes={"replicas": 5, "tls_secret": "own"}).release == made().release


def test_the_service_leads_to_one_release_alone() -> None:
    rendered = made()
    deployment, service = one(rendered, "Deployment"), one(rendered, "Service")
    assert service["spec"]["selector"] == {NAME: "api", COMPONENT: "web", RELEASE: rendered.release}
    assert deployment["spec"]["selector"]["matchLabels"] == service["spec"]["selector"]
    assert deployment["metadata"]["name"] == f"api-{rendered.release}"


def test_rolling_has_one_deployment_whatever_the_release() -> None:
    rendered = made(kubernetes={"strategy": "rolling"})
    deployment = one(rendered, "Deployment")
    assert deployment["metadata"]["name"] == "api"
    assert RELEASE not in one(rendered, "Service")["spec"]["selector"]
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


def test_the_number_of_pods_is_not_written_where_it_is_counted() -> None:
    fixed, counted = made(), made(kubernetes={"replicas_max": 6})
    assert "replicas" not in one(counted, "Deployment")["spec"]
    assert list(fixed.replicas.values()) == [2]
    assert list(counted.replicas.values()) == [0]
    assert one(counted, "HorizontalPodAutoscaler")["spec"]["maxReplicas"] == 6


def test_a_pod_ends_after_everybody_is_answered() -> None:
    rendered = made(kubernetes={"stop_delay": 7}, gunicorn={"graceful_timeout": 40})
    stops = kube(gunicorn={"graceful_timeout": 40})["server"]["stop_timeout"]
    assert pod(rendered)["terminationGracePeriodSeconds"] >= 7 + 2 + stops
    # nginx takes no more connections before the app is told to end.
    assert container(rendered)["lifecycle"]["preStop"]["sleep"]["seconds"] == 9
    assert container(rendered, "nginx")["lifecycle"]["preStop"]["exec"]["command"][-1].startswith("sleep 7; nginx -s ")


def test_a_node_asks_through_nginx_where_it_judges_as_the_app_does() -> None:
    rendered = made(release={"health_status": ["200"], "health_path": "/healthz"})
    question = container(rendered, "nginx")["readinessProbe"]["httpGet"]
    assert question["path"] == "/healthz"
    assert {"name": "Host", "value": "api.example.com"} in question["httpHeaders"]
    assert {"name": "X-Forwarded-Proto", "value": "https"} in question["httpHeaders"]
    assert "readinessProbe" not in container(rendered)


def test_a_node_has_the_image_ask_where_it_would_judge_otherwise() -> None:
    # 404 is a good answer by default, and a node takes 200 to 399.
    assert container(made())["readinessProbe"]["exec"]["command"][-1] == "/wsgi/check/healthy.py"
    assert "httpGet" not in container(made(), "nginx")["readinessProbe"]


def test_a_slow_import_is_waited_for() -> None:
    probe = container(made(release={"start_timeout": 300, "health_timeout": 30}))["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 330


def test_processes_are_as_many_as_cores_may_be_used() -> None:
    def concurrency(**release: Any) -> str:
        found = container(made(release=release))["env"]
        return next(item["value"] for item in found if item["name"] == "WEB_CONCURRENCY")

    assert concurrency() == "2"
    assert concurrency(cpu_quota="350%") == "4"
    assert concurrency(cpu_quota="800%", memory_max="300M") == "3"
    written = container(made(gunicorn={"workers": "3"}))["env"]
    assert "WEB_CONCURRENCY" not in [item["name"] for item in written]


def test_limits_are_those_of_hosts() -> None:
    resources = container(made(release={"memory_max": "512M", "cpu_quota": "150%"}))["resources"]
    assert resources["limits"] == {"cpu": "1500m", "memory": "512Mi"}
    assert "limits" not in container(made())["resources"]


def test_an_app_with_one_pod_does_not_keep_a_node_from_being_emptied() -> None:
    kinds = [item["kind"] for item in made(kubernetes={"replicas": 1}).manifests()]
    assert "PodDisruptionBudget" not in kinds
    assert one(made(), "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1


def test_only_the_controller_reaches_the_pods_where_its_namespace_is_known() -> None:
    assert "NetworkPolicy" not in [item["kind"] for item in made().manifests()]
    (rule,) = one(made(kubernetes={"controller_namespace": "traefik"}), "NetworkPolicy")["spec"]["ingress"]
    (source,) = rule["from"]
    assert source["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "traefik"}
    assert [port["port"] for port in rule["ports"]] == [8080]


def test_variables_find_files_where_a_container_has_them() -> None:
    rendered = made(**EVERYTHING)
    found = one(rendered, "ConfigMap", "api-R-env")["data"]
    assert found == {"LEVEL": "info", "SETTINGS": "/wsgi/files/settings.cfg", "COUNT": "3"}
    mounts = {mount["mountPath"]: mount for mount in container(rendered)["volumeMounts"]}
    assert mounts["/wsgi/files"]["readOnly"] is True
    assert mounts["/wsgi/credentials"]["subPath"] == "credentials"


def test_static_files_are_those_of_the_image_and_uploads_those_of_the_volume() -> None:
    rendered = made(**EVERYTHING)
    assert "cp -R -p --parents app/static /static/" in container(rendered, "static")["command"][-1]
    mounts = {mount["mountPath"]: mount for mount in container(rendered, "nginx")["volumeMounts"]}
    assert mounts["/var/lib/api"]["readOnly"] is True
    assert mounts["/srv/api/current/app/src"]["name"] == "static"
    assert "initContainers" not in pod(made())


@pytest.mark.parametrize("kind", ["ingress", "gateway", "none"])
def test_routes(kind: str) -> None:
    rendered = made(kubernetes={"route": kind, "gateway": "edge/public"})
    found = {item["kind"]: item for item in rendered.after if item["kind"] in ("Ingress", "HTTPRoute")}
    assert list(found) == {"ingress": ["Ingress"], "gateway": ["HTTPRoute"], "none": []}[kind]
    if kind == "ingress":
        spec = found["Ingress"]["spec"]
        assert spec["ingressClassName"] == "traefik"
        assert spec["tls"] == [{"hosts": ["api.example.com"]}]
    if kind == "gateway":
        (parent,) = found["HTTPRoute"]["spec"]["parentRefs"]
        assert (parent["namespace"], parent["name"]) == ("edge", "public")


@pytest.mark.parametrize("kind", ["ingress", "gateway"])
def test_an_app_below_a_path_is_led_to_by_it_and_leaves_the_certificate_to_the_other(kind: str) -> None:
    settings = {"route": kind, "gateway": "edge/public", "tls_issuer": "letsencrypt"}
    health = {"health_path": "/healthz", "health_status": ["200"]}
    rendered = made(kubernetes=settings, release=health, path="/shop", site="front", tls="off", scheme="https")
    assert "Certificate" not in [item["kind"] for item in rendered.after]
    assert container(rendered, "nginx")["readinessProbe"]["httpGet"]["path"] == "/shop/healthz"
    if kind == "ingress":
        spec = one(rendered, "Ingress")["spec"]
        assert spec["rules"][0]["http"]["paths"][0]["path"] == "/shop"
        assert spec["tls"] == [{"hosts": ["api.example.com"]}]
    else:
        (rule,) = one(rendered, "HTTPRoute")["spec"]["rules"]
        assert rule["matches"] == [{"path": {"type": "PathPrefix", "value": "/shop"}}]


def test_certificates_of_an_issuer_are_in_a_secret() -> None:
    issued = made(kubernetes={"tls_issuer": "letsencrypt"})
    ingress, certificate = one(issued, "Ingress"), one(issued, "Certificate")["spec"]
    assert (certificate["secretName"], certificate["dnsNames"]) == ("api-tls", ingress["spec"]["tls"][0]["hosts"])
    assert certificate["issuerRef"] == {"group": "cert-manager.io", "kind": "ClusterIssuer", "name": "letsencrypt"}
    assert ingress["spec"]["tls"][0]["secretName"] == "api-tls"
    plain = one(made(kubernetes={"tls_issuer": "letsencrypt"}, tls="off"), "Ingress")
    assert "tls" not in plain["spec"]


def test_a_hook_runs_once() -> None:
    job = made(**EVERYTHING).hooks["before_activate"]["spec"]
    assert job["backoffLimit"] == 0
    assert job["template"]["spec"]["restartPolicy"] == "Never"
    assert job["activeDeadlineSeconds"] == 300


def test_timers_do_not_overlap() -> None:
    spec = one(made(**EVERYTHING), "CronJob")["spec"]
    assert (spec["schedule"], spec["timeZone"], spec["concurrencyPolicy"]) == ("0 0 * * *", "Etc/UTC", "Forbid")
