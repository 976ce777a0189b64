"""What keeps pods from serving, found as soon as the cluster says it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes import trouble
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.watch import ready

NOW = datetime(2026, 11, 28, 12, 0, 0, tzinfo=UTC)


def pod(*containers: dict[str, Any], conditions: tuple[dict[str, Any], ...] = (), **status: Any) -> dict[str, Any]:
    states = [{"name": "app", "restartCount": 0, "ready": False, **container} for container in containers]
    return {
        "metadata": {"name": "api-1"},
        "status": {"containerStatuses": states, "conditions": list(conditions), **status},
    }


def waiting(reason: str, **more: Any) -> dict[str, Any]:
    return {"state": {"waiting": {"reason": reason, "message": "as it says"}}, **more}


ENDED = {"terminated": {"exitCode": 3, "reason": "Error"}}
KILLED = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}


@pytest.mark.parametrize(
    ("container", "reason", "previous"),
    [
        (waiting("CrashLoopBackOff", lastState=ENDED), "app: CrashLoopBackOff, ended with exit code 3", True),
        (waiting("CrashLoopBackOff", lastState=KILLED), "exit code 137 (OOMKilled)", True),
        (waiting("ErrImagePull"), "app: ErrImagePull, as it says", False),
        (waiting("ImagePullBackOff"), "app: ImagePullBackOff", False),
        (waiting("CreateContainerConfigError"), "as it says", False),
        ({"state": ENDED}, "app ended with exit code 3", False),
        ({"state": {"running": {}}, "lastState": ENDED, "restartCount": 1}, "app ended with exit code 3", True),
    ],
)
def test_hopeless_containers(container: dict[str, Any], reason: str, previous: bool) -> None:
    found = trouble.of_pods([pod(container)], 15, NOW)
    assert found is not None
    assert reason in found.reason
    assert (found.pod, found.container, found.previous) == ("api-1", "app", previous)


@pytest.mark.parametrize(
    "container",
    [
        waiting("ContainerCreating"),
        waiting("PodInitializing"),
        {"state": {"running": {}}},
        {"state": {"running": {}}, "ready": True, "lastState": ENDED, "restartCount": 1},
        {"state": {"terminated": {"exitCode": 0, "reason": "Completed"}}},
    ],
)
def test_what_is_only_on_its_way(container: dict[str, Any]) -> None:
    assert trouble.of_pods([pod(container)], 15, NOW) is None


def test_a_pod_without_a_node_is_waited_for_a_while() -> None:
    since = (NOW - timedelta(seconds=10)).strftime("%Y-%m-%dT%H:%M:%SZ")
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "2 Insufficient memory",
    }
    unplaced = pod(conditions=({**condition, "lastTransitionTime": since},))
    assert trouble.of_pods([unplaced], 15, NOW) is None
    found = trouble.of_pods([unplaced], 5, NOW)
    assert found is not None
    assert found.reason == "Unschedulable: 2 Insufficient memory"


def test_a_pod_that_is_told_to_end_is_in_no_trouble() -> None:
    ending = pod(waiting("CrashLoopBackOff", lastState=ENDED))
    ending["metadata"]["deletionTimestamp"] = "2026-11-28T11:59:59Z"
    assert trouble.of_pods([ending], 15, NOW) is None


def test_what_admission_refuses_is_said_of_the_deployment() -> None:
    conditions = [{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"}]
    found = trouble.of_deployment({"status": {"conditions": conditions}})
    assert found is not None
    assert "FailedCreate: exceeded quota" in found.reason
    assert trouble.of_deployment({}) is None


def test_the_last_complaint_counts() -> None:
    events = [
        {"type": "Warning", "reason": "Unhealthy", "message": "answered 503", "lastTimestamp": "2026-11-28T12:00:02Z"},
        {"type": "Warning", "reason": "Unhealthy", "message": "refused", "lastTimestamp": "2026-11-28T12:00:01Z"},
        {"type": "Warning", "reason": "MissingClusterDNS", "message": "x", "lastTimestamp": "2026-11-28T12:00:03Z"},
    ]
    assert trouble.last_warning(events) == "answered 503"
    assert trouble.last_warning([]) == ""


@pytest.mark.parametrize(
    ("status", "whether"),
    [
        ({}, True),
        ({"observedGeneration": 3}, False),
        ({"updatedReplicas": 1}, False),
        ({"replicas": 3}, False),
        ({"availableReplicas": 1}, False),
        ({"readyReplicas": 1}, False),
    ],
)
def test_a_deployment_is_ready_when_its_controller_has_seen_all_and_nothing_old_is_left(
    status: dict[str, int], whether: bool
) -> None:
    good = {"observedGeneration": 4, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2}
    deployment = {"metadata": {"generation": 4}, "spec": {"replicas": 2}, "status": {**good, **status}}
    assert ready(deployment, 2) is whether
    assert not ready({}, 2)
