# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After clients are led to a release: what is old is stopped, and what is beyond what is kept is removed."""

from __future__ import annotations

from datetime import UTC, datetime

from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.app import App
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.names import PROVED, maintenance
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.view import View, release_of


def finish(app: App, release: str) -> None:
    """Stop what is old, mark what serves, and remove what is beyond those that are kept."""
    retire_others(app, release)
    proved = next((one.proved for one in app.view.releases() if one.name == release), "")
    if not proved:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        app.annotate(release, {PROVED: now})
    prune(app, app.read(), release)


def retire_others(app: App, release: str) -> None:
    """Stop every other release."""
    seen = app.read()
    for name in {release_of(item) for item in seen.others(release)}:
        _retire(app, seen, name)
    app.watch.others_gone(release)


def resume(app: App, release: str) -> None:
    """Have its timers run again."""
    for item in app.view.of(release):
        if item["kind"] == "CronJob" and item["spec"].get("suspend"):
            app.suspend(item, False)


def prune(app: App, seen: View, release: str) -> None:
    """Remove releases beyond those that are kept, and objects of the app that nothing asks for any more."""
    proved = [one.name for one in seen.releases() if one.proved and one.name != release]
    kept = {release, *proved[: max(0, int(app.asked["keep"]) - 1)]}
    wanted = {(item["kind"], item["metadata"]["name"]) for item in app.manifests()}
    wanted.add(("ConfigMap", maintenance(app.name)))  # until a person opens the app
    for key, item in seen.live.items():
        of = release_of(item)
        beyond = bool(of) and of not in kept
        left = not of and key not in wanted and item["kind"] != "PersistentVolumeClaim"
        if beyond or left or (item["kind"] == "Service" and of):
            app.remove(item)


def _retire(app: App, seen: View, release: str) -> None:
    stopped = False
    for item in seen.of(release):
        if item["kind"] == "Deployment" and item["spec"].get("replicas"):
            app.scale(item["metadata"]["name"], 0)
            stopped = True
        if item["kind"] == "CronJob" and not item["spec"].get("suspend"):
            app.suspend(item, True)
    if stopped:
        app.outcome.say(f"stopped release {release}")
