# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run whose release serves already: all of it is as it should be, or is made so; and what a run would do."""

from __future__ import annotations

from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes import compare, told
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.app import App, Manifest
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.finish import finish, prune, resume
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.outcome import DeployError
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.watch import NotReadyError, ready


def put_right(app: App) -> None:
    """See that everything is as it should be, and make it so.

    Raises:
        DeployError: Its pods are not ready.
    """
    release: str = app.objects["release"]
    app.apply(app.manifests())
    for name, (number, now) in _miscounted(app).items():
        app.outcome.say(f"Deployment {name} had {now} pods")
        app.scale(name, number)
    resume(app, release)
    _wait(app, release)
    unfinished = [item for item in app.view.others(release) if _runs(item)]
    proved = any(one.name == release and one.proved for one in app.view.releases())
    if unfinished or not proved:
        app.outcome.changed = True
        finish(app, release)
    else:
        prune(app, app.view, release)


def predict(app: App) -> None:
    """What a run would change, as the API server sees it, without changing it."""
    release: str = app.objects["release"]
    if app.view.current != release:
        app.outcome.say(f"release {release} would serve")
    there = app.cluster.get("Namespace", "", app.namespace) is not None
    for manifest in app.manifests():
        before = app.live(manifest)
        after = app.cluster.apply(manifest, dry=True) if there or manifest["kind"] == "Namespace" else manifest
        if not compare.same(before, after):
            app.outcome.note(before, after)
    if app.view.current == release:
        for name, (number, _now) in _miscounted(app).items():
            app.outcome.say(f"Deployment {name} would have {number} pods")
        prune(app, app.view, release)


def _miscounted(app: App) -> dict[str, tuple[int, int]]:
    """Deployments with another number of pods than they should have: that, and how many they have."""
    found = {}
    for name, number in app.objects["replicas"].items():
        live = app.view.live.get(("Deployment", name))
        if number and live and live["spec"].get("replicas") != number:
            found[name] = number, live["spec"].get("replicas")
    return found


def _wait(app: App, release: str) -> None:
    wanted = app.objects["replicas"]
    looks = [(app.view.live.get(("Deployment", name), {}), number) for name, number in wanted.items()]
    if app.outcome.changed or not all(ready(item, number) for item, number in looks):
        try:
            app.watch.deployments(release, wanted, float(app.asked["start_timeout"]))
        except NotReadyError as error:
            raise DeployError(told.message(app, error)) from None


def _runs(item: Manifest) -> bool:
    if item["kind"] == "Deployment":
        return bool(item["spec"].get("replicas"))
    return item["kind"] == "Service" or (item["kind"] == "CronJob" and not item["spec"].get("suspend"))
