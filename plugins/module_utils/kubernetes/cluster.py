# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The API server, asked over HTTPS as a kubeconfig says, with server-side apply.

The Python package C(kubernetes) reads the kubeconfig, with all its ways to log in. Requests are plain ones: of each
kind that is used here the path is known, so nothing needs to be discovered.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.kubeconfig import ClusterError, settings_of
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.names import MANAGER

Manifest = dict[str, Any]

SCALER = f"{MANAGER}/scale"  # of fields that change with a release's turn, and with the load
TIMEOUT = 30.0  # seconds of one request

UNAUTHORIZED, FORBIDDEN, NOT_FOUND, CONFLICT = 401, 403, 404, 409
NOBODY = '"system:anonymous"'.replace('"', '\\"')  # in what a refusal says, as JSON


@dataclass(frozen=True)
class Kind:
    """Where objects of a kind are.

    Attributes:
        api: Group and version.
        plural: Their name in paths.
        namespaced: Whether they are in a namespace.
    """

    api: str
    plural: str
    namespaced: bool = True

    @property
    def group(self) -> str:
        """The group, empty for the first one."""
        return self.api.rpartition("/")[0]


KINDS = {
    "Namespace": Kind("v1", "namespaces", namespaced=False),
    "ServiceAccount": Kind("v1", "serviceaccounts"),
    "ConfigMap": Kind("v1", "configmaps"),
    "Secret": Kind("v1", "secrets"),
    "PersistentVolumeClaim": Kind("v1", "persistentvolumeclaims"),
    "Service": Kind("v1", "services"),
    "Pod": Kind("v1", "pods"),
    "Deployment": Kind("apps/v1", "deployments"),
    "ReplicaSet": Kind("apps/v1", "replicasets"),
    "Job": Kind("batch/v1", "jobs"),
    "CronJob": Kind("batch/v1", "cronjobs"),
    "Ingress": Kind("networking.k8s.io/v1", "ingresses"),
    "IngressClass": Kind("networking.k8s.io/v1", "ingressclasses", namespaced=False),
    "NetworkPolicy": Kind("networking.k8s.io/v1", "networkpolicies"),
    "HorizontalPodAutoscaler": Kind("autoscaling/v2", "horizontalpodautoscalers"),
    "PodDisruptionBudget": Kind("policy/v1", "poddisruptionbudgets"),
    "HTTPRoute": Kind("gateway.networking.k8s.io/v1", "httproutes"),
    "Gateway": Kind("gateway.networking.k8s.io/v1", "gateways"),
    "Certificate": Kind("cert-manager.io/v1", "certificates"),
    "Issuer": Kind("cert-manager.io/v1", "issuers"),
    "ClusterIssuer": Kind("cert-manager.io/v1", "clusterissuers", namespaced=False),
    "EndpointSlice": Kind("discovery.k8s.io/v1", "endpointslices"),
    "Event": Kind("v1", "events"),
    "Lease": Kind("coordination.k8s.io/v1", "leases"),
    "SelfSubjectReview": Kind("authentication.k8s.io/v1", "selfsubjectreviews", namespaced=False),
    "SelfSubjectAccessReview": Kind("authorization.k8s.io/v1", "selfsubjectaccessreviews", namespaced=False),
}


class Cluster:
    """One cluster.

    Args:
        kubeconfig: File that says how it is reached; empty for the usual places.
        context: Context of that file; empty for its current one.
    """

    def __init__(self, kubeconfig: str = "", context: str = "") -> None:
        settings = settings_of(kubeconfig, context)
        import urllib3

        self.address = str(settings.host).rstrip("/")
        logins: Any = settings.auth_settings()
        self._headers = {found["key"]: found["value"] for found in logins.values()}
        # What could be sent twice without harm is, when a connection breaks.
        retries = urllib3.Retry(total=3, backoff_factor=0.3, status=0, redirect=0)
        options: dict[str, Any] = {
            "cert_reqs": "CERT_REQUIRED" if settings.verify_ssl else "CERT_NONE",
            "ca_certs": settings.ssl_ca_cert,
            "cert_file": settings.cert_file,
            "key_file": settings.key_file,
            "retries": retries,
            "timeout": urllib3.Timeout(connect=5.0, read=TIMEOUT),
        }
        if getattr(settings, "tls_server_name", None):
            options["server_hostname"] = settings.tls_server_name
        proxy = getattr(settings, "proxy", None)
        self._pool = urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)
        self._failures = (urllib3.exceptions.HTTPError, OSError)

    # ------------------------------------------------------------ objects

    def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """An object; None where there is none."""
        try:
            return self._json("GET", self._path(kind, namespace, name))
        except ClusterError as error:
            if error.status == NOT_FOUND:
                return None
            raise

    def find(self, kind: str, namespace: str, labels: Mapping[str, str] | None = None) -> list[Manifest]:
        """Objects of a kind with these labels; none of a kind that the cluster does not have."""
        query = {"labelSelector": ",".join(f"{name}={value}" for name, value in labels.items())} if labels else {}
        try:
            found: list[Manifest] = self._json("GET", self._path(kind, namespace), query).get("items") or []
        except ClusterError as error:
            if error.status == NOT_FOUND:
                return []
            raise
        return [{"apiVersion": KINDS[kind].api, "kind": kind, **item} for item in found]

    def events(self, namespace: str, pod: str) -> list[Manifest]:
        """What was noted of a pod; nothing where we may not know."""
        query = {"fieldSelector": f"involvedObject.kind=Pod,involvedObject.name={pod}"}
        try:
            found: list[Manifest] = self._json("GET", self._path("Event", namespace), query).get("items") or []
        except ClusterError:
            return []
        return found

    def apply(self, manifest: Manifest, dry: bool = False) -> Manifest:
        """Make an object what a manifest says; what that does not name is left to whoever set it."""
        query = {"fieldManager": MANAGER, "force": "true", "fieldValidation": "Strict"}
        metadata = manifest["metadata"]
        path = self._path(manifest["kind"], metadata.get("namespace", ""), metadata["name"])
        return self._json("PATCH", path, query, manifest, "application/apply-patch+yaml", dry=dry)

    def patch(self, kind: str, namespace: str, name: str, change: Manifest, dry: bool = False) -> Manifest:
        """Change some fields, in the name of who has them for a while."""
        query = {"fieldManager": SCALER}
        path = self._path(kind, namespace, name)
        return self._json("PATCH", path, query, change, "application/merge-patch+json", dry=dry)

    def create(self, manifest: Manifest) -> Manifest:
        """Make an object that is not there yet."""
        path = self._path(manifest["kind"], manifest["metadata"].get("namespace", ""))
        return self._json("POST", path, {"fieldManager": MANAGER}, manifest)

    def delete(self, kind: str, namespace: str, name: str) -> None:
        """Remove an object, and what belongs to it after it."""
        try:
            self._json("DELETE", self._path(kind, namespace, name), {"propagationPolicy": "Background"})
        except ClusterError as error:
            if error.status != NOT_FOUND:
                raise

    def log(self, namespace: str, pod: str, container: str, lines: int, previous: bool) -> str:
        """The last lines of a container's log; empty where there is none."""
        query = {"container": container, "tailLines": str(lines), "previous": "true" if previous else "false"}
        try:
            told = self._send("GET", f"{self._path('Pod', namespace, pod)}/log", query).decode(errors="replace")
        except ClusterError:
            return ""
        # Which a node says of a container that it has removed.
        return "" if told.startswith("unable to retrieve container logs") else told

    def allowed(self, verb: str, kind: str, namespace: str, subresource: str = "") -> bool:
        """Whether we may do something."""
        known = KINDS[kind]
        attributes = {"verb": verb, "group": known.group, "resource": known.plural, "subresource": subresource}
        if known.namespaced:
            attributes["namespace"] = namespace
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "metadata": {},
            "spec": {"resourceAttributes": attributes},
        }
        return bool(self.create(review)["status"]["allowed"])

    def user(self) -> str:
        """Who we are for the API server."""
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview", "metadata": {}}
        return str(self.create(review)["status"]["userInfo"]["username"])

    def version(self) -> tuple[int, int]:
        """Kubernetes' major and minor version."""
        told = self._json("GET", "/version")
        return int(told["major"]), int("".join(filter(str.isdigit, told["minor"])))

    # ------------------------------------------------------------ requests

    def _path(self, kind: str, namespace: str, name: str = "") -> str:
        known = KINDS[kind]
        root = "/api" if "/" not in known.api else "/apis"
        inside = f"/namespaces/{namespace}" if known.namespaced and namespace else ""
        return f"{root}/{known.api}{inside}/{known.plural}{f'/{name}' if name else ''}"

    def _json(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Manifest | None = None,
        content: str = "application/json",
        dry: bool = False,
    ) -> Manifest:
        options = {**(query or {}), **({"dryRun": "All"} if dry else {})}
        try:
            found: Manifest = json.loads(self._send(method, path, options, body, content))
        except ValueError:
            raise ClusterError(
                f"{self.address} answers, and not as the API server of a cluster does; correct server in the kubeconfig"
            ) from None
        return found

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Manifest | None = None,
        content: str = "application/json",
    ) -> bytes:
        headers = {**self._headers, "Accept": "application/json, */*"}
        if body is not None:
            headers["Content-Type"] = content
        url = f"{self.address}{path}{f'?{urlencode(query)}' if query else ''}"
        data = json.dumps(body).encode() if body is not None else None
        try:
            answer = self._pool.request(method, url, body=data, headers=headers)
        except self._failures as error:
            reason = getattr(error, "reason", None) or error
            raise ClusterError(f"{self.address} does not answer: {reason}") from None
        if answer.status == UNAUTHORIZED or (answer.status == FORBIDDEN and NOBODY.encode() in answer.data):
            raise ClusterError(
                f"{self.address} does not know who asks; the token, certificate or login program of the kubeconfig is "
                "missing, wrong or out of date, as kubectl auth whoami tells",
                UNAUTHORIZED,
            )
        if answer.status >= 300:
            raise ClusterError(_message(answer.data), answer.status)
        return bytes(answer.data)


def _message(data: bytes) -> str:
    """What the API server says of a refusal."""
    try:
        told = json.loads(data)
        return str(told.get("message") or told)
    except ValueError:
        return data.decode(errors="replace")[:500]
