# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One app on a cluster: applied, brought to another release, gone back, removed.

A new release is started beside the one that serves, and proved; then one patch of the public Service leads everybody to
it. Whatever fails before that leaves the old one as it was, and whatever fails after it leads back to it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.failures.report import Failure, cause
from ansible_collections.webops.wsgi.plugins.module_utils.failures.server_log import ServerLog
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes import compare, guard, trouble, view
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.cluster import FORBIDDEN, Cluster, ClusterError
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.lease import alone
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.names import NUMBER, PODS, PROVED, RELEASE
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.trouble import Trouble
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.view import KINDS, View
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.watch import LATE, NotReadyError, Watch, ready
from ansible_collections.webops.wsgi.plugins.module_utils.managers.model import Log

Manifest = dict[str, Any]

LOG_LINES = 200  # that are read of a container
STORED = ("ConfigMap", "Secret")
ROLLING = "rolling"


class DeployError(Exception):
    """An app could not be brought to where it should be; the message is whole."""


@dataclass
class Outcome:
    """What became of an app.

    Attributes:
        release: What serves, or would.
        number: Its number.
        changed: Whether anything is other than before.
        did: What was done, a line each.
        diff: How objects differ.
    """

    release: str = ""
    number: int = 0
    changed: bool = False
    did: list[str] = field(default_factory=list)
    diff: list[dict[str, str]] = field(default_factory=list)

    def note(self, before: Manifest | None, after: Manifest | None) -> None:
        """An object has changed."""
        self.changed = True
        self.diff.append(compare.difference(before, after))

    def say(self, text: str) -> None:
        """Something was done."""
        self.changed = True
        self.did.append(text)


class Deploy:
    """Brings one app of a cluster to what is asked.

    Args:
        cluster: The cluster.
        asked: What the controller says of the app.
        check: Whether nothing is to be changed.
    """

    def __init__(self, cluster: Cluster, asked: Mapping[str, Any], check: bool) -> None:
        self.cluster = cluster
        self.asked = asked
        self.check = check
        self.app: str = asked["name"]
        self.namespace: str = asked["namespace"]
        self.rolling = asked.get("strategy") == ROLLING
        self.objects: Mapping[str, Any] = asked.get("objects") or {}
        self.log = ServerLog(**(asked.get("log") or {}))
        self.outcome = Outcome()
        self.view = View(self.app, self.namespace)
        self.watch = self._watch(lambda: None)

    def _watch(self, meanwhile: Callable[[], None]) -> Watch:
        return Watch(self.cluster, self.namespace, self.app, self.asked.get("schedule_timeout", 15), meanwhile)

    # ------------------------------------------------------------ what is asked

    def present(self) -> Outcome:
        """Have the app as its manifests say.

        Raises:
            DeployError: It is not; what served before does so still.
        """
        with self._explained():
            self._read()
            found = list(guard.problems(self.cluster, self._manifests(), self.namespace))
            if found:
                raise DeployError("\n".join(f'app "{self.app}": {text}' for text in found))
            release: str = self.objects["release"]
            self.outcome.release = release
            if self.check:
                self._predict()
            elif self.view.current == release and self.view.web(release):
                self._put_right()
            else:
                self._check_rights()
                with self._alone():
                    self._deploy(release)
            self.outcome.number = self._number(release)
        return self.outcome

    def rollback(self, target: str) -> Outcome:
        """Go back to an earlier release, C(previous), a number or a name.

        Raises:
            DeployError: There is none, or it does not serve any more.
        """
        with self._explained():
            self._read()
            chosen = self._chosen(target)
            self.outcome.release, self.outcome.number = chosen.name, chosen.number
            if chosen.name == self.view.current:
                return self.outcome
            self.outcome.say(f"went back to release {chosen.number} ({chosen.name})")
            if not self.check:
                with self._alone():
                    self._go_back(chosen.name)
        return self.outcome

    def absent(self) -> Outcome:
        """Remove the app, and its volume where that is said."""
        with self._explained():
            self._read()
            for kind in KINDS:
                if kind == "PersistentVolumeClaim" and not self.asked.get("purge"):
                    continue
                for item in [item for (of, _name), item in self.view.live.items() if of == kind]:
                    self._remove(item)
        return self.outcome

    def status(self) -> dict[str, Any]:
        """What the cluster has of the app, for a person or a program."""
        with self._explained():
            self._read()
            current = self.view.current
            web = self.view.web(current) or {"spec": {}, "status": {}}
            releases = self.view.releases()
            containers = web["spec"].get("template", {}).get("spec", {}).get("containers") or [{}]
            serving = next((one for one in releases if one.name == current), None)
            return {
                "app": self.app,
                "namespace": self.namespace,
                "release": current,
                "number": serving.number if serving else 0,
                "proved": serving.proved if serving else "",
                "image": containers[0].get("image", ""),
                "pods": web["spec"].get("replicas", 0),
                "ready": web["status"].get("readyReplicas", 0),
                "releases": [
                    {"number": one.number, "release": one.name, "proved": one.proved, "current": one.name == current}
                    for one in releases
                ],
            }

    # ------------------------------------------------------------ a release

    def _deploy(self, release: str) -> None:
        """Start a release, prove it, lead everybody to it."""
        self._read()  # somebody else may have been at it a moment ago
        before = self.view.current
        kept = any(one.name == release and one.proved for one in self.view.releases())
        try:
            self._apply([*self.objects["before"], *self._of_release(*STORED)])
            self._count(release)
            self._hook("before_activate")
            old = self._start(release, before)
        except (NotReadyError, ClusterError) as error:
            raise self._undone(release, before, error, kept) from None
        try:
            self._share(before, release)
            self._switch(self.objects["service"], release)
            self._apply([*self.objects["after"], *self._of_release("CronJob")])
            self.watch.steady(release, float(self.asked["bake"]))
            self._hook("after_activate")
        except (NotReadyError, ClusterError) as error:
            self._lead_back(before, old)
            raise self._undone(release, before, error, kept) from None
        number = self._number(release)
        self.outcome.say(f"release {number} ({release}) serves")
        self._finish(release)
        self._hook("after_rollout")

    def _start(self, release: str, before: str) -> list[Manifest]:
        """Start its pods and wait for them; those that roll are gone back to by what is returned."""
        old = [item for item in self.view.live.values() if item["kind"] == "Deployment"] if self.rolling else []
        try:
            self._apply(self._of_release("Deployment"))
            wanted = self._scaled(before)
            for name, number in wanted.items():
                self._scale(name, number)
            if not self.rolling:
                self._apply([self._candidate(release)])
            self.watch.deployments(release, wanted, float(self.asked["start_timeout"]))
            if not self.rolling:
                self.watch.endpoints(self._candidate(release)["metadata"]["name"], release)
        except (NotReadyError, ClusterError):
            self._roll_back(old)
            raise
        return old

    def _scaled(self, before: str) -> dict[str, int]:
        """Pods of each Deployment: as many as serve now, where their number is counted."""
        serving = self.view.web(before)
        now = serving["spec"].get("replicas", 0) if serving else 0
        scalers = [item for item in self.objects["after"] if item["kind"] == "HorizontalPodAutoscaler"]
        found = {}
        for name, number in self.objects["replicas"].items():
            least = scalers[0]["spec"]["minReplicas"] if scalers and not number else number
            most = scalers[0]["spec"]["maxReplicas"] if scalers and not number else number
            found[name] = min(most, max(least, now))
        return found

    def _candidate(self, release: str) -> Manifest:
        """A Service of the release's own, over which it is proved."""
        found = copy.deepcopy(dict(self.objects["service"]))
        found["metadata"] = {
            "name": f"{self.app}-candidate",
            "namespace": self.namespace,
            "labels": {**self.view.labels, RELEASE: release},
        }
        return found

    def _share(self, before: str, release: str) -> None:
        """Lead a share of the requests to a release for a while, and see that it bears them."""
        percent = int(self.asked.get("canary_percent", 0))
        if not before or not percent:
            return
        for route in (item for item in self.objects["after"] if item["kind"] == "HTTPRoute"):
            shared = copy.deepcopy(route)
            (backend,) = shared["spec"]["rules"][0]["backendRefs"]
            new = {**backend, "name": self._candidate(release)["metadata"]["name"], "weight": percent}
            shared["spec"]["rules"][0]["backendRefs"] = [{**backend, "weight": 100 - percent}, new]
            self._apply([shared])
        seconds = int(self.asked["canary_seconds"])
        self.outcome.say(f"led {percent} % of the requests to release {release} for {seconds} seconds")
        self.watch.steady(release, seconds)

    def _switch(self, service: Manifest, release: str) -> None:
        self._apply([service])
        # Pods that are replaced one by one serve beside those before.
        self.watch.endpoints(self.app, release, alone=not self.rolling)

    def _lead_back(self, before: str, old: list[Manifest]) -> None:
        """Have the release before serve again, as if nothing had been."""
        self._roll_back(old)
        service = self.view.live.get(("Service", self.app))
        if before and service:
            self.cluster.apply(_again(service))
        for item in self.view.live.values():
            if item["kind"] in ("Ingress", "HTTPRoute", "HorizontalPodAutoscaler"):
                self.cluster.apply(_again(item))

    def _roll_back(self, old: list[Manifest]) -> None:
        for deployment in old:
            self.cluster.apply(_again(deployment))

    def _undone(self, release: str, before: str, error: Exception, kept: bool) -> DeployError:
        """Remove what the run has made of a release; what it says of it was read before."""
        told = self._told(error)
        for item in view.read(self.cluster, self.app, self.namespace).of(release):
            kind, name = item["kind"], item["metadata"]["name"]
            if (kind, name) in self.view.live and self.rolling and kind in ("Deployment", "CronJob"):
                continue
            if kept and kind == "Deployment":
                self._scale(name, 0)
            elif not kept or kind in ("Job", "Service"):
                self.cluster.delete(kind, self.namespace, name)
        number = next((one.number for one in self.view.releases() if one.name == before), 0)
        serves = f"release {number} ({before}) serves as before" if before else "no release serves"
        what = "stopped" if kept else "removed"
        lines = [f'app "{self.app}": {told[0]}', *(f"  {line}" for line in told[1:])]
        return DeployError("\n".join([*lines, f"The new release, {release}, was {what}; {serves}."]))

    def _told(self, error: Exception) -> list[str]:
        """Why something failed: the cause, then what the container wrote last."""
        if not isinstance(error, NotReadyError):
            return [str(error)]
        found: Trouble = error.trouble
        if not found.pod:
            return [found.reason]
        where = f"pod {found.pod} of namespace {self.namespace}"
        log = ""
        if found.container:
            # It may have been started again since, or its log may be gone with it.
            asked = (found.pod, found.container, LOG_LINES)
            logs = (self.cluster.log(self.namespace, *asked, one) for one in (found.previous, not found.previous))
            log = next(filter(None, logs), "")
        late = found.reason.startswith(LATE)
        noted = trouble.last_warning(self.cluster.events(self.namespace, found.pod)) if late else ""
        more = [noted] if noted else []
        if not log:  # what the cluster says of a pod is no word of the app's, of which a fix may be known
            return [found.reason, *more, where]
        # As a traceback on a host names them.
        text = log.replace('"/wsgi/app/src/', f'"/srv/{self.app}/builds/image/src/')
        failure = Failure(self.app, "", found.reason, Log(found.pod, text, ""), log=self.log)
        first, *rest = cause(failure)
        again = [] if first.startswith(found.reason) else [found.reason]
        return [first, *more, *rest, *again, where]

    # ------------------------------------------------------------ after the switch

    def _finish(self, release: str) -> None:
        """Stop what is old, mark what serves, and remove what is beyond those that are kept."""
        seen = view.read(self.cluster, self.app, self.namespace)
        for name in {_release(item) for item in seen.others(release)}:
            self._retire(seen, name)
        proved = next((one.proved for one in seen.releases() if one.name == release), "")
        if not proved:
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            self._annotate(release, {PROVED: now})
        self._prune(view.read(self.cluster, self.app, self.namespace), release)

    def _retire(self, seen: View, release: str) -> None:
        stopped = False
        for item in seen.of(release):
            if item["kind"] == "Deployment" and item["spec"].get("replicas"):
                self._scale(item["metadata"]["name"], 0)
                stopped = True
            if item["kind"] == "CronJob" and not item["spec"].get("suspend"):
                self._suspend(item, True)
        if stopped:
            self.outcome.say(f"stopped release {release}")
            web = seen.web(release) or {"spec": {}}
            pod = web["spec"].get("template", {}).get("spec", {})
            self.watch.gone(release, float(pod.get("terminationGracePeriodSeconds", 30)))

    def _prune(self, seen: View, release: str) -> None:
        """Remove releases beyond those that are kept, and objects of the app that nothing asks for any more."""
        proved = [one.name for one in seen.releases() if one.proved and one.name != release]
        kept = {release, *proved[: max(0, int(self.asked["keep"]) - 1)]}
        wanted = {(item["kind"], item["metadata"]["name"]) for item in self._manifests()}
        for key, item in seen.live.items():
            of = _release(item)
            beyond = bool(of) and of not in kept
            left = not of and key not in wanted and item["kind"] != "PersistentVolumeClaim"
            if beyond or left or (item["kind"] == "Service" and of):
                self._remove(item)

    # ------------------------------------------------------------ nothing new

    def _put_right(self) -> None:
        """See that everything is as it should be, and make it so."""
        release: str = self.objects["release"]
        self._apply(self._manifests())
        for name, number in self.objects["replicas"].items():
            live = self.view.live.get(("Deployment", name))
            if number and live and live["spec"].get("replicas") != number:
                self.outcome.say(f"Deployment {name} had {live['spec'].get('replicas')} pods")
                self._scale(name, number)
        for item in self.view.of(release):
            if item["kind"] == "CronJob" and item["spec"].get("suspend"):
                self._suspend(item, False)
        wanted = self.objects["replicas"]
        looks = [(self.view.live.get(("Deployment", name), {}), number) for name, number in wanted.items()]
        if self.outcome.changed or not all(ready(item, number) for item, number in looks):
            try:
                self.watch.deployments(release, wanted, float(self.asked["start_timeout"]))
            except NotReadyError as error:
                first, *rest = self._told(error)
                raise DeployError("\n".join([f'app "{self.app}": {first}', *(f"  {line}" for line in rest)])) from None
        unfinished = [item for item in self.view.others(release) if _runs(item)]
        proved = any(one.name == release and one.proved for one in self.view.releases())
        if unfinished or not proved:
            self.outcome.changed = True
            self._finish(release)
        else:
            self._prune(self.view, release)

    def _predict(self) -> None:
        """What a run would change, as the API server sees it, without changing it."""
        release: str = self.objects["release"]
        if self.view.current != release:
            self.outcome.say(f"release {release} would serve")
        there = self.cluster.get("Namespace", "", self.namespace) is not None
        for manifest in self._manifests():
            before = self._live(manifest)
            after = self.cluster.apply(manifest, dry=True) if there or manifest["kind"] == "Namespace" else manifest
            if not compare.same(before, after):
                self.outcome.note(before, after)
        if self.view.current == release:
            for name, number in self.objects["replicas"].items():
                live = self.view.live.get(("Deployment", name))
                if number and live and live["spec"].get("replicas") != number:
                    self.outcome.say(f"Deployment {name} would have {number} pods")
            self._prune(self.view, release)

    # ------------------------------------------------------------ going back

    def _chosen(self, target: str) -> view.Release:
        releases = self.view.releases()
        proved = [one for one in releases if one.proved and one.name != self.view.current]
        current = next((one.number for one in releases if one.name == self.view.current), 0)
        if target == "previous":
            found = next((one for one in proved if one.number < current), None)
        else:
            known = [one for one in releases if one.proved]
            found = next((one for one in known if target in (str(one.number), one.name)), None)
        if found is None:
            kept = ", ".join(str(one.number) for one in proved) or "none"
            raise DeployError(f'app "{self.app}": there is no release {target} to go back to; kept are {kept}')
        return found

    def _go_back(self, release: str) -> None:
        before = self.view.current
        serving = self.view.web(before)
        if self.rolling or not self.view.deployments(release):
            raise DeployError(
                f'app "{self.app}": release {release} was replaced pod by pod, so nothing of it is kept that could '
                "be started; deploy it from the inventory of that time"
            )
        now = serving["spec"].get("replicas", 1) if serving else 1
        web = self.view.web(release)
        wanted = {}
        for item in self.view.deployments(release):
            name = item["metadata"]["name"]
            noted = int((item["metadata"].get("annotations") or {}).get(PODS, 1))
            wanted[name] = max(1, now if item is web else noted)
            self._scale(name, wanted[name])
        try:
            self.watch.deployments(release, wanted, float(self.asked["start_timeout"]))
        except NotReadyError as error:
            raise self._undone(release, before, error, kept=True) from None
        service = _again(self.view.live["Service", self.app])
        service["metadata"]["annotations"] = {RELEASE: release}
        service["spec"]["selector"][RELEASE] = release
        self._switch(service, release)
        scaler = self.view.live.get(("HorizontalPodAutoscaler", self.app))
        if scaler and web:
            moved = _again(scaler)
            moved["spec"]["scaleTargetRef"]["name"] = web["metadata"]["name"]
            self._apply([moved])
        for item in self.view.of(release):
            if item["kind"] == "CronJob":
                self._suspend(item, False)
        for name in {_release(item) for item in self.view.others(release)}:
            self._retire(self.view, name)

    # ------------------------------------------------------------ single steps

    def _read(self) -> None:
        self.view = view.read(self.cluster, self.app, self.namespace)

    def _manifests(self) -> list[Manifest]:
        objects = self.objects
        return [*objects["before"], *objects["release_objects"], objects["service"], *objects["after"]]

    def _of_release(self, *kinds: str) -> list[Manifest]:
        return [item for item in self.objects["release_objects"] if item["kind"] in kinds]

    def _live(self, manifest: Manifest) -> Manifest | None:
        if manifest["kind"] == "Namespace":
            return self.cluster.get("Namespace", "", manifest["metadata"]["name"])
        return self.view.live.get((manifest["kind"], manifest["metadata"]["name"]))

    def _apply(self, manifests: list[Manifest]) -> None:
        for manifest in manifests:
            before = self._live(manifest)
            after = self.cluster.apply(manifest)
            if not compare.same(before, after):
                self.outcome.note(before, after)

    def _remove(self, item: Manifest) -> None:
        if not self.check:
            self.cluster.delete(item["kind"], self.namespace, item["metadata"]["name"])
        self.outcome.note(item, None)

    def _scale(self, name: str, number: int) -> None:
        self.cluster.patch("Deployment", self.namespace, name, {"spec": {"replicas": number}})
        self.outcome.changed = True

    def _suspend(self, cron_job: Manifest, suspended: bool) -> None:
        name = cron_job["metadata"]["name"]
        self.cluster.patch("CronJob", self.namespace, name, {"spec": {"suspend": suspended}})
        self.outcome.changed = True

    def _annotate(self, release: str, notes: Mapping[str, str]) -> None:
        change = {"metadata": {"annotations": dict(notes)}}
        self.cluster.patch("ConfigMap", self.namespace, f"{self.app}-{release}", change)

    def _count(self, release: str) -> None:
        """Give a release its number."""
        releases = self.view.releases()
        if not any(one.name == release and one.number for one in releases):
            highest = max((one.number for one in releases), default=0)
            self._annotate(release, {NUMBER: str(highest + 1)})

    def _number(self, release: str) -> int:
        found = self.cluster.get("ConfigMap", self.namespace, f"{self.app}-{release}") or {"metadata": {}}
        return int((found["metadata"].get("annotations") or {}).get(NUMBER, 0))

    def _hook(self, setting: str) -> None:
        job = self.objects["hooks"].get(setting)
        if not job:
            return
        name = job["metadata"]["name"]
        if self.cluster.get("Job", self.namespace, name):
            self.cluster.delete("Job", self.namespace, name)  # of a run that did not come to its end
            self.watch.gone_job(name)
        self.cluster.apply(job)
        self.outcome.say(f"ran {setting}")
        self.watch.job(name, float(self.asked["hook_timeout"]))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if self.objects:
            self._apply([item for item in self.objects["before"] if item["kind"] == "Namespace"])
        with alone(self.cluster, self.namespace, self.app, self.view.labels) as renew:
            self.watch = self._watch(renew)
            yield

    def _check_rights(self) -> None:
        makes = any(item["kind"] == "Namespace" for item in self._manifests())
        gateway = self.asked.get("route") == "gateway"
        lacking = guard.missing_rights(self.cluster, self.namespace, makes, gateway)
        if lacking:
            rights = guard.role(self.namespace, lacking)
            raise DeployError(
                f'app "{self.app}": the kubeconfig lacks rights in {self.namespace}; bind this:\n{rights}'
            )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """What the API server refuses, with the app's name, and with the rights that are missing."""
        try:
            yield
        except ClusterError as error:
            if error.status == FORBIDDEN and " cannot " in str(error) and self.objects:
                self._check_rights()
            raise DeployError(f'app "{self.app}": {error}') from None


def _release(item: Manifest) -> str:
    return str((item["metadata"].get("labels") or {}).get(RELEASE, ""))


def _runs(item: Manifest) -> bool:
    if item["kind"] == "Deployment":
        return bool(item["spec"].get("replicas"))
    return item["kind"] == "Service" or (item["kind"] == "CronJob" and not item["spec"].get("suspend"))


def _again(live: Manifest) -> Manifest:
    """A manifest that makes an object what it was; the number of pods is left to who counts them."""
    metadata = {
        key: copy.deepcopy(live["metadata"][key])
        for key in ("name", "namespace", "labels", "annotations")
        if live["metadata"].get(key)
    }
    (metadata.get("annotations") or {}).pop("deployment.kubernetes.io/revision", None)
    spec = copy.deepcopy(live["spec"])
    if live["kind"] == "Deployment":
        spec.pop("replicas", None)
    return {"apiVersion": live["apiVersion"], "kind": live["kind"], "metadata": metadata, "spec": spec}
