# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps pods from serving, as the cluster says it: found in seconds, where waiting would find nothing better.

Pure functions of what the API server tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

Data = Mapping[str, Any]

# Reasons that no further second is likely to change.
HOPELESS = (
    "CrashLoopBackOff",
    "ErrImagePull",
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "ImageInspectError",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "StartError",
)
# Reasons of events that say more than the state of a pod.
COMPLAINTS = ("Unhealthy", "Failed", "FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox")


@dataclass(frozen=True)
class Trouble:
    """Why a pod does not serve.

    Attributes:
        reason: In a person's words, with the cluster's own.
        pod: Its name; empty where there is none.
        container: Whose log tells more; empty for none.
        previous: Whether it is the log of the container that ended.
    """

    reason: str
    pod: str = ""
    container: str = ""
    previous: bool = False


def of_deployment(deployment: Data) -> Trouble | None:
    """Why a Deployment has fewer pods than it should: admission, or a quota, refuses them."""
    for condition in deployment.get("status", {}).get("conditions") or []:
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            return Trouble(f"no pod can be made, {condition.get('reason')}: {condition.get('message')}")
        if condition["type"] == "Progressing" and condition.get("reason") == "ProgressDeadlineExceeded":
            return Trouble(f"ProgressDeadlineExceeded: {condition.get('message')}")
    return None


def of_job(job: Data) -> Trouble | None:
    """Why a Job failed."""
    for condition in job.get("status", {}).get("conditions") or []:
        if condition["type"] in ("Failed", "FailureTarget") and condition["status"] == "True":
            return Trouble(f"{condition.get('reason')}: {condition.get('message')}")
    return None


def of_pods(pods: Iterable[Data], schedule_timeout: float, now: datetime) -> Trouble | None:
    """The first hopeless thing of some pods.

    Args:
        pods: As the API server tells them.
        schedule_timeout: Seconds that a pod may wait for a node.
        now: The time.
    """
    return next((found for pod in pods for found in _of_pod(pod, schedule_timeout, now)), None)


def last_warning(events: Iterable[Data]) -> str:
    """What the cluster complains of last, such as what a probe was answered."""
    warnings = [event for event in events if event.get("reason") in COMPLAINTS]
    last = max(warnings, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""), default={})
    return str(last.get("message", "")).strip()


def unready(pods: Iterable[Data]) -> Trouble | None:
    """What is known of a pod that is not ready in time: whose log to read."""
    for pod in pods:
        for state in _containers(pod):
            if not state.get("ready"):
                ended = bool(state.get("restartCount")) and "running" not in state.get("state", {})
                return Trouble("", pod["metadata"]["name"], state["name"], ended)
    return None


def _of_pod(pod: Data, schedule_timeout: float, now: datetime) -> Iterator[Trouble]:
    name, status = pod["metadata"]["name"], pod.get("status", {})
    if pod["metadata"].get("deletionTimestamp"):
        return
    for condition in status.get("conditions") or []:
        waits = condition["type"] == "PodScheduled" and condition["status"] == "False"
        if waits and _seconds(condition.get("lastTransitionTime"), now) >= schedule_timeout:
            yield Trouble(f"{condition.get('reason')}: {condition.get('message')}", name)
    if status.get("phase") == "Failed" and status.get("reason"):
        yield Trouble(f"{status['reason']}: {status.get('message', '')}".rstrip(": "), name)
    for state in _containers(pod):
        yield from _of_container(name, state)


def _of_container(pod: str, state: Data) -> Iterator[Trouble]:
    container, now = state["name"], state.get("state", {})
    waiting = now.get("waiting") or {}
    ended = now.get("terminated") or state.get("lastState", {}).get("terminated") or {}
    if waiting.get("reason") in HOPELESS:
        crashed = waiting["reason"] == "CrashLoopBackOff"
        why = _end(ended) if crashed and ended else waiting.get("message", "")
        yield Trouble(f"{container}: {waiting['reason']}, {why}", pod, container, crashed)
    elif ended.get("exitCode") and not state.get("ready"):
        # What ends by itself as it starts is not waited for a second time, on hosts neither.
        yield Trouble(f"{container} {_end(ended)}", pod, container, "terminated" not in now)


def _end(ended: Data) -> str:
    reason = ended.get("reason") or ""
    return f"ended with exit code {ended.get('exitCode')}{f' ({reason})' if reason not in ('', 'Error') else ''}"


def _containers(pod: Data) -> list[Data]:
    status = pod.get("status", {})
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


def _seconds(since: str | None, now: datetime) -> float:
    if not since:
        return 0.0
    began = datetime.strptime(since, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    return (now - began).total_seconds()
