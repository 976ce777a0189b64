"""An app for Kubernetes, resolved as a play resolves it, and its manifests."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from ansible_collections.webops.wsgi.plugins.plugin_utils.kubernetes import proxy
from ansible_collections.webops.wsgi.plugins.plugin_utils.kubernetes.objects import Manifest, Rendered, Texts, render
from render import app, renderer

IMAGE = f"registry.example.com/api@sha256:{'a' * 64}"
# What nginx does not read of an app.
OF_THE_APP = ("env", "secrets", "files", "credentials", "workers", "timers", "release", "gunicorn", "image")
SERVER = {
    "start": ("#!/bin/sh\n", 0o755),
    "enter": ("#!/bin/sh\n", 0o755),
    "etc/gunicorn.conf.py": ("workers = 2\n", 0o644),
    "check/healthy.py": ("", 0o644),
}


def kube(**overrides: Any) -> dict[str, Any]:
    """A resolved app; C(kubernetes={...}) is merged over what an app needs at least."""
    own = {"image": IMAGE, "ingress_class": "traefik", **overrides.pop("kubernetes", {})}
    return app("api", **{"hosts": "", "files": {}, **overrides, "kubernetes": own})


def texts(data: dict[str, Any]) -> Texts:
    """The files of its containers."""
    seen = {key: value for key, value in data.items() if key not in OF_THE_APP}
    return Texts(SERVER, *_of_nginx(json.dumps(seen, sort_keys=True)))


@cache
def _of_nginx(app_as_json: str) -> tuple[dict[str, str], dict[str, str]]:
    """To render takes a second, and most tests have the same."""
    data, source = json.loads(app_as_json), renderer("nginx_proxy")
    return proxy.files(data, source.render), proxy.passwords(data, source.render)


def made(**overrides: Any) -> Rendered:
    """Its objects."""
    data = kube(**overrides)
    return render(data, texts(data))


def one(rendered: Rendered, kind: str, name: str = "") -> Manifest:
    """The only object of a kind, or the one of a name, in which R stands for the release."""
    wanted = name.replace("R", rendered.release)
    everything = [*rendered.manifests(), *rendered.hooks.values()]
    (found,) = [
        item for item in everything if item["kind"] == kind and (not name or item["metadata"]["name"] == wanted)
    ]
    return found


def pod(rendered: Rendered, name: str = "api-R") -> Manifest:
    """The pod of a Deployment."""
    found: Manifest = one(rendered, "Deployment", name)["spec"]["template"]["spec"]
    return found


def container(rendered: Rendered, name: str = "app") -> Manifest:
    """A container of the pod that serves."""
    web = pod(rendered)
    (found,) = [item for item in [*web["containers"], *web.get("initContainers", [])] if item["name"] == name]
    return found
