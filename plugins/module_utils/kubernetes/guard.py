# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What only a cluster can say of what is asked of it: version, classes, Gateways, hosts of others, rights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.cluster import (
    FORBIDDEN,
    KINDS,
    Cluster,
    ClusterError,
)
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.view import KINDS as OURS

Manifest = dict[str, Any]

OLDEST = (1, 31)
VERBS: tuple[str, ...] = ("get", "list", "create", "patch", "delete")

# What a controller's annotations begin with, by what an IngressClass says of its controller.
ANNOTATIONS = {
    "traefik.ingress.kubernetes.io/": "traefik.io/ingress-controller",
    "nginx.ingress.kubernetes.io/": "k8s.io/ingress-nginx",
    "nginx.org/": "nginx.org/ingress-controller",
    "haproxy.org/": "haproxy.org/ingress-controller",
    "haproxy-ingress.github.io/": "haproxy-ingress.github.io/controller",
    "projectcontour.io/": "projectcontour.io/",
}


def problems(cluster: Cluster, manifests: list[Manifest], namespaced: str) -> Iterator[str]:
    """What keeps manifests from doing what they should, each with what to do about it.

    Args:
        cluster: The cluster.
        manifests: All of an app.
        namespaced: Its namespace.
    """
    version = cluster.version()
    if version < OLDEST:
        least = ".".join(map(str, OLDEST))
        yield f"the cluster has Kubernetes {version[0]}.{version[1]}; webops.wsgi needs {least} or newer"
    kinds = {manifest["kind"] for manifest in manifests}
    if "Namespace" not in kinds and cluster.get("Namespace", "", namespaced) is None:
        yield f"namespace {namespaced} is not there; make it, or write kubernetes_create_namespace: true"
    for manifest in manifests:
        if manifest["kind"] == "Ingress":
            yield from _ingress(cluster, manifest)
            yield from _taken(cluster, manifest, "Ingress")
        if manifest["kind"] == "HTTPRoute":
            yield from _gateway(cluster, manifest)
            yield from _taken(cluster, manifest, "HTTPRoute")


def _ingress(cluster: Cluster, ingress: Manifest) -> Iterator[str]:
    name = ingress["spec"]["ingressClassName"]
    found = cluster.get("IngressClass", "", name)
    if found is None:
        there = sorted(item["metadata"]["name"] for item in cluster.find("IngressClass", ""))
        known = f"it has {', '.join(there)}" if there else "it has none; install a controller"
        yield f"kubernetes_ingress_class is {name}, which the cluster does not have; {known}"
        return
    controller = found["spec"].get("controller", "")
    for annotation in ingress["metadata"].get("annotations") or {}:
        owner = next((own for prefix, own in ANNOTATIONS.items() if annotation.startswith(prefix)), "")
        if owner and not controller.startswith(owner):
            yield (
                f"kubernetes_annotations has {annotation}, which {controller}, the controller of class {name}, "
                "ignores; remove it, or write its own"
            )
    annotations = ingress["metadata"].get("annotations") or {}
    issued = any(annotation.startswith("cert-manager.io/") for annotation in annotations)
    for entry in ingress["spec"].get("tls") or []:
        secret, where = entry.get("secretName"), ingress["metadata"]["namespace"]
        if secret and not issued and not _there(cluster, "Secret", where, secret):
            yield (
                f"kubernetes_tls_secret is {secret}, which namespace {where} does not have; make it with "
                f"kubectl -n {where} create secret tls {secret} --cert=... --key=..., or write kubernetes_tls_issuer"
            )


def _gateway(cluster: Cluster, route: Manifest) -> Iterator[str]:
    for parent in route["spec"]["parentRefs"]:
        name = f"{parent['namespace']}/{parent['name']}"
        found = cluster.get("Gateway", parent["namespace"], parent["name"])
        if found is None:
            there = sorted(
                f"{item['metadata']['namespace']}/{item['metadata']['name']}" for item in cluster.find("Gateway", "")
            )
            known = f"it has {', '.join(there)}" if there else "it has none, or no Gateway API"
            yield f"kubernetes_gateway is {name}, which the cluster does not have; {known}"
            continue
        listeners = [listener["name"] for listener in found["spec"]["listeners"]]
        wanted = parent.get("sectionName")
        if wanted and wanted not in listeners:
            known = ", ".join(listeners)
            yield f"kubernetes_gateway_listener is {wanted}, which Gateway {name} does not have; it has {known}"


def _taken(cluster: Cluster, manifest: Manifest, kind: str) -> Iterator[str]:
    """Host names that another object has, so that nobody could say which of them is served."""
    own = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
    names = set(_hosts(manifest))
    try:
        others = cluster.find(kind, "")
    except ClusterError as error:
        if error.status != FORBIDDEN:
            raise
        others = cluster.find(kind, own[0])
    for other in others:
        found = other["metadata"]["namespace"], other["metadata"]["name"]
        same = sorted(names & set(_hosts(other)))
        if found != own and same and _parents(other) == _parents(manifest):
            yield f"domains has {same[0]}, which {kind} {'/'.join(found)} has too; keep it in one of them"


def _hosts(manifest: Manifest) -> list[str]:
    spec = manifest["spec"]
    return [
        *(spec.get("hostnames") or []),
        *(rule.get("host", "") for rule in spec.get("rules") or [] if "host" in rule),
    ]


def _parents(manifest: Manifest) -> list[Any]:
    spec = manifest["spec"]
    return [spec.get("ingressClassName"), [(one.get("namespace"), one["name"]) for one in spec.get("parentRefs") or []]]


def _there(cluster: Cluster, kind: str, namespace: str, name: str) -> bool:
    """Whether an object is there, as far as we may know."""
    try:
        return cluster.get(kind, namespace, name) is not None
    except ClusterError as error:
        if error.status != FORBIDDEN:
            raise
        return True


def missing_rights(cluster: Cluster, namespace: str, makes_namespace: bool, gateway: bool) -> list[Mapping[str, Any]]:
    """The rules that we lack, as a Role has them."""
    kinds = [kind for kind in OURS if gateway or kind != "HTTPRoute"]
    wanted = [(kind, "", VERBS) for kind in (*kinds, "Lease")]
    wanted += [("Pod", "", ("list",)), ("Pod", "log", ("get",)), ("EndpointSlice", "", ("list",))]
    if makes_namespace:
        wanted.append(("Namespace", "", ("get", "patch", "create")))
    found: list[Mapping[str, Any]] = []
    for kind, subresource, verbs in wanted:
        lacking = [verb for verb in verbs if not cluster.allowed(verb, kind, namespace, subresource)]
        if lacking:
            resource = f"{KINDS[kind].plural}{f'/{subresource}' if subresource else ''}"
            found.append({"apiGroups": [KINDS[kind].group], "resources": [resource], "verbs": lacking})
    return found


def role(namespace: str, rules: list[Mapping[str, Any]]) -> str:
    """What to give to whom we are, as a person applies it."""
    lines = [
        "apiVersion: rbac.authorization.k8s.io/v1",
        "kind: Role",
        f"metadata: {{name: webops-wsgi, namespace: {namespace}}}",
        "rules:",
    ]
    for rule in rules:
        groups = ", ".join(f'"{group}"' for group in rule["apiGroups"])
        resources, verbs = ", ".join(rule["resources"]), ", ".join(rule["verbs"])
        lines.append(f"  - {{apiGroups: [{groups}], resources: [{resources}], verbs: [{verbs}]}}")
    return "\n".join(lines)
