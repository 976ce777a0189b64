# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects of an app on Kubernetes: a resolved app and its files in, manifests out.

What belongs to a release is named by a digest of all that it is made of and never changes; the rest belongs to the app.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.names import (
    COMPONENT,
    MANAGED,
    MANAGER,
    NAME,
    PODS,
    RELEASE,
    WEB,
)
from ansible_collections.webops.wsgi.plugins.plugin_utils.kubernetes import pods, routes
from ansible_collections.webops.wsgi.plugins.plugin_utils.kubernetes.proxy import PORT
from ansible_collections.webops.wsgi.plugins.plugin_utils.kubernetes.schedule import cron
from ansible_collections.webops.wsgi.plugins.plugin_utils.managers.processes import HOOKS

Manifest = dict[str, Any]
Data = Mapping[str, Any]

HISTORY = 10  # releases of a Deployment that Kubernetes keeps where nobody says a number; those that failed count
PROVED_BY = 600  # seconds of a Deployment's own time limit, which a run does not wait for


@dataclass(frozen=True)
class Texts:
    """What an app's containers find in their files.

    Attributes:
        server: Below C(/wsgi), by name, with permissions: the server's settings, C(start), commands, the health check.
        proxy: nginx's configuration, by name.
        passwords: nginx's password files, by name.
    """

    server: Mapping[str, tuple[str, int]]
    proxy: Mapping[str, str]
    passwords: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Rendered:
    """Everything of an app.

    Attributes:
        app: Its name.
        namespace: Where it is.
        release: What the release is named by.
        before: Objects that a release needs to start.
        release_objects: Objects of the release; how many pods its Deployments have is not in them.
        hooks: Jobs by the setting that names their command.
        replicas: Pods of each Deployment, by name; 0 for one whose number is the HorizontalPodAutoscaler's.
        service: The Service that clients reach.
        after: Objects that lead to it, or judge it.
    """

    app: str
    namespace: str
    release: str
    before: list[Manifest]
    release_objects: list[Manifest]
    hooks: dict[str, Manifest]
    replicas: dict[str, int]
    service: Manifest
    after: list[Manifest]

    def manifests(self) -> list[Manifest]:
        """All of them in the order in which they can be applied, but for hooks."""
        return [*self.before, *self.release_objects, self.service, *self.after]


def namespace(app: Data) -> str:
    """The namespace of an app."""
    return str(app["kubernetes"]["namespace"] or app["name"])


def image(app: Data) -> str:
    """The image of an app; empty where the inventory names none."""
    return str(app["kubernetes"]["image"] or app["source"].get("image") or "")


def render(app: Data, texts: Texts) -> Rendered:
    """The objects of an app that is to be there.

    Args:
        app: The resolved app.
        texts: What is in its files.
    """
    maker = _Maker(app, texts)
    return maker.rendered()


def digest(*parts: Any) -> str:
    """Short name of what a release is made of."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:10]


class _Maker:
    """Makes the objects of one app."""

    def __init__(self, app: Data, texts: Texts) -> None:
        self.app = app
        self.texts = texts
        self.settings: Data = app["kubernetes"]
        self.name: str = app["name"]
        self.namespace = namespace(app)
        self.rolling = self.settings["strategy"] == "rolling"
        self.pod = pods.Pod(app, image(app), texts.server, texts.proxy, texts.passwords)
        parts = [self.pod.web("", {}), dict(texts.server), dict(texts.proxy), dict(texts.passwords)]
        parts += [app["env"], app["secrets"], app["credentials"], app["files"], app["workers"], app["timers"]]
        self.release = digest(*parts, [app["release"][setting] for setting in HOOKS.values()], self.rolling)

    def rendered(self) -> Rendered:
        web = self.name if self.rolling else f"{self.name}-{self.release}"
        scaled = bool(self.settings["replicas_max"])
        replicas = {web: 0 if scaled else self.settings["replicas"]}
        replicas |= {self._of_worker(worker["name"]): worker["replicas"] for worker in self.app["workers"]}
        deployments = [self._web(web), *map(self._worker, self.app["workers"])]
        return Rendered(
            app=self.name,
            namespace=self.namespace,
            release=self.release,
            before=[*self._namespace(), self._account(), *self._claim(), *self._policy()],
            release_objects=[*self._configuration(), *deployments, *map(self._timer, self.app["timers"])],
            hooks=dict(self._hooks()),
            replicas=replicas,
            service=self._service(),
            after=[*routes.routes(self.app, self.namespace), *self._scaler(web), *self._budget()],
        )

    # ------------------------------------------------------------ what every object has

    def _labels(self, component: str = "", release: bool = False) -> dict[str, str]:
        labels = {NAME: self.name, MANAGED: MANAGER}
        if component:
            labels[COMPONENT] = component
        if release:
            labels[RELEASE] = self.release
        return labels

    def _object(self, api: str, kind: str, name: str, labels: Mapping[str, str], **rest: Any) -> Manifest:
        metadata = {"name": name, "namespace": self.namespace, "labels": dict(labels)}
        return {"apiVersion": api, "kind": kind, "metadata": metadata, **rest}

    def _own(self, suffix: str = "") -> str:
        """Name of an object of the release."""
        return f"{self.name}-{self.release}{suffix}"

    def _of_worker(self, name: str) -> str:
        return f"{self.name}-{name}" if self.rolling else self._own(f"-{name}")

    # ------------------------------------------------------------ of the app

    def _namespace(self) -> list[Manifest]:
        if not self.settings["create_namespace"]:
            return []
        labels = {"pod-security.kubernetes.io/enforce": "restricted", MANAGED: MANAGER}
        return [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace, "labels": labels}}]

    def _account(self) -> Manifest:
        return self._object("v1", "ServiceAccount", self.name, self._labels(), automountServiceAccountToken=False)

    def _claim(self) -> list[Manifest]:
        if not self.pod.persistent:
            return []
        spec: Manifest = {
            "accessModes": [self.settings["storage_access"]],
            "resources": {"requests": {"storage": self.settings["storage_size"]}},
        }
        if self.settings["storage_class"]:
            spec["storageClassName"] = self.settings["storage_class"]
        return [self._object("v1", "PersistentVolumeClaim", self.name, self._labels(), spec=spec)]

    def _policy(self) -> list[Manifest]:
        """Who may reach the pods: the controller. Probes of the node always may."""
        where = self.settings["controller_namespace"]
        if not where:
            return []
        source = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": where}}}
        spec = {
            "podSelector": {"matchLabels": {NAME: self.name}},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [source], "ports": [{"port": PORT, "protocol": "TCP"}]}],
        }
        return [self._object("networking.k8s.io/v1", "NetworkPolicy", self.name, self._labels(), spec=spec)]

    def _service(self) -> Manifest:
        """The one change of its selector is what leads clients to another release."""
        selector = {NAME: self.name, COMPONENT: WEB}
        if not self.rolling:
            selector[RELEASE] = self.release
        spec = {"selector": selector, "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}]}
        found = self._object("v1", "Service", self.name, self._labels(), spec=spec)
        found["metadata"]["annotations"] = {RELEASE: self.release}
        return found

    def _scaler(self, web: str) -> list[Manifest]:
        most = self.settings["replicas_max"]
        if not most:
            return []
        target = {"type": "Utilization", "averageUtilization": self.settings["cpu_percent"]}
        spec = {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": web},
            "minReplicas": self.settings["replicas"],
            "maxReplicas": most,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        }
        return [self._object("autoscaling/v2", "HorizontalPodAutoscaler", self.name, self._labels(), spec=spec)]

    def _budget(self) -> list[Manifest]:
        """Of an app with one pod there is none to keep, and a node could never be emptied."""
        if self.settings["replicas"] < 2:
            return []
        spec = {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": {NAME: self.name, COMPONENT: WEB}},
        }
        return [self._object("policy/v1", "PodDisruptionBudget", self.name, self._labels(), spec=spec)]

    # ------------------------------------------------------------ of the release

    def _configuration(self) -> list[Manifest]:
        labels = self._labels(release=True)
        texts = {pods.key(name): text for name, (text, _mode) in self.texts.server.items()}
        proxy = {pods.key(name): text for name, text in self.texts.proxy.items()}
        maps = {"": texts, "-env": self.pod.environment(), "-nginx": proxy}
        hidden = {
            "": {name: str(value) for name, value in self.app["secrets"].items()},
            "-files": self.pod.secret_files(),
            "-passwords": {pods.key(name): text for name, text in self.texts.passwords.items()},
        }
        plain = [
            self._object("v1", "ConfigMap", self._own(suffix), labels, immutable=True, data=data)
            for suffix, data in maps.items()
        ]
        secret = [
            self._object("v1", "Secret", self._own(suffix), labels, immutable=True, type="Opaque", data=_encoded(data))
            for suffix, data in hidden.items()
            if data
        ]
        return [*plain, *secret]

    def _deployment(self, name: str, component: str, pod: Manifest, pods_wanted: int) -> Manifest:
        selector = {NAME: self.name, COMPONENT: component}
        if not self.rolling:
            selector[RELEASE] = self.release
        spec = {
            "selector": {"matchLabels": selector},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            # By switch, releases are kept as Deployments of their own.
            "revisionHistoryLimit": max(HISTORY, self.app["release"]["keep"]) if self.rolling else 0,
            "progressDeadlineSeconds": PROVED_BY,
            "template": {"metadata": {"labels": self._labels(component, release=True)}, "spec": pod},
        }
        found = self._object("apps/v1", "Deployment", name, self._labels(component, release=True), spec=spec)
        found["metadata"]["annotations"] = {PODS: str(pods_wanted)}
        return found

    def _web(self, name: str) -> Manifest:
        selector = {NAME: self.name, COMPONENT: WEB, RELEASE: self.release}
        return self._deployment(name, WEB, self.pod.web(self._own(), selector), self.settings["replicas"])

    def _worker(self, worker: Data) -> Manifest:
        pod = self.pod.beside(self._own(), worker["name"], worker["stop_timeout"])
        return self._deployment(self._of_worker(worker["name"]), worker["name"], pod, worker["replicas"])

    def _timer(self, timer: Data) -> Manifest:
        pod = self.pod.beside(self._own(), timer["name"], pods.JOB_STOPS, restart="Never")
        labels = self._labels(timer["name"], release=True)
        spec = {
            "schedule": cron(timer["on_calendar"]),
            "timeZone": self.settings["time_zone"],
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": 3600,
            "successfulJobsHistoryLimit": 1,
            "failedJobsHistoryLimit": 1,
            "jobTemplate": {"metadata": {"labels": labels}, "spec": self._job(labels, pod, timer["timeout"])},
        }
        return self._object("batch/v1", "CronJob", self._own(f"-{timer['name']}"), labels, spec=spec)

    def _job(self, labels: Mapping[str, str], pod: Manifest, timeout: int) -> Manifest:
        return {
            "backoffLimit": 0,
            "activeDeadlineSeconds": timeout,
            "ttlSecondsAfterFinished": 86400,
            "template": {"metadata": {"labels": dict(labels)}, "spec": pod},
        }

    def _hooks(self) -> dict[str, Manifest]:
        found = {}
        for name, setting in HOOKS.items():
            if self.app["release"][setting]:
                labels = self._labels(name, release=True)
                pod = self.pod.beside(self._own(), name, pods.JOB_STOPS, restart="Never")
                job = self._job(labels, pod, self.app["release"]["hook_timeout"])
                found[setting] = self._object("batch/v1", "Job", self._own(f"-{name}"), labels, spec=job)
        return found


def _encoded(texts: Mapping[str, str]) -> dict[str, str]:
    return {name: base64.b64encode(text.encode()).decode() for name, text in texts.items()}
