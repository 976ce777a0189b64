# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the inventory says of an app that Kubernetes cannot do, or that would not do what a person means by it.

Pure functions of a resolved app; classes, rights and the like are for the cluster to tell.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.host import dns
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import Problem, show
from ansible_collections.webops.wsgi.plugins.plugin_utils.kubernetes import objects, quantities
from ansible_collections.webops.wsgi.plugins.plugin_utils.kubernetes.schedule import ScheduleError, cron
from ansible_collections.webops.wsgi.plugins.plugin_utils.nginx.site import outside, static_folders

Data = Mapping[str, Any]
Check = Callable[[Data], Iterator[tuple[str, str]]]

_PINNED = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_GATEWAY = re.compile(r"([a-z0-9]([a-z0-9-]*[a-z0-9])?/)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_ANNOTATION = re.compile(r"([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
CRON_JOB_NAME = 52  # characters
SECRET_SIZE = 1_000_000  # bytes


def problems(app: Data) -> list[Problem]:
    """Everything that is wrong with an app that is to be there."""
    return [Problem(str(app["name"]), text, fix) for check in CHECKS for text, fix in check(app)]


def clashes(apps: Sequence[Data]) -> list[Problem]:
    """Apps that would overwrite each other's objects."""
    found: list[Problem] = []
    owners: dict[tuple[str, str], str] = {}
    for app in apps:
        where = objects.namespace(app)
        for name in (app["name"], *(f"{app['name']}-{entry['name']}" for entry in [*app["workers"], *app["timers"]])):
            if owners.setdefault((where, name), app["name"]) != app["name"]:
                text = f"its objects are called {show(name)} in namespace {show(where)}, as those of app"
                other = show(owners[where, name])
                found.append(Problem(str(app["name"]), f"{text} {other}", "rename one, or give each a namespace"))
    return found


def check_image(app: Data) -> Iterator[tuple[str, str]]:
    """Nodes fetch an image, the same today and tomorrow."""
    image, proxy = objects.image(app), str(app["kubernetes"]["proxy_image"])
    fix = "have webops.wsgi.image build it and push it, and write kubernetes_image with what that tells"
    if not image:
        yield "kubernetes_image is empty, and source names no image", fix
    elif not _PINNED.fullmatch(image):
        yield f"kubernetes_image is {show(image)}, which does not name one image for good", fix
    if not proxy or re.search(r"\s", proxy):
        yield f"kubernetes_proxy_image is {show(proxy)}, which names no image", "write one, such as nginx:1.28"
    elif app["image"]["pin"] and not _PINNED.fullmatch(proxy):
        text = f"kubernetes_proxy_image is {show(proxy)}, which has no digest, and image_pin is true"
        yield text, "write it as name@sha256:..."


def check_names(app: Data) -> Iterator[tuple[str, str]]:
    """Names as the API server takes them."""
    where = objects.namespace(app)
    if not _LABEL.fullmatch(where):
        text = f"kubernetes_namespace is {show(where)}, which is no name of a namespace"
        yield text, "use lower-case letters, digits and hyphens, 63 at most"
    elif where.startswith("kube-"):
        yield f"kubernetes_namespace is {show(where)}, which is Kubernetes' own", "choose another one"
    for number, timer in enumerate(app["timers"]):
        name = f"{app['name']}-{'0' * 10}-{timer['name']}"
        if len(name) > CRON_JOB_NAME:
            text = (
                f"timers[{number}].name is {show(timer['name'])}; with the app's, a CronJob's name is {len(name)} long"
            )
            yield text, f"shorten it by {len(name) - CRON_JOB_NAME} characters"


def check_route(app: Data) -> Iterator[tuple[str, str]]:
    """What leads clients to the app."""
    settings = app["kubernetes"]
    route = settings["route"]
    if route == "ingress" and app["domains"] and not settings["ingress_class"]:
        fix = "write the cluster's, which kubectl get ingressclass tells, or kubernetes_route: gateway or none"
        yield "kubernetes_ingress_class is empty, and kubernetes_route is ingress", fix
    if route == "gateway" and app["domains"] and not settings["gateway"]:
        yield "kubernetes_gateway is empty, and kubernetes_route is gateway", "write it as namespace/name"
    elif settings["gateway"] and not _GATEWAY.fullmatch(settings["gateway"]):
        yield f"kubernetes_gateway is {show(settings['gateway'])}, which is none", "write it as namespace/name"
    if route == "gateway" and (settings["tls_issuer"] or settings["tls_secret"]):
        text = "kubernetes_tls_issuer or kubernetes_tls_secret is set, and certificates of a Gateway are its owner's"
        yield text, "set them in the Gateway's listener, and remove them here"
    for domain in filter(dns.is_address, app["domains"] if route != "none" else []):
        yield f"domains has {show(domain)}, an address, and controllers are asked by names", "remove it"
    for name, value in settings["annotations"].items():
        if not _ANNOTATION.fullmatch(str(name)):
            yield f"kubernetes_annotations has {show(name)}, which is no name of one", "write it as prefix/name"
        elif str(name).startswith("cert-manager.io/") and settings["tls_issuer"]:
            text = f"kubernetes_annotations has {name}, which kubernetes_tls_issuer is for"
            yield text, "keep one of them"
        if not isinstance(value, str):
            yield f"kubernetes_annotations.{name} is {show(value)}, and annotations are texts", "put it in quotes"


def check_sizes(app: Data) -> Iterator[tuple[str, str]]:
    """Requests and limits, in the words of Kubernetes and of systemd."""
    settings, release = app["kubernetes"], app["release"]
    for name in ("cpu_request", "memory_request", "storage_size"):
        value = str(settings[name])
        if value and quantities.quantity(value) is None:
            yield f"kubernetes_{name} is {show(value)}, which is no quantity", "write such as 250m, 2 or 512Mi"
    limit = quantities.memory(str(release["memory_max"]))
    if limit is None:
        text = f"release_memory_max is {show(release['memory_max'])}, a share of a host's memory, and a pod has no host"
        yield text, "write a size, such as 512M"
    cpu = quantities.processor(str(release["cpu_quota"]))
    for name, request, most in (("cpu", "cpu_quota", cpu), ("memory", "memory_max", limit or "")):
        wanted = quantities.quantity(str(settings[f"{name}_request"])) or 0
        if most and wanted > (quantities.quantity(most) or 0):
            text = (
                f"kubernetes_{name}_request is {show(settings[f'{name}_request'])}, more than release_{request} grants"
            )
            yield f"{text}, {show(release[request])}", "lower it, or raise the limit"


def check_scaling(app: Data) -> Iterator[tuple[str, str]]:
    """How many pods."""
    settings = app["kubernetes"]
    least, most = settings["replicas"], settings["replicas_max"]
    if most and not settings["cpu_request"]:
        text = "kubernetes_replicas_max is set, and kubernetes_cpu_request is empty, of which it counts shares"
        yield text, "write a request, such as 100m"
    if most and most <= least:
        text = f"kubernetes_replicas_max is {most}, and kubernetes_replicas is {least}"
        yield text, "write more, or 0 for a fixed number"


def check_canary(app: Data) -> Iterator[tuple[str, str]]:
    """Who can lead a share of the requests elsewhere."""
    settings = app["kubernetes"]
    percent = settings["canary_percent"]
    if percent and settings["route"] != "gateway":
        text = f"kubernetes_canary_percent is {percent}, and kubernetes_route is {show(settings['route'])}"
        yield f"{text}, which has no weights", "write kubernetes_route: gateway, or 0"
    if percent and settings["strategy"] != "switch":
        text = f"kubernetes_canary_percent is {percent}, and kubernetes_strategy is {show(settings['strategy'])}"
        yield text, "write switch, or 0"


def check_storage(app: Data) -> Iterator[tuple[str, str]]:
    """A volume on one node is for one pod, and no release could start beside another."""
    settings = app["kubernetes"]
    kept = [*app["persistent"], *app["persistent_files"]]
    if not kept or settings["storage_access"] != "ReadWriteOnce":
        return
    most = max(settings["replicas"], settings["replicas_max"])
    if most > 1:
        text = (
            f"persistent has {show(kept[0])}, the app has {most} pods, and kubernetes_storage_access is ReadWriteOnce"
        )
        yield text, "write ReadWriteMany, with a StorageClass that has it, or keep the data in a database"
    else:
        text = f"persistent has {show(kept[0])}, and kubernetes_storage_access is ReadWriteOnce"
        yield f"{text}, so a new pod could not start beside the old one on another node", "write ReadWriteMany"


def check_times(app: Data) -> Iterator[tuple[str, str]]:
    """A question of the node waits no longer than an answer may take."""
    timeout = app["image"]["health_timeout"]
    read = app["nginx"]["read_timeout"]
    if timeout > read:
        text = f"image_health_timeout is {timeout} seconds, and nginx gives an answer up after {read}"
        yield text, f"write {read} at most, or raise nginx_proxy_read_timeout"


def check_proxies(app: Data) -> Iterator[tuple[str, str]]:
    """Networks of proxies, not of everybody."""
    for network in app["kubernetes"]["trusted_proxies"]:
        try:
            found = ipaddress.ip_network(network)
        except ValueError:
            yield f"kubernetes_trusted_proxies has {show(network)}, which is no network", "write such as 10.0.0.0/8"
            continue
        if found.prefixlen == 0:
            text = f"kubernetes_trusted_proxies has {show(network)}, everybody, who could then claim any address"
            yield text, "write the networks of the cluster's nodes and pods"


def check_timers(app: Data) -> Iterator[tuple[str, str]]:
    """Times that a CronJob can say."""
    for number, timer in enumerate(app["timers"]):
        try:
            cron(timer["on_calendar"])
        except ScheduleError as error:
            text = f"timers[{number}].on_calendar is {show(timer['on_calendar'])}; {error}"
            yield text, "write such as daily, Mon..Fri 06:30 or *-*-* 03:00:00"
        if timer["random_delay"]:
            yield f"timers[{number}].random_delay is set, which no CronJob has", "remove it, or sleep in the command"


def check_without_effect(app: Data) -> Iterator[tuple[str, str]]:
    """Keys that would do nothing on Kubernetes, or something else."""
    if app["listen"]:
        yield (
            f"listen is {show(app['listen'])}, an address of a host",
            "remove it; programs of the cluster use the Service",
        )
    if app["nginx"]["client_ca"]:
        text = "nginx.client_ca is set, and TLS ends at the controller"
        yield text, "have the controller ask clients for certificates, or remove it"
    if app["hosts"]:
        yield f"hosts is {show(app['hosts'])}, and pods go where the cluster has room", "remove it for clusters"
    for number, worker in enumerate(app["workers"]):
        if worker["replicas"] > 1 and "WSGI_REPLICA" in worker["command"]:
            text = f"workers[{number}].command has $WSGI_REPLICA, and the pods of a Deployment have no numbers"
            yield text, "write a worker for each"
    if float(app["release"]["bake"]) and app["kubernetes"]["strategy"] == "rolling":
        text = "release_bake is set, and kubernetes_strategy is rolling, which leaves no old pods to go back to"
        yield text, "write switch"


def check_static(app: Data) -> Iterator[tuple[str, str]]:
    """Static files are the image's, or the volume's."""
    for prefix, folder in static_folders(app).items():
        elsewhere = outside(app, folder)
        if elsewhere and not f"{elsewhere}/".startswith(f"/var/lib/{app['name']}/"):
            text = f"nginx.static has {show(prefix)} in {show(folder)}, a directory of a host"
            yield text, "ship the files with the source, or serve them from object storage"


def check_secrets(app: Data) -> Iterator[tuple[str, str]]:
    """A Secret takes so much."""
    for key in ("secrets", "credentials", "files"):
        size = sum(len(str(value).encode()) for value in app[key].values())
        if size > SECRET_SIZE:
            text = f"{key} are {size} bytes in all, and an object of Kubernetes holds {SECRET_SIZE}"
            yield text, "ship what is no secret with the source"


CHECKS: tuple[Check, ...] = (
    check_image,
    check_names,
    check_route,
    check_sizes,
    check_scaling,
    check_canary,
    check_storage,
    check_times,
    check_proxies,
    check_timers,
    check_without_effect,
    check_static,
    check_secrets,
)
