# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pods of an app: the app, nginx beside it, and programs of the same release."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.names import maintenance
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory import env_places
from ansible_collections.webops.wsgi.plugins.plugin_utils.kubernetes import proxy, quantities
from ansible_collections.webops.wsgi.plugins.plugin_utils.nginx import site

Data = Mapping[str, Any]
Manifest = dict[str, Any]

HOME = "/wsgi"
SOCKETS = "/run/wsgi"
SOCKET = "current.sock"  # as nginx's configuration has it
PYTHON = f"{HOME}/app/venv/bin/python"
TOP = ("start", "prepare", "enter")  # files of a release that are in no folder
FOLDERS = ("etc", "commands", "check")

READABLE, EXECUTABLE = 0o440, 0o555
AFTER_PROXY = 2  # seconds that the app goes on after nginx has stopped taking connections
SLACK = 5  # seconds beyond what everything takes that ends well
JOB_STOPS = 10  # seconds that a job gets to end
PERIOD = 2  # seconds between two questions of a pod that starts

_CONNECT = (
    "import os, socket; s = socket.socket(socket.AF_UNIX); s.settimeout(20); s.connect(os.environ['WSGI_SOCKET'])"
)


def key(name: str) -> str:
    """The key of a file in a ConfigMap or Secret, which takes no slashes."""
    return name.replace("/", ".")


class Pod:
    """Makes the pods of one app.

    Args:
        app: The resolved app.
        image: Its image.
        server: Files below C(/wsgi), by name, with permissions.
        tree: Files of nginx's configuration, by name.
        passwords: nginx's password files, by name.
    """

    def __init__(
        self,
        app: Data,
        image: str,
        server: Mapping[str, tuple[str, int]],
        tree: Iterable[str],
        passwords: Iterable[str],
    ) -> None:
        self.app = app
        self.image = image
        self.server = server
        self.tree = list(tree)
        self.passwords = list(passwords)
        self.settings: Data = app["kubernetes"]
        self.name: str = app["name"]
        self.persistent = bool(app["persistent"] or app["persistent_files"])
        self.public = site.public_folders(app) if app["domains"] else []
        self.limits = {
            name: limit
            for name, limit in (
                ("cpu", quantities.processor(app["release"]["cpu_quota"])),
                ("memory", quantities.memory(str(app["release"]["memory_max"])) or ""),
            )
            if limit
        }

    # ------------------------------------------------------------ pods

    def web(self, own: str, selector: Mapping[str, str]) -> Manifest:
        """The pod that serves.

        Args:
            own: What the names of the release's objects begin with.
            selector: Labels of the pods that are to be spread over nodes.
        """
        spread = {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": dict(selector)},
        }
        volumes = [*self._app_volumes(own), *self._proxy_volumes(own)]
        found = self._pod(volumes, [self._app(own), self._proxy()], self.grace())
        found["topologySpreadConstraints"] = [spread]
        if self.public:
            found["initContainers"] = [self._copy()]
        return found

    def beside(self, own: str, name: str, stops: int, restart: str = "Always") -> Manifest:
        """The pod of a worker, a timer's command or a hook."""
        container = {
            "name": name,
            **self._program(own),
            "command": [f"{HOME}/enter", f"{HOME}/commands/{name}"],
            "resources": self._resources(),
        }
        return self._pod(self._app_volumes(own), [container], stops + SLACK, restart)

    def grace(self) -> int:
        """Seconds that a pod gets to end: nobody sends to it any more, then every answer in progress is given."""
        stops: int = self.app["server"]["stop_timeout"]
        return int(self.settings["stop_delay"]) + AFTER_PROXY + stops + SLACK

    def _pod(
        self, volumes: list[Manifest], containers: list[Manifest], grace: int, restart: str = "Always"
    ) -> Manifest:
        user = self.app["image"]["user"]
        found: Manifest = {
            "serviceAccountName": self.name,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "restartPolicy": restart,
            "terminationGracePeriodSeconds": grace,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": user,
                "runAsGroup": user,
                "fsGroup": user,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": containers,
            "volumes": volumes,
        }
        if self.settings["pull_secret"]:
            found["imagePullSecrets"] = [{"name": self.settings["pull_secret"]}]
        return found

    # ------------------------------------------------------------ containers

    def _container(self, image: str) -> Manifest:
        return {
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
        }

    def _program(self, own: str) -> Manifest:
        """What every program of the app has."""
        sources: list[Manifest] = [{"configMapRef": {"name": f"{own}-env"}}]
        if self.app["secrets"]:
            sources.append({"secretRef": {"name": own}})
        mounts: list[Manifest] = [
            {"name": "run", "mountPath": SOCKETS},
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "data", "mountPath": self._state()},
        ]
        tops = [name for name in TOP if name in self.server]
        folders = [name for name in FOLDERS if any(file.startswith(f"{name}/") for file in self.server)]
        for name in [*tops, *folders]:
            mounts.append({"name": "release", "mountPath": f"{HOME}/{name}", "subPath": name, "readOnly": True})
        for folder in ("files", "credentials"):
            if self.app[folder]:
                mounts.append({"name": "files", "mountPath": f"{HOME}/{folder}", "subPath": folder, "readOnly": True})
        return {**self._container(self.image), "envFrom": sources, "env": self._variables(), "volumeMounts": mounts}

    def _app(self, own: str) -> Manifest:
        return {
            "name": "app",
            **self._program(own),
            "command": [f"{HOME}/enter", f"{HOME}/start"],
            "resources": self._resources(),
            **self._app_probes(),
            # Later than nginx, which is given what it still has.
            "lifecycle": {"preStop": {"sleep": {"seconds": self.settings["stop_delay"] + AFTER_PROXY}}},
        }

    def _app_probes(self) -> Manifest:
        timeout = self.app["image"]["health_timeout"] + 1
        asked = {"exec": {"command": [PYTHON, "-I", f"{HOME}/check/healthy.py"]}, "timeoutSeconds": timeout}
        release = self.app["release"]
        tries = math.ceil((release["start_timeout"] + release["health_timeout"]) / PERIOD)
        found: Manifest = {
            "startupProbe": {**asked, "periodSeconds": PERIOD, "failureThreshold": tries},
            # It connects, and asks for nothing: neither a busy worker nor a database that is away ends the app by it.
            "livenessProbe": {
                "exec": {"command": [PYTHON, "-I", "-c", _CONNECT]},
                "periodSeconds": 20,
                "timeoutSeconds": 25,
                "failureThreshold": 3,
            },
        }
        if not kubelet_can_judge(release):
            found["readinessProbe"] = {**asked, "periodSeconds": 5, "failureThreshold": 3}
        return found

    def _proxy(self) -> Manifest:
        links = [f"ln -sf {leads} {log}" for log, leads in proxy.logs(self.app).items()]
        port = {"tcpSocket": {"port": "http"}}
        mounts = [
            {"name": "nginx", "mountPath": proxy.TREE, "readOnly": True},
            {"name": "nginx", "mountPath": "/etc/nginx/nginx.conf", "subPath": "nginx.conf", "readOnly": True},
            {"name": "maintenance", "mountPath": proxy.MAINTENANCE, "readOnly": True},
            {"name": "nginx-state", "mountPath": "/run", "subPath": "run"},
            {"name": "nginx-state", "mountPath": "/var/lib/nginx", "subPath": "lib"},
            {"name": "nginx-state", "mountPath": "/var/cache/nginx", "subPath": "cache"},
            {"name": "nginx-state", "mountPath": proxy.LOGS, "subPath": "log"},
            {"name": "run", "mountPath": f"/run/{self.name}"},
            *([{"name": "static", "mountPath": self._tree(), "readOnly": True}] if self.public else ()),
            *([{"name": "kept", "mountPath": f"/var/cache/nginx-{self.name}"}] if self._caches() else ()),
            *([{"name": "data", "mountPath": self._state(), "readOnly": True}] if self._serves_state() else ()),
        ]
        # Told to end by TERM, nginx would break off what it is sending.
        quits = f"sleep {self.settings['stop_delay']}; nginx -s quit; while [ -e /run/nginx.pid ]; do sleep 0.2; done"
        proxied = self._container(self.settings["proxy_image"])
        # Another user than the app's: by that, a server tells the proxy from a program of the app.
        proxied["securityContext"]["runAsUser"] = self.app["image"]["user"] + 1
        return {
            "name": "nginx",
            **proxied,
            "command": ["/bin/sh", "-c", "; ".join([*links, "exec nginx -g 'daemon off;'"])],
            "ports": [
                {"name": "http", "containerPort": proxy.PORT, "protocol": "TCP"},
                {"name": "node", "containerPort": proxy.NODE_PORT, "protocol": "TCP"},
            ],
            "resources": {"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"memory": "256Mi"}},
            "readinessProbe": {**self._asked_by_kubelet(port), "periodSeconds": 3, "failureThreshold": 3},
            "livenessProbe": {**port, "periodSeconds": 20, "timeoutSeconds": 10, "failureThreshold": 3},
            "lifecycle": {"preStop": {"exec": {"command": ["/bin/sh", "-c", quits]}}},
            "volumeMounts": mounts,
        }

    def _asked_by_kubelet(self, otherwise: Manifest) -> Manifest:
        """The health check through nginx, where the node's own judgement is that of the app's settings."""
        release = self.app["release"]
        if not kubelet_can_judge(release):
            return {**otherwise, "timeoutSeconds": 3}
        headers = {
            "Host": site.asked_name(self.app),
            "X-Forwarded-Proto": self.app["scheme"],
            **release["health_headers"],
        }
        named = [{"name": str(name), "value": str(value)} for name, value in headers.items()]
        path = site.below(self.app["path"], release["health_path"])
        question = {"path": path, "port": "node", "httpHeaders": named}
        return {"httpGet": question, "timeoutSeconds": self.app["image"]["health_timeout"]}

    def _copy(self) -> Manifest:
        """Gives nginx the static files of the image."""
        inside = self.app["source"].get("subdirectory", "")
        folders = [shlex.quote("/".join(filter(None, (inside, folder)))) for folder in self.public]
        return {
            "name": "static",
            **self._container(self.image),
            "command": ["/bin/sh", "-c", f"cd {HOME}/app/src && cp -R -p --parents {' '.join(folders)} /static/"],
            "resources": {"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
            "volumeMounts": [{"name": "static", "mountPath": "/static"}],
        }

    def _resources(self) -> Manifest:
        wanted = {"cpu": self.settings["cpu_request"], "memory": self.settings["memory_request"]}
        requests = {name: value for name, value in wanted.items() if value}
        return {"requests": requests, **({"limits": dict(self.limits)} if self.limits else {})}

    # ------------------------------------------------------------ variables and files

    def environment(self) -> dict[str, str]:
        """The variables that anyone may see."""
        own = {name: str(value) for name, value in self.app["env"].items()}
        return {**own, **env_places.in_container(self.app)}

    def _variables(self) -> list[Manifest]:
        found = {"WSGI_SOCKET": f"{SOCKETS}/{SOCKET}"}
        if self.app["credentials"]:
            found["CREDENTIALS_DIRECTORY"] = f"{HOME}/credentials"
        given = {*self.app["env"], *self.app["secrets"]}
        server = self.app[self.app["server"]["name"]]
        if server.get("workers") == "auto" and "WEB_CONCURRENCY" not in given:
            limits = self.limits.get("cpu", ""), self.settings["cpu_request"], self.limits.get("memory", "")
            found["WEB_CONCURRENCY"] = str(quantities.workers(*limits))
        return [{"name": name, "value": value} for name, value in found.items()]

    def secret_files(self) -> dict[str, str]:
        """Files that only the app may read, by their keys."""
        return {
            f"{folder}.{name}": text for folder in ("files", "credentials") for name, text in self.app[folder].items()
        }

    def _state(self) -> str:
        return f"/var/lib/{self.name}"

    def _tree(self) -> str:
        return f"/srv/{self.name}/current/app/src"

    def _serves_state(self) -> bool:
        return bool(self.app["domains"] and site.state_folders(dict(self.app)))

    def _caches(self) -> bool:
        return proxy.has_cache(self.app)

    def _app_volumes(self, own: str) -> list[Manifest]:
        items = [{"key": key(name), "path": name} for name in self.server]
        data: Manifest = {"persistentVolumeClaim": {"claimName": self.name}} if self.persistent else {"emptyDir": {}}
        found: list[Manifest] = [
            {"name": "release", "configMap": {"name": own, "items": items, "defaultMode": EXECUTABLE}},
            {"name": "run", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
            {"name": "tmp", "emptyDir": {}},
            {"name": "data", **data},
        ]
        if self.app["files"] or self.app["credentials"]:
            kept = [
                {"key": f"{folder}.{name}", "path": f"{folder}/{name}"}
                for folder in ("files", "credentials")
                for name in self.app[folder]
            ]
            secret = {"secretName": f"{own}-files", "items": kept, "defaultMode": READABLE}
            found.append({"name": "files", "secret": secret})
        return found

    def _proxy_volumes(self, own: str) -> list[Manifest]:
        def items(names: Iterable[str]) -> list[Manifest]:
            return [{"key": key(name), "path": name} for name in names]

        sources: list[Manifest] = [{"configMap": {"name": f"{own}-nginx", "items": items(self.tree)}}]
        if self.passwords:
            sources.append({"secret": {"name": f"{own}-passwords", "items": items(self.passwords)}})
        return [
            {"name": "nginx", "projected": {"sources": sources, "defaultMode": READABLE}},
            {"name": "maintenance", "configMap": {"name": maintenance(self.name), "optional": True}},
            {"name": "nginx-state", "emptyDir": {}},
            *([{"name": "static", "emptyDir": {}}] if self.public else ()),
            *([{"name": "kept", "emptyDir": {}}] if self._caches() else ()),
        ]


def kubelet_can_judge(release: Data) -> bool:
    """Whether what a node takes for healthy, 200 to 399, is what the app's settings say."""
    spans = [str(status).partition("-") for status in release["health_status"]]
    numbers = [int(number) for first, _dash, last in spans for number in (first, last or first)]
    return not release["health_body"] and all(200 <= number <= 399 for number in numbers)
