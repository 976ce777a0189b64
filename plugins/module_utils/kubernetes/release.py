# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A new release: started beside the one that serves, proved, and everybody led to it by one change of a Service.

Whatever fails before that change leaves the old one as it was, and whatever fails after it leads back to it.
"""

from __future__ import annotations

import copy

from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes import told, view
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.app import App, Manifest, again
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.finish import finish, resume
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.kubeconfig import ClusterError
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.names import RELEASE
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.outcome import DeployError
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.watch import NotReadyError

STORED = ("ConfigMap", "Secret")


class Release:
    """The release that an app is to have, on its way.

    Args:
        app: The app.
    """

    def __init__(self, app: App) -> None:
        self.app = app
        self.name: str = app.objects["release"]
        self.before = app.view.current
        # It has served already, and is started again.
        self.kept = any(one.name == self.name and one.proved for one in app.view.releases())
        # Deployments whose pods are replaced, as they were.
        self.old = [item for (kind, _), item in app.view.live.items() if kind == "Deployment"] if app.rolling else []

    def deploy(self) -> None:
        """Start it, prove it, lead everybody to it.

        Raises:
            DeployError: It failed; what served before does so still.
        """
        app = self.app
        try:
            app.apply([*app.objects["before"], *app.of_release(*STORED)])
            app.count(self.name)
            app.hook("before_activate")
            self._start()
        except (NotReadyError, ClusterError) as error:
            raise self._undone(error) from None
        try:
            self._share()
            switch(app, app.objects["service"], self.name, alone=not app.rolling)
            app.apply([*app.objects["after"], *app.of_release("CronJob")])
            app.watch.steady(self.name, float(app.asked["bake"]))
            app.hook("after_activate")
        except (NotReadyError, ClusterError) as error:
            self._lead_back()
            raise self._undone(error) from None
        app.outcome.say(f"release {app.number(self.name)} ({self.name}) serves")
        finish(app, self.name)
        resume(app, self.name)
        app.hook("after_rollout")

    # ------------------------------------------------------------ before the switch

    def _start(self) -> None:
        """Start its pods and wait for them."""
        app = self.app
        try:
            app.apply(app.of_release("Deployment"))
            wanted = self._scaled()
            for name, number in wanted.items():
                app.scale(name, number)
            if not app.rolling:
                app.apply([self._candidate()])
            app.watch.deployments(self.name, wanted, float(app.asked["start_timeout"]))
            if not app.rolling:
                app.watch.endpoints(self._candidate()["metadata"]["name"], self.name)
        except (NotReadyError, ClusterError):
            self._roll_back()
            raise

    def _scaled(self) -> dict[str, int]:
        """Pods of each Deployment: as many as serve now, where their number is counted."""
        serving = self.app.view.web(self.before)
        now = serving["spec"].get("replicas", 0) if serving else 0
        scaler = next((item for item in self.app.objects["after"] if item["kind"] == "HorizontalPodAutoscaler"), None)
        found = {}
        for name, number in self.app.objects["replicas"].items():
            least, most = number, number
            if scaler and not number:
                least, most = scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]
            found[name] = min(most, max(least, now))
        return found

    def _candidate(self) -> Manifest:
        """A Service of the release's own, over which it is proved."""
        found = copy.deepcopy(dict(self.app.objects["service"]))
        found["metadata"] = {
            "name": f"{self.app.name}-candidate",
            "namespace": self.app.namespace,
            "labels": {**self.app.view.labels, RELEASE: self.name},
        }
        return found

    def _share(self) -> None:
        """Lead a share of the requests to it for a while, and see that it bears them."""
        percent = int(self.app.asked.get("canary_percent", 0))
        if not self.before or not percent:
            return
        for route in (item for item in self.app.objects["after"] if item["kind"] == "HTTPRoute"):
            shared = copy.deepcopy(route)
            (backend,) = shared["spec"]["rules"][0]["backendRefs"]
            new = {**backend, "name": self._candidate()["metadata"]["name"], "weight": percent}
            shared["spec"]["rules"][0]["backendRefs"] = [{**backend, "weight": 100 - percent}, new]
            self.app.apply([shared])
        seconds = int(self.app.asked["canary_seconds"])
        self.app.outcome.say(f"led {percent} % of the requests to release {self.name} for {seconds} seconds")
        self.app.watch.steady(self.name, seconds)

    # ------------------------------------------------------------ what failed

    def _lead_back(self) -> None:
        """Have the release before serve again, as if nothing had been."""
        app = self.app
        self._roll_back()
        for manifest in [app.objects["service"], *app.objects["after"]]:
            there = app.live(manifest)
            if there:
                app.cluster.apply(again(there))
            else:
                app.cluster.delete(manifest["kind"], app.namespace, manifest["metadata"]["name"])

    def _roll_back(self) -> None:
        for deployment in self.old:
            self.app.cluster.apply(again(deployment))

    def _undone(self, error: Exception) -> DeployError:
        """Remove what the run has made of it; what is said of it was read before."""
        app = self.app
        why = told.message(app, error)
        for item in view.read(app.cluster, app.name, app.namespace).of(self.name):
            kind, name = item["kind"], item["metadata"]["name"]
            rolled = kind == "Deployment" and any(name == old["metadata"]["name"] for old in self.old)
            if rolled:
                continue
            if kind == "Deployment" and self.kept:
                app.scale(name, 0)
            elif kind == "CronJob" and self.kept:
                app.suspend(item, True)
            elif not self.kept or kind in ("Job", "Service"):
                app.cluster.delete(kind, app.namespace, name)
        number = next((one.number for one in app.view.releases() if one.name == self.before), 0)
        serves = f"release {number} ({self.before}) serves as before" if self.before else "no release serves"
        what = "stopped" if self.kept else "removed"
        return DeployError(f"{why}\nThe new release, {self.name}, was {what}; {serves}.")


def switch(app: App, service: Manifest, release: str, alone: bool) -> None:
    """Lead everybody to a release, and, where that is C(alone), to no other one."""
    app.apply([service])
    app.watch.endpoints(app.name, release, alone=alone)
