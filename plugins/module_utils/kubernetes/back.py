# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Going back to a release that is kept, code and configuration together.

Of a release by C(switch) its Deployments are kept, without pods. Of one by C(rolling) Kubernetes keeps what its pods
were, as ReplicaSets of the Deployment that serves.
"""

from __future__ import annotations

from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes import told
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.app import App, Manifest, again
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.finish import resume, retire_others
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.kubeconfig import ClusterError
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.names import COMPONENT, NAME, PODS, RELEASE, WEB
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.outcome import DeployError
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.release import switch
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.view import Release
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.watch import NotReadyError

HASH = "pod-template-hash"  # which Kubernetes adds to what it keeps


def chosen(app: App, target: str) -> Release:
    """The release that is meant by C(previous), a number or a name.

    Raises:
        DeployError: There is none.
    """
    releases = app.view.releases()
    proved = [one for one in releases if one.proved and one.name != app.view.current]
    current = next((one.number for one in releases if one.name == app.view.current), 0)
    if target == "previous":
        found = next((one for one in proved if one.number < current), None)
    else:
        known = [one for one in releases if one.proved]
        found = next((one for one in known if target in (str(one.number), one.name)), None)
    if found is None:
        kept = ", ".join(str(one.number) for one in proved) or "none"
        raise DeployError(f'app "{app.name}": there is no release {target} to go back to; kept are {kept}')
    return found


def go_back(app: App, release: str) -> None:
    """Have a release serve again.

    Raises:
        DeployError: It does not start; what served before does so still.
    """
    rolled = _rolled(app, release)
    own = {item["metadata"]["name"]: item for item in app.view.deployments(release)}
    web = next((item for item in [*own.values(), *rolled.values()] if _serves(item)), None)
    if web is None:
        raise DeployError(f'app "{app.name}": of release {release} no pods are kept; deploy it from the inventory')
    old = [app.view.live["Deployment", name] for name in rolled]
    try:
        app.apply(list(rolled.values()))
        wanted = _scaled(app, {**own, **rolled}, web)
        app.watch.deployments(release, wanted, float(app.asked["start_timeout"]))
        # Pods of this Deployment are replaced where they are, by which no release may lead away from them.
        in_place = web["metadata"]["name"] == app.name
        switch(app, _service(app, release, in_place), release, alone=not in_place)
    except (NotReadyError, ClusterError) as error:
        raise _undone(app, list(own), old, error) from None
    _follow(app, web)
    resume(app, release)
    retire_others(app, release)


def _rolled(app: App, release: str) -> dict[str, Manifest]:
    """Deployments that have pods of another release now, by name, with their pods of this one."""
    found = {}
    for kept in app.cluster.find("ReplicaSet", app.namespace, {NAME: app.name, RELEASE: release}):
        owner = next((one["name"] for one in kept["metadata"].get("ownerReferences") or []), "")
        live = app.view.live.get(("Deployment", owner))
        if not live or live["metadata"]["labels"].get(RELEASE) == release:
            continue
        manifest = again(live)
        manifest["metadata"]["labels"][RELEASE] = release
        template = again({**kept, "spec": kept["spec"]["template"]})["spec"]
        template["metadata"]["labels"].pop(HASH, None)
        manifest["spec"]["template"] = template
        found[owner] = manifest
    return found


def _scaled(app: App, deployments: dict[str, Manifest], web: Manifest) -> dict[str, int]:
    """Start so many pods of each Deployment: of what serves as many as now."""
    serving = app.view.web(app.view.current)
    now = serving["spec"].get("replicas", 1) if serving else 1
    wanted = {}
    for name, item in deployments.items():
        noted = int((item["metadata"].get("annotations") or {}).get(PODS, 1))
        wanted[name] = max(1, now if item is web else noted)
        app.scale(name, wanted[name])
    return wanted


def _service(app: App, release: str, in_place: bool) -> Manifest:
    service = again(app.view.live["Service", app.name])
    service["metadata"]["annotations"] = {RELEASE: release}
    service["spec"]["selector"][RELEASE] = release
    if in_place:
        del service["spec"]["selector"][RELEASE]
    return service


def _follow(app: App, web: Manifest) -> None:
    """Have the autoscaler count the pods that serve now."""
    scaler = app.view.live.get(("HorizontalPodAutoscaler", app.name))
    if scaler:
        moved = again(scaler)
        moved["spec"]["scaleTargetRef"]["name"] = web["metadata"]["name"]
        app.apply([moved])


def _undone(app: App, started: list[str], old: list[Manifest], error: Exception) -> DeployError:
    why = told.message(app, error)
    for deployment in old:
        app.cluster.apply(again(deployment))
    for name in started:
        app.scale(name, 0)
    before = app.view.current
    number = next((one.number for one in app.view.releases() if one.name == before), 0)
    return DeployError(f"{why}\nIt was stopped again; release {number} ({before}) serves as before.")


def _serves(item: Manifest) -> bool:
    return bool(item["metadata"]["labels"].get(COMPONENT) == WEB)
