# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One app on a cluster: what it is to be, what the cluster has of it, and the single changes that are made to it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes import compare, rights, view
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.cluster import FORBIDDEN, Cluster
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.kubeconfig import ClusterError
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.lease import alone
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.names import NUMBER
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.outcome import DeployError, Outcome
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.view import View
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.watch import Watch

Manifest = dict[str, Any]

ROLLING = "rolling"


class App:
    """One app of a cluster.

    Args:
        cluster: The cluster.
        asked: What the controller says of the app.
        check: Whether nothing is to be changed.
    """

    def __init__(self, cluster: Cluster, asked: Mapping[str, Any], check: bool) -> None:
        self.cluster = cluster
        self.asked = asked
        self.check = check
        self.name: str = asked["name"]
        self.namespace: str = asked["namespace"]
        self.rolling = asked.get("strategy") == ROLLING
        self.objects: Mapping[str, Any] = asked.get("objects") or {}
        self.outcome = Outcome()
        self.view = View(self.name, self.namespace)
        self.watch = self._watch(lambda: None)

    # ------------------------------------------------------------ what is, and is to be

    def read(self) -> View:
        """Look at what the cluster has."""
        self.view = view.read(self.cluster, self.name, self.namespace)
        return self.view

    def manifests(self) -> list[Manifest]:
        """All that is to be, in the order in which it can be applied."""
        objects = self.objects
        return [*objects["before"], *objects["release_objects"], objects["service"], *objects["after"]]

    def of_release(self, *kinds: str) -> list[Manifest]:
        """What is to be of the release."""
        return [item for item in self.objects["release_objects"] if item["kind"] in kinds]

    def live(self, manifest: Manifest) -> Manifest | None:
        """What the cluster has of it."""
        if manifest["kind"] == "Namespace":
            return self.cluster.get("Namespace", "", manifest["metadata"]["name"])
        return self.view.live.get((manifest["kind"], manifest["metadata"]["name"]))

    def number(self, release: str) -> int:
        """The number of a release."""
        found = self.cluster.get("ConfigMap", self.namespace, f"{self.name}-{release}") or {"metadata": {}}
        return int((found["metadata"].get("annotations") or {}).get(NUMBER, 0))

    # ------------------------------------------------------------ single changes

    def apply(self, manifests: list[Manifest]) -> None:
        """Have objects as manifests say."""
        for manifest in manifests:
            before = self.live(manifest)
            after = self.cluster.apply(manifest)
            if not compare.same(before, after):
                self.outcome.note(before, after)

    def remove(self, item: Manifest) -> None:
        """Remove an object."""
        if not self.check:
            self.cluster.delete(item["kind"], self.namespace, item["metadata"]["name"])
        self.outcome.note(item, None)

    def scale(self, name: str, number: int) -> None:
        """Have a Deployment start or stop pods."""
        self.cluster.patch("Deployment", self.namespace, name, {"spec": {"replicas": number}})
        self.outcome.changed = True

    def suspend(self, cron_job: Manifest, suspended: bool) -> None:
        """Have a CronJob pause, or go on."""
        name = cron_job["metadata"]["name"]
        self.cluster.patch("CronJob", self.namespace, name, {"spec": {"suspend": suspended}})
        self.outcome.changed = True

    def annotate(self, release: str, notes: Mapping[str, str]) -> None:
        """Note something of a release."""
        change = {"metadata": {"annotations": dict(notes)}}
        self.cluster.patch("ConfigMap", self.namespace, f"{self.name}-{release}", change)

    def count(self, release: str) -> None:
        """Give a release its number."""
        releases = self.view.releases()
        if not any(one.name == release and one.number for one in releases):
            highest = max((one.number for one in releases), default=0)
            self.annotate(release, {NUMBER: str(highest + 1)})

    def hook(self, setting: str) -> None:
        """Run a command of the release as a Job, and wait for its end."""
        job = self.objects["hooks"].get(setting)
        if not job:
            return
        name = job["metadata"]["name"]
        if self.cluster.get("Job", self.namespace, name):
            self.cluster.delete("Job", self.namespace, name)  # of a run that did not come to its end
            self.watch.gone_job(name)
        self.cluster.apply(job)
        self.outcome.say(f"ran {setting}")
        self.watch.job(name, float(self.asked["hook_timeout"]))

    # ------------------------------------------------------------ who may, and who else

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other runs out."""
        if self.objects:
            self.apply([item for item in self.objects["before"] if item["kind"] == "Namespace"])
        with alone(self.cluster, self.namespace, self.name, self.view.labels) as renew:
            self.watch = self._watch(renew)
            yield

    def check_rights(self) -> None:
        """See that we may do what we are about to do.

        Raises:
            DeployError: We may not; it says what to give us.
        """
        kinds = {item["kind"] for item in self.manifests()}
        lacking = rights.missing(self.cluster, self.namespace, kinds)
        if lacking:
            told = rights.told(self.cluster.user(), self.namespace, lacking)
            raise DeployError(f'app "{self.name}": {told}')

    @contextmanager
    def explained(self) -> Iterator[None]:
        """What the API server refuses, with the app's name, and with the rights that are missing."""
        try:
            yield
        except ClusterError as error:
            if error.status == FORBIDDEN and " cannot " in str(error) and self.objects:
                with suppress(ClusterError):
                    self.check_rights()
            raise DeployError(f'app "{self.name}": {error}') from None

    def _watch(self, meanwhile: Callable[[], None]) -> Watch:
        return Watch(self.cluster, self.namespace, self.name, self.asked.get("schedule_timeout", 15), meanwhile)


def again(live: Manifest) -> Manifest:
    """A manifest that makes an object what it was; the number of pods is left to who counts them."""
    metadata = {
        key: copy.deepcopy(live["metadata"][key])
        for key in ("name", "namespace", "labels", "annotations")
        if live["metadata"].get(key)
    }
    (metadata.get("annotations") or {}).pop("deployment.kubernetes.io/revision", None)
    spec = copy.deepcopy(live["spec"])
    if live["kind"] == "Deployment":
        spec.pop("replicas", None)
    return {"apiVersion": live["apiVersion"], "kind": live["kind"], "metadata": metadata, "spec": spec}
