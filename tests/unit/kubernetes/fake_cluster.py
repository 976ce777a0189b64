"""A cluster in memory: what is applied is there, and Deployments have their pods at once, but for those that fail."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.cluster import CONFLICT, FORBIDDEN
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.kubeconfig import ClusterError
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.names import RELEASE

Manifest = dict[str, Any]


class FakeCluster:
    """As C(Cluster) is used.

    Attributes:
        store: Objects by kind and name.
        did: What was changed, in its order.
        broken: Part of the names of Deployments whose pods crash.
        restarts: Restarts that each look at a pod finds.
        hidden: Kinds that we have no right to look at.
        lacking: Kinds that we have no right to change.
    """

    def __init__(self) -> None:
        self.store: dict[tuple[str, str], Manifest] = {}
        self.did: list[str] = []
        self.broken = ""
        self.jobs_fail = False
        self.restarts = 0
        self.logged = "RuntimeError: no such table\n"
        self.hidden: Sequence[str] = ()
        self.lacking: Sequence[str] = ()
        self.replaced: dict[tuple[str, str], Manifest] = {}

    def version(self) -> tuple[int, int]:
        return 1, 34

    def user(self) -> str:
        return "ann"

    def allowed(self, _verb: str, kind: str, *_where: str) -> bool:
        return kind not in self.lacking

    def get(self, kind: str, _namespace: str, name: str) -> Manifest | None:
        self._look(kind)
        if kind == "IngressClass":
            return {"metadata": {"name": name}, "spec": {"controller": "traefik.io/ingress-controller"}}
        if kind == "Gateway":
            return {"metadata": {"name": name}, "spec": {"listeners": [{"name": "web"}]}}
        found = self.store.get((kind, name))
        return copy.deepcopy(self._seen(found)) if found else None

    def find(self, kind: str, namespace: str, labels: Mapping[str, str] | None = None) -> list[Manifest]:
        self._look(kind)
        if kind == "Pod":
            return self._pods(labels or {})
        if kind == "ReplicaSet":
            return [copy.deepcopy(item) for item in self.replaced.values() if _has(item, labels or {})]
        if kind == "EndpointSlice":
            return [self._ends((labels or {})["kubernetes.io/service-name"])]
        every = [item for (of, _name), item in self.store.items() if of == kind]
        return [copy.deepcopy(self._seen(item)) for item in every if _has(item, labels or {})]

    def apply(self, manifest: Manifest, dry: bool = False) -> Manifest:
        key = manifest["kind"], manifest["metadata"]["name"]
        before = self.store.get(key, {"metadata": {}, "spec": {}})
        after = _merged(before, manifest)
        if not dry:
            if after != before:
                self.did.append(f"apply {key[0]} {key[1]}")
            self.store[key] = after
            if key[0] == "Deployment":
                self._replace(after)
        return copy.deepcopy(self._seen(after))

    def patch(self, kind: str, _namespace: str, name: str, change: Manifest, dry: bool = False) -> Manifest:
        self._look(kind)
        if kind == "Pod":
            return {}
        self.did.append(f"patch {kind} {name} {change.get('spec', '')}".rstrip())
        self.store[kind, name] = _merged(self.store[kind, name], change)
        return self.store[kind, name]

    def create(self, manifest: Manifest) -> Manifest:
        key = manifest["kind"], manifest["metadata"]["name"]
        if key in self.store:
            raise ClusterError("there already", CONFLICT)
        self.store[key] = copy.deepcopy(manifest)
        return manifest

    def delete(self, kind: str, _namespace: str, name: str) -> None:
        self.did.append(f"delete {kind} {name}")
        self.store.pop((kind, name), None)

    def log(self, *_asked: Any) -> str:
        return self.logged

    def events(self, *_asked: str) -> list[Manifest]:
        return []

    def _look(self, kind: str) -> None:
        if kind in self.hidden:
            raise ClusterError(f"{kind} is forbidden: User ann cannot look", FORBIDDEN)

    def _replace(self, deployment: Manifest) -> None:
        """Keep what its pods are, as a ReplicaSet."""
        name, template = deployment["metadata"]["name"], copy.deepcopy(deployment["spec"]["template"])
        template["metadata"]["labels"]["pod-template-hash"] = "0"
        kept = {"labels": template["metadata"]["labels"], "ownerReferences": [{"name": name}]}
        release = template["metadata"]["labels"][RELEASE]
        spec = {"template": template, "replicas": 0}
        self.replaced[name, release] = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": kept, "spec": spec}

    def _seen(self, item: Manifest) -> Manifest:
        """With what a controller says of it."""
        if item["kind"] == "Deployment":
            item = copy.deepcopy(item)
            number = item["spec"].setdefault("replicas", 1)
            counted = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), number)
            fine = not (self.broken and self.broken in item["metadata"]["name"])
            item["metadata"]["generation"] = 1
            item["status"] = {"observedGeneration": 1, **(counted if fine else {})}
        if item["kind"] == "Job":
            failed = [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "once"}]
            return {**item, "status": {"conditions": failed} if self.jobs_fail else {"succeeded": 1}}
        return item

    def _pods(self, labels: Mapping[str, str]) -> list[Manifest]:
        found = []
        for (kind, name), item in self.store.items():
            if kind != "Deployment" or not _has(item["spec"]["template"], labels):
                continue
            crashed = bool(self.broken and self.broken in name)
            ended = {"terminated": {"exitCode": 3, "reason": "Error"}}
            state = {"name": "app", "ready": not crashed, "restartCount": self.restarts}
            state |= {"state": ended if crashed else {"running": {}}}
            self.restarts += bool(self.restarts)
            for number in range(item["spec"].get("replicas", 1)):
                own = {"name": f"{name}-{number}", "labels": item["spec"]["template"]["metadata"]["labels"]}
                found.append({"metadata": own, "spec": {}, "status": {"containerStatuses": [dict(state)]}})
        return found

    def _ends(self, service: str) -> Manifest:
        selector = self.store["Service", service]["spec"]["selector"]
        names = [pod["metadata"]["name"] for pod in self._pods(selector)]
        return {"endpoints": [{"targetRef": {"name": name}, "conditions": {"ready": True}} for name in names]}


def _has(item: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    return labels.items() <= (item["metadata"].get("labels") or {}).items()


def _merged(before: Any, after: Any, key: str = "") -> Any:
    # A selector is one whole for the API server.
    if key == "selector" or not (isinstance(before, dict) and isinstance(after, dict)):
        return copy.deepcopy(after)
    return {
        name: _merged(before.get(name), after[name], name) if name in after else before[name]
        for name in {**before, **after}
    }
