# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be asked of one app on a cluster: to be there, to go back, to go, and how it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes import back, closing, guard, right
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.app import App
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.cluster import Cluster
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.outcome import DeployError, Outcome
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.release import Release
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.view import KINDS


class Deploy:
    """Brings one app of a cluster to what is asked.

    Args:
        cluster: The cluster.
        asked: What the controller says of the app.
        check: Whether nothing is to be changed.
    """

    def __init__(self, cluster: Cluster, asked: Mapping[str, Any], check: bool) -> None:
        self.app = App(cluster, asked, check)

    def present(self) -> Outcome:
        """Have the app as its manifests say.

        Raises:
            DeployError: It is not; what served before does so still.
        """
        app = self.app
        with app.explained():
            app.read()
            found = [
                *guard.problems(app.cluster, app.manifests(), app.namespace),
                *guard.strangers(app.cluster, app.manifests(), app.view.live),
            ]
            if found:
                raise DeployError("\n".join(f'app "{app.name}": {text}' for text in found))
            release: str = app.objects["release"]
            app.outcome.release = release
            if app.check:
                right.predict(app)
            elif app.view.current == release and app.view.web(release):
                right.put_right(app)
            else:
                app.check_rights()
                with app.alone():
                    app.read()  # somebody else may have been at it a moment ago
                    Release(app).deploy()
            app.outcome.number = app.number(release)
        return app.outcome

    def rollback(self, target: str) -> Outcome:
        """Go back to an earlier release, C(previous), a number or a name.

        Raises:
            DeployError: There is none, or it does not serve any more.
        """
        app = self.app
        with app.explained():
            app.read()
            chosen = back.chosen(app, target)
            app.outcome.release, app.outcome.number = chosen.name, chosen.number
            if chosen.name == app.view.current:
                return app.outcome
            app.outcome.say(f"went back to release {chosen.number} ({chosen.name})")
            if not app.check:
                with app.alone():
                    back.go_back(app, chosen.name)
        return app.outcome

    def maintenance(self, wanted: bool) -> Outcome:
        """Close the app to clients, or open it.

        Raises:
            DeployError: It is not there.
        """
        app = self.app
        with app.explained():
            app.read()
            closing.set_closed(app, wanted)
            app.outcome.release = app.view.current
        return app.outcome

    def absent(self) -> Outcome:
        """Remove the app, and its volume where that is said."""
        app = self.app
        with app.explained():
            app.read()
            for kind in KINDS:
                if kind == "PersistentVolumeClaim" and not app.asked.get("purge"):
                    continue
                for item in [item for (of, _name), item in app.view.live.items() if of == kind]:
                    app.remove(item)
        return app.outcome

    def status(self) -> dict[str, Any]:
        """What the cluster has of the app, for a person or a program."""
        app = self.app
        with app.explained():
            seen = app.read()
            current = seen.current
            web = seen.web(current) or {"spec": {}, "status": {}}
            releases = seen.releases()
            containers = web["spec"].get("template", {}).get("spec", {}).get("containers") or [{}]
            serving = next((one for one in releases if one.name == current), None)
            return {
                "app": app.name,
                "namespace": app.namespace,
                "release": current,
                "number": serving.number if serving else 0,
                "proved": serving.proved if serving else "",
                "closed": closing.closed(app),
                "image": containers[0].get("image", ""),
                "pods": web["spec"].get("replicas", 0),
                "ready": web["status"].get("readyReplicas", 0),
                "releases": [
                    {"number": one.number, "release": one.name, "proved": one.proved, "current": one.name == current}
                    for one in releases
                ],
            }
