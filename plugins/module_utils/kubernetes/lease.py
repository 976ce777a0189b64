# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run at a time for each app of a cluster: a Lease, which a run that is killed loses after a minute."""

from __future__ import annotations

import getpass
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.cluster import CONFLICT, Cluster
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.kubeconfig import ClusterError

SECONDS = 60
RENEWED = 15  # seconds after which it is said again that we are there
_FORM = "%Y-%m-%dT%H:%M:%S.%fZ"


@contextmanager
def alone(cluster: Cluster, namespace: str, app: str, labels: Mapping[str, str]) -> Iterator[Callable[[], None]]:
    """Keep others from deploying an app; gives a function to be called now and then.

    Raises:
        ClusterError: Somebody else is at it.
    """
    name = f"webops-wsgi-{app}"
    me = f"{_user()}@{socket.gethostname()} ({os.getpid()})"
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": namespace, "labels": dict(labels)},
        "spec": {"holderIdentity": me, "leaseDurationSeconds": SECONDS, "renewTime": _now().strftime(_FORM)},
    }
    _take(cluster, lease)
    said = time.monotonic()

    def renew() -> None:
        nonlocal said
        if time.monotonic() - said > RENEWED:
            cluster.patch("Lease", namespace, name, {"spec": {"renewTime": _now().strftime(_FORM)}})
            said = time.monotonic()

    try:
        yield renew
    finally:
        with suppress(ClusterError):
            # Of one that could not be renewed for a minute it may be another's by now.
            found = cluster.get("Lease", namespace, name)
            if found and found["spec"]["holderIdentity"] == me:
                cluster.delete("Lease", namespace, name)


def _take(cluster: Cluster, lease: dict[str, Any]) -> None:
    try:
        cluster.create(lease)
        return
    except ClusterError as error:
        if error.status != CONFLICT:
            raise
    metadata = lease["metadata"]
    found = cluster.get("Lease", metadata["namespace"], metadata["name"])
    if found is None:
        cluster.create(lease)
        return
    spec = found["spec"]
    renewed = datetime.strptime(spec["renewTime"], _FORM).replace(tzinfo=UTC)
    if renewed + timedelta(seconds=spec["leaseDurationSeconds"]) > _now():
        raise ClusterError(
            f"{spec['holderIdentity']} is deploying it at this moment; wait for that run, or, when it was killed, "
            f"{SECONDS} seconds"
        )
    # Of two who find it so late, one has the version that is there.
    version = {"metadata": {"resourceVersion": found["metadata"]["resourceVersion"]}}
    cluster.patch("Lease", metadata["namespace"], metadata["name"], {**version, "spec": lease["spec"]})


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _now() -> datetime:
    return datetime.now(UTC)
