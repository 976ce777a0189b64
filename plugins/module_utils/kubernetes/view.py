# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cluster has of an app: its objects, its releases, and which of them serves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.cluster import FORBIDDEN, Cluster
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.kubeconfig import ClusterError
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.names import (
    COMPONENT,
    MANAGED,
    MANAGER,
    NAME,
    NUMBER,
    PROVED,
    RELEASE,
    WEB,
)

Manifest = dict[str, Any]
Key = tuple[str, str]  # kind and name

# Of no cluster's own. Who has none of them may lack the right to look for them as well.
FOREIGN = ("HTTPRoute", "Certificate")

# In the order in which they are removed: what leads to an app before what serves it.
KINDS = (
    "Ingress",
    "HTTPRoute",
    "Certificate",
    "HorizontalPodAutoscaler",
    "PodDisruptionBudget",
    "Service",
    "CronJob",
    "Job",
    "Deployment",
    "NetworkPolicy",
    "ConfigMap",
    "Secret",
    "ServiceAccount",
    "PersistentVolumeClaim",
)


@dataclass(frozen=True)
class Release:
    """A release as the cluster knows it.

    Attributes:
        name: The digest that names it.
        number: Its number among the app's releases.
        proved: When it had served as it should; empty for one that has not.
    """

    name: str
    number: int
    proved: str = ""


@dataclass(frozen=True)
class View:
    """The objects of an app.

    Attributes:
        app: Its name.
        namespace: Where they are.
        live: They, by kind and name.
    """

    app: str
    namespace: str
    live: dict[Key, Manifest] = field(default_factory=dict)

    @property
    def labels(self) -> dict[str, str]:
        """By which they are found."""
        return {NAME: self.app, MANAGED: MANAGER}

    @property
    def current(self) -> str:
        """The release that clients are led to; empty for none."""
        service = self.live.get(("Service", self.app), {"metadata": {}})
        return str((service["metadata"].get("annotations") or {}).get(RELEASE, ""))

    def releases(self) -> list[Release]:
        """All releases, the newest first."""
        found = []
        for (kind, name), item in self.live.items():
            release = release_of(item)
            if kind == "ConfigMap" and name == f"{self.app}-{release}":
                notes = item["metadata"].get("annotations") or {}
                found.append(Release(release, int(notes.get(NUMBER, 0)), notes.get(PROVED, "")))
        return sorted(found, key=lambda one: -one.number)

    def of(self, release: str) -> list[Manifest]:
        """The objects of a release."""
        return [item for item in self.live.values() if release_of(item) == release]

    def deployments(self, release: str) -> list[Manifest]:
        """Its Deployments."""
        return [item for item in self.of(release) if item["kind"] == "Deployment"]

    def web(self, release: str) -> Manifest | None:
        """The Deployment that serves."""
        found = (item for item in self.deployments(release) if item["metadata"]["labels"].get(COMPONENT) == WEB)
        return next(found, None)

    def others(self, release: str) -> Iterator[Manifest]:
        """Objects of every other release."""
        return (item for item in self.live.values() if release_of(item) not in ("", release))


def release_of(item: Manifest) -> str:
    """The release that an object belongs to; empty for one of the app itself."""
    return str((item["metadata"].get("labels") or {}).get(RELEASE, ""))


def read(cluster: Cluster, app: str, namespace: str) -> View:
    """What a cluster has of an app."""
    view = View(app, namespace)
    for kind in KINDS:
        for item in _found(cluster, kind, namespace, view.labels):
            view.live[kind, item["metadata"]["name"]] = item
    return view


def _found(cluster: Cluster, kind: str, namespace: str, labels: dict[str, str]) -> list[Manifest]:
    try:
        return cluster.find(kind, namespace, labels)
    except ClusterError as error:
        if kind in FOREIGN and error.status == FORBIDDEN:
            return []
        raise
