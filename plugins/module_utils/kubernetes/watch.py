# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for pods and Jobs, with an eye on what will not come."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes import trouble
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.cluster import Cluster
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.names import NAME, RELEASE
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.trouble import Trouble

Manifest = dict[str, Any]

INTERVAL = 0.5  # seconds between two looks
LATE = "not ready"  # what the reason of those begins with that no fault was found of
GONE = 120  # seconds beyond its grace period that a pod may take to go, as on a node that is not there


class NotReadyError(Exception):
    """What was waited for will not come.

    Attributes:
        trouble: Why.
    """

    def __init__(self, found: Trouble) -> None:
        super().__init__(found.reason)
        self.trouble = found


class Watch:
    """Waits in one namespace.

    Args:
        cluster: The cluster.
        namespace: The namespace.
        app: The app.
        schedule_timeout: Seconds that a pod may wait for a node.
        meanwhile: Called with every look.
    """

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        app: str,
        schedule_timeout: float,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.app = app
        self.schedule_timeout = schedule_timeout
        self.meanwhile = meanwhile

    def deployments(self, release: str, wanted: Mapping[str, int], timeout: float) -> None:
        """Wait until Deployments have so many pods of a release, all of them ready, and no other ones.

        Raises:
            NotReadyError: They will not, or have not in time.
        """
        deadline = time.monotonic() + timeout
        while True:
            found = {name: self.cluster.get("Deployment", self.namespace, name) or {} for name in wanted}
            if all(ready(found[name], number) for name, number in wanted.items()):
                return
            pods = self.pods(release)
            for deployment in found.values():
                self._raise(trouble.of_deployment(deployment))
            self._raise(trouble.of_pods(pods, self.schedule_timeout, _now()))
            if time.monotonic() > deadline:
                late = [name for name, number in wanted.items() if not ready(found[name], number)]
                at = trouble.unready(pods) or Trouble("")
                text = f"{LATE} within {timeout:.0f} seconds: Deployment {', '.join(late)}"
                raise NotReadyError(Trouble(text, at.pod, at.container, at.previous))
            self._pause()

    def job(self, name: str, timeout: float) -> None:
        """Wait for the end of a Job.

        Raises:
            NotReadyError: It failed, or has not ended in time.
        """
        deadline = time.monotonic() + timeout
        while True:
            job = self.cluster.get("Job", self.namespace, name) or {}
            if (job.get("status") or {}).get("succeeded"):
                return
            pods = self.cluster.find("Pod", self.namespace, {"batch.kubernetes.io/job-name": name})
            at = trouble.unready(pods) or Trouble("")
            failed = trouble.of_job(job)
            if failed:
                raise NotReadyError(Trouble(f"Job {name} failed, {_end(pods) or failed.reason}", at.pod, at.container))
            self._raise(trouble.of_pods(pods, self.schedule_timeout, _now()))
            if time.monotonic() > deadline:
                text = f"Job {name} did not end within {timeout:.0f} seconds"
                raise NotReadyError(Trouble(text, at.pod, at.container))
            self._pause()

    def endpoints(self, service: str, release: str, alone: bool = True, timeout: float = 30) -> None:
        """Wait until a Service leads to ready pods of a release, and, where that is C(alone), to nothing else.

        Raises:
            NotReadyError: It does not in time.
        """
        deadline = time.monotonic() + timeout
        while True:
            pods = {pod["metadata"]["name"] for pod in self.pods(release)}
            slices = self.cluster.find("EndpointSlice", self.namespace, {"kubernetes.io/service-name": service})
            ends = [one for found in slices for one in found.get("endpoints") or []]
            ready_ends = {one["targetRef"]["name"] for one in ends if one["conditions"].get("ready")}
            if ready_ends & pods and not (alone and ready_ends - pods):
                return
            if time.monotonic() > deadline:
                raise NotReadyError(Trouble(f"Service {service} leads to no ready pod of the release"))
            self._pause()

    def others_gone(self, release: str) -> None:
        """Wait until the app has no pods of other releases: one that ends still answers who has not heard of it."""
        began = time.monotonic()
        while True:
            others = [pod for pod in self.pods() if pod["metadata"]["labels"].get(RELEASE) != release and _lives(pod)]
            grace = max((pod["spec"].get("terminationGracePeriodSeconds") or 0 for pod in others), default=0)
            if not others or time.monotonic() > began + grace + GONE:
                return
            self._pause()

    def gone_job(self, name: str) -> None:
        """Wait until a Job that was removed is not there."""
        deadline = time.monotonic() + GONE
        while self.cluster.get("Job", self.namespace, name) and time.monotonic() < deadline:
            self._pause()

    def steady(self, release: str, seconds: float) -> None:
        """See that the pods of a release stay up.

        Raises:
            NotReadyError: One has ended meanwhile, or is not ready any more.
        """
        deadline = time.monotonic() + seconds
        before = {key: count for pod in self.pods(release) for key, count in _restarts(pod).items()}
        while time.monotonic() < deadline:
            self._pause()
            pods = self.pods(release)
            for pod in pods:
                for key, count in _restarts(pod).items():
                    if count > before.get(key, 0):
                        raise NotReadyError(Trouble(f"{key[1]} has ended while it was watched", *key, previous=True))
            self._raise(trouble.of_pods(pods, self.schedule_timeout, _now()))

    def pods(self, release: str = "") -> list[Manifest]:
        """The pods of a release, or of all of them, but for those of Jobs."""
        labels = {NAME: self.app, **({RELEASE: release} if release else {})}
        found = self.cluster.find("Pod", self.namespace, labels)
        return [pod for pod in found if not pod["metadata"]["labels"].get("batch.kubernetes.io/job-name")]

    def _raise(self, found: Trouble | None) -> None:
        if found:
            raise NotReadyError(found)

    def _pause(self) -> None:
        self.meanwhile()
        time.sleep(INTERVAL)


def ready(deployment: Mapping[str, Any], wanted: int) -> bool:
    """Whether a Deployment's controller has seen what is wanted, and all its pods are new and ready."""
    if not deployment:
        return False
    spec, status = deployment["spec"], deployment.get("status", {})
    numbers = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")]
    seen = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
    # A HorizontalPodAutoscaler may have more in mind.
    number: int = wanted or spec.get("replicas", 1)
    return bool(seen and spec.get("replicas") == number and numbers == [number] * 4)


def _lives(pod: Mapping[str, Any]) -> bool:
    return pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")


def _restarts(pod: Mapping[str, Any]) -> dict[tuple[str, str], int]:
    states = pod.get("status", {}).get("containerStatuses") or []
    return {(pod["metadata"]["name"], state["name"]): state["restartCount"] for state in states}


def _end(pods: list[Manifest]) -> str:
    """How the container of a Job's pod ended."""
    for pod in pods:
        for state in pod.get("status", {}).get("containerStatuses") or []:
            ended = state.get("state", {}).get("terminated")
            if ended:
                reason = ended.get("reason", "")
                return f"exit code {ended['exitCode']}{f' ({reason})' if reason not in ('', 'Error') else ''}"
    return ""


def _now() -> datetime:
    return datetime.now(UTC)
