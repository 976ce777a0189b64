# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of what a Compose project can give an app, made before its host is touched."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.webops.wsgi.plugins.plugin_utils.checks.runtime import no_size
from ansible_collections.webops.wsgi.plugins.plugin_utils.compose.project import CERTBOT, NGINX
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import Problem, show
from ansible_collections.webops.wsgi.plugins.plugin_utils.nginx.site import merged_locations, outside, static_folders

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_SERVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")

# What Compose has no word for, by the app's key: what to do instead.
KEYS = {
    "timers": "start the commands by a timer of the host, with docker compose run --rm, or by a scheduler in a worker",
    "listen": "let other services of the project reach the app through nginx",
}
SETTINGS = {  # of the release, where a value of theirs asks for something
    "bake": "leave it at 0, or deploy the app to a host",
    "unit_extra": "remove it; it is of systemd's units",
    "memory_high": "write memory_max; Docker has no other limit of memory",
    "after_rollout": "remove it, and do the same in after_activate: a project has one host",
    "writable_paths": "write to the state directory, or mount a volume in a service of your own",
}

OWN_NAMES = (NGINX, CERTBOT, "tls")  # of services, and of what lies beside the secrets of apps
OWN_VARIABLES = ("CREDENTIALS_DIRECTORY", "WSGI_APP", "WSGI_RELEASE", "WSGI_RELEASE_DIR", "WSGI_SOCKET")


def problems(apps: Iterable[Mapping[str, Any]], settings: Mapping[str, Any]) -> Iterator[Problem]:
    """All that is wrong.

    Args:
        apps: The resolved apps.
        settings: The role's variables, without its prefix.
    """
    present = list(apps)
    if any(app.get("tier") for app in present):
        text = "the inventory has a group balancers, and a Compose project is one host's own"
        yield Problem(
            "", text, "deploy with webops.wsgi.site, or write the hosts of the project into an inventory of their own"
        )
    yield from _project(present, settings)
    for app in present:
        yield from _app(app, settings)


def _project(apps: list[Mapping[str, Any]], settings: Mapping[str, Any]) -> Iterator[Problem]:
    directory, name = settings["directory"], settings["project"]
    if not directory.startswith("/") or directory.rstrip("/").count("/") < 2:
        text = f"compose_directory is {show(directory)}, which is not a directory below another one"
        yield Problem("", text, "write an absolute path, such as /srv/compose")
    if not _NAME.fullmatch(name):
        fix = "write small letters, digits, hyphens and underscores, a letter or digit first"
        yield Problem("", f"compose_project is {show(name)}, which Compose does not take", fix)
    try:
        ipaddress.ip_address(settings["publish"])
    except ValueError:
        text = f"compose_publish is {show(settings['publish'])}, which is not an address"
        yield Problem("", text, "write 127.0.0.1, 0.0.0.0 for everybody, or an address of the host")
    for service, lines in settings["services"].items():
        if not _SERVICE.fullmatch(service) or not isinstance(lines, dict):
            text = f"compose_services has {show(service)}, which is not a service"
            yield Problem("", text, "write name: {image: ...}, in Compose's words")
        elif service in (NGINX, CERTBOT) or any(
            service == app["name"] or service.startswith(f"{app['name']}-") for app in apps
        ):
            text = f"compose_services has {show(service)}, which is a name of the project's own"
            yield Problem("", text, "choose another name")


def _app(app: Mapping[str, Any], settings: Mapping[str, Any]) -> Iterator[Problem]:
    found = (
        *_lacking(app),
        *_served(app),
        *_certified(app, settings),
        *_built(app),
        *_beside(app, settings["services"]),
    )
    for text, fix in found:
        yield Problem(app["name"], text, fix)


def _lacking(app: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What Compose has no word for."""
    if app["name"] in OWN_NAMES:
        yield f"name is {show(app['name'])}, which is a name of the project's own", "choose another name"
    for key, fix in KEYS.items():
        if app[key]:
            yield f"{key} is set, and a Compose project does not have it", fix
    for key, fix in SETTINGS.items():
        if app["release"][key]:
            yield f"release.{key} is set, and a Compose project does not have it", fix
    if no_size(app["release"]["memory_max"]):
        text = f"release.memory_max is {show(app['release']['memory_max'])}, and Docker takes a size alone"
        yield text, "write such as 512M, or nothing for no limit"
    for variable in OWN_VARIABLES:
        if variable in app["env"]:
            yield f"env.{variable} is set, which the project sets itself", "remove it"


def _served(app: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What nginx cannot do in a container of its own."""
    for folder in static_folders(app).values():
        if outside(app, folder):
            fix = "let the app send these files, or deploy it to a host"
            yield f"nginx serves {show(folder)}, which is in no image", fix
    if "journal" in {settings["access_log"] for settings in merged_locations(app["nginx"]).values()}:
        fix = "remove it: what nginx logs goes where compose_logging says"
        yield 'nginx.access_log is "journal", which a container does not have', fix


def _certified(app: Mapping[str, Any], settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What the project's certbot cannot ask an authority for."""
    acme = app["certbot"]
    if app["tls"] != "letsencrypt" or app["path"] != "/":
        return
    if _is_loopback(settings["publish"]):
        text = f'tls is "letsencrypt", and at compose_publish, {settings["publish"]}, no authority reaches nginx'
        yield text, "write compose_publish: 0.0.0.0, or on a laptop tls: selfsigned"
    if acme["challenge"] != "http-01":
        text = f"certbot.challenge is {show(acme['challenge'])}, and the project's certbot answers http-01 alone"
        yield text, "write challenge: http-01, or tls: provided with a certificate that another program renews"
    if acme["fallbacks"]:
        yield "certbot.fallbacks is set, and the project's certbot asks one authority", "remove it"


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _built(app: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """An image that the project cannot build."""
    own = app["image"]["containerfile"]
    if own and not app["source"].get("image"):
        fix = "build and push it with webops.wsgi.image, and write source: {image: ...} and runtime: container"
        yield f"image.containerfile is {show(own)}, and a project builds its images itself", fix


def _beside(app: Mapping[str, Any], services: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Other services that the app counts on."""
    for service in app["compose"]["depends_on"]:
        if service not in services:
            text = f"compose.depends_on has {show(service)}, which compose_services does not name"
            yield text, f"add it there, or write one of {', '.join(services) or 'none'}"
    if app["compose"]["development"] and app["source"].get("kind") != "path":
        text = f"compose.development is {app['compose']['development']}, and source names no directory"
        yield text, "write source: {path: ...}, or remove it"
    if app["compose"]["network"] == "none" and app["compose"]["depends_on"]:
        text = 'compose.network is "none", and compose.depends_on names services that it would not reach'
        yield text, "write compose.network: project"
