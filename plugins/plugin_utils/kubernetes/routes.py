# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How clients reach a Service: Ingress, or HTTPRoute of a Gateway."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.names import MANAGED, MANAGER, NAME

Data = Mapping[str, Any]
Manifest = dict[str, Any]


def routes(app: Data, namespace: str) -> list[Manifest]:
    """The objects that lead clients to the Service of an app."""
    kind = app["kubernetes"]["route"] if app["domains"] else "none"
    if kind == "gateway":
        return [_http_route(app, namespace)]
    return [*_certificate(app, namespace), _ingress(app, namespace)] if kind == "ingress" else []


def tls_secret(app: Data) -> str:
    """The Secret with the certificate; empty for the one that the controller has itself."""
    settings = app["kubernetes"]
    if app["scheme"] != "https":
        return ""
    return str(settings["tls_secret"] or (f"{app['name']}-tls" if _issued(app) else ""))


def _issued(app: Data) -> bool:
    """Whether the app has a certificate made; below a path, that is the affair of the app that has the domains."""
    return bool(app["kubernetes"]["tls_issuer"] and app["scheme"] == "https" and app["path"] == "/")


def _metadata(app: Data, namespace: str) -> Manifest:
    return {"name": app["name"], "namespace": namespace, "labels": {NAME: app["name"], MANAGED: MANAGER}}


def _annotated(app: Data, namespace: str) -> Manifest:
    annotations = {str(name): str(value) for name, value in app["kubernetes"]["annotations"].items()}
    return {**_metadata(app, namespace), **({"annotations": annotations} if annotations else {})}


def _certificate(app: Data, namespace: str) -> list[Manifest]:
    """What cert-manager makes the Secret of; without one, it is somebody's own."""
    settings = app["kubernetes"]
    if not _issued(app):
        return []
    issuer = {"group": "cert-manager.io", "kind": settings["tls_issuer_kind"], "name": settings["tls_issuer"]}
    spec = {
        "secretName": tls_secret(app),
        "dnsNames": list(app["domains"]),
        "issuerRef": issuer,
        "privateKey": {"rotationPolicy": "Always"},
    }
    metadata = _metadata(app, namespace)
    return [{"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": metadata, "spec": spec}]


def _ingress(app: Data, namespace: str) -> Manifest:
    settings = app["kubernetes"]
    backend = {"service": {"name": app["name"], "port": {"name": "http"}}}
    http = {"paths": [{"path": app["path"], "pathType": "Prefix", "backend": backend}]}
    spec: Manifest = {
        "ingressClassName": settings["ingress_class"],
        "rules": [{"host": domain, "http": http} for domain in app["domains"]],
    }
    if app["scheme"] == "https":
        secret = tls_secret(app)
        spec["tls"] = [{"hosts": list(app["domains"]), **({"secretName": secret} if secret else {})}]
    metadata = _annotated(app, namespace)
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata, "spec": spec}


def _http_route(app: Data, namespace: str) -> Manifest:
    settings = app["kubernetes"]
    where, _slash, gateway = settings["gateway"].rpartition("/")
    parent = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": gateway, "namespace": where or namespace}
    if settings["gateway_listener"]:
        parent["sectionName"] = settings["gateway_listener"]
    backend = {"group": "", "kind": "Service", "name": app["name"], "port": 80, "weight": 1}
    rule = {"matches": [{"path": {"type": "PathPrefix", "value": app["path"]}}], "backendRefs": [backend]}
    spec = {"parentRefs": [parent], "hostnames": list(app["domains"]), "rules": [rule]}
    metadata = _annotated(app, namespace)
    return {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": metadata, "spec": spec}
