# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An app closed to clients, who get 503, and open again; its pods go on.

nginx of each pod answers for it as on hosts, by a file: that of a ConfigMap, which all pods mount, also those to come.
"""

from __future__ import annotations

from datetime import UTC, datetime

from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.app import App
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.cluster import FORBIDDEN
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.kubeconfig import ClusterError
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.names import CLOSED, maintenance
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.outcome import DeployError

SOON, LATER = "nodes see it within seconds", "nodes see it within two minutes; with the right to patch pods, at once"


def closed(app: App) -> bool:
    """Whether clients get 503."""
    return ("ConfigMap", maintenance(app.name)) in app.view.live


def set_closed(app: App, wanted: bool) -> None:
    """Close it, or open it.

    Raises:
        DeployError: It is not there.
    """
    if not app.view.current:
        raise DeployError(f'app "{app.name}": namespace {app.namespace} has no release of it; deploy it first')
    if closed(app) == wanted:
        return
    said = "closed to clients" if wanted else "open to clients"
    app.outcome.changed = True
    if app.check:
        app.outcome.say(said)
        return
    name = maintenance(app.name)
    metadata = {"name": name, "namespace": app.namespace, "labels": app.view.labels}
    if wanted:
        app.cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {app.name: ""}})
    else:
        app.cluster.delete("ConfigMap", app.namespace, name)
    app.outcome.say(f"{said}: {SOON if _hurry(app) else LATER}")


def _hurry(app: App) -> bool:
    """Have nodes look at the files of the app's pods now, as they do when something changes in a pod."""
    change = {"metadata": {"annotations": {CLOSED: datetime.now(UTC).isoformat(timespec="seconds")}}}
    try:
        for pod in app.watch.pods(app.view.current):
            app.cluster.patch("Pod", app.namespace, pod["metadata"]["name"], change)
    except ClusterError as error:
        if error.status != FORBIDDEN:
            raise
        return False
    return True
