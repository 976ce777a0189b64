# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What only a cluster can say of what is asked of it: version, classes, Gateways, hosts of others, rights."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.cluster import FORBIDDEN, Cluster
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.kubeconfig import ClusterError
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.names import MANAGED, MANAGER

Manifest = dict[str, Any]

OLDEST = (1, 31)

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
    if "Namespace" not in kinds and not _there(cluster, "Namespace", "", namespaced):
        yield f"namespace {namespaced} is not there; make it, or write kubernetes_create_namespace: true"
    for manifest in manifests:
        if manifest["kind"] == "Ingress":
            yield from _ingress(cluster, manifest, "Certificate" in kinds)
            yield from _taken(cluster, manifest, "Ingress")
        if manifest["kind"] == "HTTPRoute":
            yield from _gateway(cluster, manifest)
            yield from _taken(cluster, manifest, "HTTPRoute")
        if manifest["kind"] == "Certificate":
            yield from _issuer(cluster, manifest)


def strangers(cluster: Cluster, manifests: list[Manifest], own: Collection[tuple[str, str]]) -> Iterator[str]:
    """Objects of somebody else's that have the names of ours; we would change, or remove, what we know nothing of.

    Args:
        cluster: The cluster.
        manifests: All of an app.
        own: Kind and name of what the cluster has of the app.
    """
    for manifest in manifests:
        kind, metadata = manifest["kind"], manifest["metadata"]
        name, namespace = metadata["name"], metadata.get("namespace", "")
        found = None if (kind, name) in own else _seen(cluster, kind, namespace, name)
        if found is None or (found["metadata"].get("labels") or {}).get(MANAGED) == MANAGER:
            continue
        if kind == "Namespace":
            yield (
                f"namespace {name} is there, and not of webops.wsgi, which would have it refuse pods that are not "
                f"restricted; write kubernetes_create_namespace: false, or have it ours with "
                f"kubectl label namespace {name} {MANAGED}={MANAGER}"
            )
        else:
            yield (
                f"{kind} {name} of namespace {namespace} is there, and not of webops.wsgi; rename the app, write "
                f"another kubernetes_namespace, or remove that {kind}"
            )


def _ingress(cluster: Cluster, ingress: Manifest, certified: bool) -> Iterator[str]:
    name = ingress["spec"]["ingressClassName"]
    if not _there(cluster, "IngressClass", "", name):
        there = sorted(item["metadata"]["name"] for item in cluster.find("IngressClass", ""))
        known = f"it has {', '.join(there)}" if there else "it has none; install a controller"
        yield f"kubernetes_ingress_class is {name}, which the cluster does not have; {known}"
        return
    controller = (_seen(cluster, "IngressClass", "", name) or {"spec": {}})["spec"].get("controller", "")
    for annotation in ingress["metadata"].get("annotations") or {}:
        owner = next((own for prefix, own in ANNOTATIONS.items() if annotation.startswith(prefix)), "")
        if owner and controller and not controller.startswith(owner):
            yield (
                f"kubernetes_annotations has {annotation}, which {controller}, the controller of class {name}, "
                "ignores; remove it, or write its own"
            )
    annotations = ingress["metadata"].get("annotations") or {}
    issued = certified or any(annotation.startswith("cert-manager.io/") for annotation in annotations)
    for entry in ingress["spec"].get("tls") or []:
        secret, where = entry.get("secretName"), ingress["metadata"]["namespace"]
        if secret and not issued and not _there(cluster, "Secret", where, secret):
            yield (
                f"kubernetes_tls_secret is {secret}, which namespace {where} does not have; make it with "
                f"kubectl -n {where} create secret tls {secret} --cert=... --key=..., or write kubernetes_tls_issuer"
            )


def _issuer(cluster: Cluster, certificate: Manifest) -> Iterator[str]:
    asked, namespace = certificate["spec"]["issuerRef"], certificate["metadata"]["namespace"]
    if _there(cluster, asked["kind"], namespace, asked["name"]):
        return
    there = sorted(item["metadata"]["name"] for item in cluster.find(asked["kind"], namespace))
    known = f"it has {', '.join(there)}" if there else "it has none, or no cert-manager"
    yield (
        f"kubernetes_tls_issuer is {asked['name']}, and the cluster does not have that {asked['kind']}; {known}; "
        "make it, or write kubernetes_tls_issuer_kind"
    )


def _gateway(cluster: Cluster, route: Manifest) -> Iterator[str]:
    for parent in route["spec"]["parentRefs"]:
        name = f"{parent['namespace']}/{parent['name']}"
        if not _there(cluster, "Gateway", parent["namespace"], parent["name"]):
            there = sorted(
                f"{item['metadata']['namespace']}/{item['metadata']['name']}" for item in cluster.find("Gateway", "")
            )
            known = f"it has {', '.join(there)}" if there else "it has none, or no Gateway API"
            yield f"kubernetes_gateway is {name}, which the cluster does not have; {known}"
            continue
        found = _seen(cluster, "Gateway", parent["namespace"], parent["name"])
        listeners = [listener["name"] for listener in (found or {"spec": {}})["spec"].get("listeners") or []]
        wanted = parent.get("sectionName")
        if found and wanted and wanted not in listeners:
            known = ", ".join(listeners)
            yield f"kubernetes_gateway_listener is {wanted}, which Gateway {name} does not have; it has {known}"


def _taken(cluster: Cluster, manifest: Manifest, kind: str) -> Iterator[str]:
    """Host names that another object has, so that nobody could say which of them is served."""
    own = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
    places = _hosts(manifest)
    try:
        others = cluster.find(kind, "")
    except ClusterError as error:
        if error.status != FORBIDDEN:
            raise
        others = cluster.find(kind, own[0])
    for other in others:
        found = other["metadata"]["namespace"], other["metadata"]["name"]
        same = sorted(places & _hosts(other))
        if found != own and same and _parents(other) == _parents(manifest):
            yield f"domains has {same[0]}, which {kind} {'/'.join(found)} has too; keep it in one of them"


def _hosts(manifest: Manifest) -> set[str]:
    """Host names with the paths that are led to."""
    rules = manifest["spec"].get("rules") or []
    found = _of_route(manifest, rules) if manifest["kind"] == "HTTPRoute" else _of_ingress(rules)
    return {place.rstrip("/") for place in found}


def _of_ingress(rules: list[Manifest]) -> Iterator[str]:
    for rule in rules:
        for path in (rule.get("http") or {}).get("paths") or []:
            yield f"{rule.get('host', '')}{path.get('path', '/')}"


def _of_route(route: Manifest, rules: list[Manifest]) -> Iterator[str]:
    for rule in rules:
        for match in rule.get("matches") or [{}]:
            for host in route["spec"].get("hostnames") or []:
                yield f"{host}{(match.get('path') or {}).get('value', '/')}"


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


def _seen(cluster: Cluster, kind: str, namespace: str, name: str) -> Manifest | None:
    """An object; None where we may not look at it."""
    try:
        return cluster.get(kind, namespace, name)
    except ClusterError as error:
        if error.status != FORBIDDEN:
            raise
        return None
