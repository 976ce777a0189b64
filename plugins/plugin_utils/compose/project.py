# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Compose project: resolved apps in, the services of C(compose.yaml) and the files beside it out.

A release of an app is a service of its own, C(api-12). Its number is known to the host alone: C(NUMBER) stands for it.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.build.inputs import BuildInputs
from ansible_collections.webops.wsgi.plugins.module_utils.managers.model import HOOK, WORKER
from ansible_collections.webops.wsgi.plugins.module_utils.managers.systemd import environment_file
from ansible_collections.webops.wsgi.plugins.plugin_utils.image.context import CONTAINERFILE, HOME, File
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory import env_places
from ansible_collections.webops.wsgi.plugins.plugin_utils.managers.processes import processes

NUMBER = "@RELEASE@"
NGINX = "nginx"  # the service that clients meet
CERTBOT = "certbot"  # the service that asks authorities for certificates
CERTBOT_USER = 10002
NONE = "none"  # network of an app that needs nobody
APP_LABEL = "webops.wsgi.app"
DEVELOPMENT_PORT = 8000  # that develop.py listens on
STOP_GRACE = 5  # seconds beyond those that the server may take, for what the engine does itself
PLAIN: dict[str, Any] = {  # of every container: nothing that it does not need
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    "restart": "unless-stopped",
}
# What nginx's master does as root: it binds 80, opens logs and keys, and has its workers be another user.
NGINX_CAPABILITIES = ["CHOWN", "DAC_OVERRIDE", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID"]


@dataclass(frozen=True)
class Image:
    """The image of a release.

    Attributes:
        name: By which the engine knows it.
        context: What it is built from; empty for one that comes from a registry.
        labels: Of the image.
        stamp: Time of its files.
    """

    name: str
    context: Mapping[str, File] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    stamp: int = 0


@dataclass(frozen=True)
class Release:
    """What a release of an app is made of; C(NUMBER) stands for its number.

    Attributes:
        services: Its services, that of the server first.
        files: Its files that are mounted where the image has its own.
        secrets: Its files that only its containers read.
        build: How its image is built; empty for one that comes from a registry.
        development: A service that only runs when a person asks for its profile, if the app has one.
    """

    services: dict[str, dict[str, Any]]
    files: dict[str, File]
    secrets: dict[str, File]
    build: dict[str, Any]
    development: dict[str, Any]

    def digest(self) -> str:
        """Equal releases, same digest."""
        shape: list[Any] = [
            self.services,
            {name: asdict(file) for name, file in self.files.items()},
            {name: asdict(file) for name, file in self.secrets.items()},
        ]
        return hashlib.sha256(json.dumps(shape, sort_keys=True).encode()).hexdigest()


def release(app: Mapping[str, Any], image: Image, files: Mapping[str, File], inputs: BuildInputs) -> Release:
    """The release that an app is to have.

    Args:
        app: The resolved app.
        image: What its containers run.
        files: The files of a release as an image has them.
        inputs: What shapes its build: they say which directories nginx reads.
    """
    secrets = {"environment": File(environment_file(app["secrets"]), 0o444)}
    secrets |= {f"files/{name}": File(text, 0o444) for name, text in app["files"].items()}
    secrets |= {f"credentials/{name}": File(text, 0o444) for name, text in app["credentials"].items()}
    own = {**files, "enter": File(enter(inputs), 0o755)}
    title = f"{app['name']}-{NUMBER}"
    server = _program(app, image, own, secrets)
    server["healthcheck"] = _health(app)
    services = {title: server}
    for process in processes(app):
        if process.kind == WORKER:
            worker = {**_program(app, image, own, secrets), "command": [f"{HOME}/commands/{process.name}"]}
            worker["healthcheck"] = {"disable": True}
            worker["stop_grace_period"] = f"{process.stop_timeout + STOP_GRACE}s"
            if process.replica:
                worker["environment"] = {**worker["environment"], "WSGI_REPLICA": str(process.replica)}
            services[f"{title}-{process.unit.replace('.', '-')}"] = worker
    build = _build(app, image) if image.context else {}
    return Release(services, own, secrets, build, _development(app, server))


def hooks(app: Mapping[str, Any]) -> dict[str, int]:
    """The hooks of an app, and the seconds that each may take."""
    return {process.name: process.timeout for process in processes(app) if process.kind == HOOK}


def context_of(app: Mapping[str, Any]) -> str:
    """The directory, in the project, that an app's image is built from."""
    return f"images/{app['name']}"


def _program(app: Mapping[str, Any], image: Image, files: Iterable[str], secrets: Iterable[str]) -> dict[str, Any]:
    name, settings = app["name"], app["release"]
    user = app["image"]["user"]
    found: dict[str, Any] = {
        "image": image.name,
        "user": f"{user}:{user}",
        **PLAIN,
        "stop_signal": "SIGTERM",
        "stop_grace_period": f"{app['server']['stop_timeout'] + STOP_GRACE}s",
        "environment": {key: escaped(value) for key, value in environment(app).items()},
        "secrets": [{"source": f"{name}-{NUMBER}", "target": "environment"}],
        "volumes": [f"{name}-run:/run/{name}", f"{name}-state:/var/lib/{name}", *_mounts(name, files, secrets)],
        "tmpfs": ["/tmp:mode=1777,nosuid,nodev"],
        "labels": {APP_LABEL: name},
        "pids_limit": settings["tasks_max"],
        "ulimits": {"nofile": settings["limit_nofile"]},
        # nginx makes the directories that it shares with the app.
        "depends_on": {NGINX: {"condition": "service_healthy"}}
        | {other: {"condition": "service_started"} for other in app["compose"]["depends_on"]},
    }
    if image.context:
        found["pull_policy"] = "never"  # no registry has it
    if settings["memory_max"]:
        found["mem_limit"] = found["memswap_limit"] = settings["memory_max"].lower()
    if settings["cpu_quota"]:
        found["cpus"] = int(settings["cpu_quota"].rstrip("%")) / 100
    if app["compose"]["network"] == NONE:
        found["network_mode"] = NONE
    if app["compose"]["logging"]:
        found["logging"] = app["compose"]["logging"]
    return found


def _development(app: Mapping[str, Any], server: Mapping[str, Any]) -> dict[str, Any]:
    """The server as a person has it who writes the app: with the source as it is now, at a port of this machine."""
    port = app["compose"]["development"]
    if not port:
        return {}
    kept = {key: value for key, value in server.items() if key not in ("healthcheck", "network_mode", "restart")}
    mounts = [f"{app['source']['path']}:{HOME}/app/src:ro", f"./development/develop.py:{HOME}/develop.py:ro"]
    return {
        **kept,
        "profiles": ["development"],
        "entrypoint": [f"{HOME}/app/venv/bin/python", f"{HOME}/develop.py"],
        "command": [],
        "ports": [f"127.0.0.1:{port}:{DEVELOPMENT_PORT}"],
        "environment": {**server["environment"], "WSGI_SOCKET": "/tmp/development/sock"},
        "volumes": [mount for mount in server["volumes"] if f":/run/{app['name']}" not in mount] + mounts,
        "healthcheck": {"disable": True},
    }


def _build(app: Mapping[str, Any], image: Image) -> dict[str, Any]:
    return {
        "context": f"./{context_of(app)}",
        "dockerfile": CONTAINERFILE,
        "args": {"SOURCE_DATE_EPOCH": str(image.stamp)},
        "labels": {key: escaped(value) for key, value in sorted(image.labels.items())},
        "secrets": [{"source": f"{app['name']}-build", "target": "wsgi"}],
    }


def _mounts(app: str, files: Iterable[str], secrets: Iterable[str]) -> list[str]:
    """Mounts of what a release has itself, each directory of it once."""
    own = {name.partition("/")[0]: f"./apps/{app}/releases/{NUMBER}" for name in files}
    own |= {name.partition("/")[0]: f"./secrets/{app}/{NUMBER}" for name in secrets if "/" in name}
    return [f"{folder}/{part}:{HOME}/{part}:ro" for part, folder in sorted(own.items())]


def environment(app: Mapping[str, Any]) -> dict[str, str]:
    """The variables of a release's containers; none of them is a secret."""
    name = app["name"]
    return {
        "WSGI_RELEASE": NUMBER,
        "WSGI_SOCKET": f"/run/{name}/{NUMBER}/sock",
        "STATE_DIRECTORY": f"/var/lib/{name}",
        **({"CREDENTIALS_DIRECTORY": f"{HOME}/credentials"} if app["credentials"] else {}),
        **{key: str(value) for key, value in app["env"].items()},
        **env_places.in_container(app),
    }


def _health(app: Mapping[str, Any]) -> dict[str, Any]:
    """How the engine asks; a deployment does not wait for it, but asks itself."""
    return {
        "test": ["CMD", f"{HOME}/app/venv/bin/python", "-I", f"{HOME}/check/healthy.py"],
        "interval": "10s",
        "timeout": f"{app['image']['health_timeout'] + 2}s",
        "start_period": "60s",
    }


def enter(inputs: BuildInputs) -> str:
    """What each program of a release begins with: secrets, directories, and for the server what nginx is to read."""
    folders = " ".join(shlex.quote(f"{inputs.tree}/{name}") for name in inputs.public)
    public = (
        [
            '    if [ ! -d "$here/public" ]; then',
            '        rm -rf -- "$here/public.partial"',
            '        mkdir -- "$here/public.partial"',
            f'        (cd "$WSGI_RELEASE_DIR/app" && cp -RLp --parents -- {folders} "$here/public.partial")',
            '        mv -T -- "$here/public.partial" "$here/public"',
            "    fi",
        ]
        if folders
        else []
    )
    lines = [
        "#!/bin/sh",
        "# Before each program of a release, written by webops.wsgi.",
        "set -eu",
        "set -a",
        ". /run/secrets/environment",
        "set +a",
        'if [ -x "$WSGI_RELEASE_DIR/prepare" ]; then "$WSGI_RELEASE_DIR/prepare"; fi',
        f'if [ "$1" = {HOME}/start ]; then',
        '    here=$(dirname -- "$WSGI_SOCKET")',
        '    mkdir -p -- "$here"',
        "    # Of a container that was killed.",
        '    rm -f -- "$here/sock" "$here/uwsgi"',
        *public,
        "fi",
        'exec "$@"',
        "",
    ]
    return "\n".join(lines)


def base(apps: Iterable[Mapping[str, Any]], settings: Mapping[str, Any], proxy: Mapping[str, Any]) -> dict[str, Any]:
    """What C(compose.yaml) has beside releases: nginx, certbot, volumes, and what a person wrote.

    Args:
        apps: The resolved apps.
        settings: The role's variables, without its prefix.
        proxy: What nginx's container is to be: C(image), and C(ports) that it listens on. Where an authority is asked
            for certificates, C(certbot), the image of its container, C(webroot), which both share, and C(ca_bundle),
            a file of the host with the authorities that certbot trusts, if it is not to trust Debian's.
    """
    present = list(apps)
    volumes: dict[str, Any] = {"cache": {}}
    for app in present:
        volumes |= {f"{app['name']}-run": {}, f"{app['name']}-state": {}}
    services = {NGINX: _nginx(present, settings, proxy)}
    if proxy.get("certbot"):
        services[CERTBOT] = _certbot(proxy)
        services[NGINX]["volumes"] += ["certificates:/certificates", f"acme:{proxy['webroot']}"]
        volumes |= {"certificates": {}, "acme": {}}
    for service in services.values():
        if settings["logging"]:
            service["logging"] = settings["logging"]
    return {
        "name": settings["project"],
        # podman-compose would make a pod, of which nothing here has a use.
        "x-podman": {"in_pod": False},
        "services": {**services, **settings["services"]},
        "volumes": {**volumes, **{name: {} for name in settings["volumes"]}},
    }


def _nginx(apps: list[Mapping[str, Any]], settings: Mapping[str, Any], proxy: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **_own(NGINX, proxy["image"]),
        "cap_add": NGINX_CAPABILITIES,
        # Requests in progress are answered.
        "stop_signal": "SIGQUIT",
        "stop_grace_period": "60s",
        "ports": [f"{settings['publish']}:{port}" for port in proxy["ports"]],
        "volumes": [
            "./apps:/srv:ro",
            "./nginx:/etc/nginx/project:ro",
            "./secrets/tls:/etc/nginx/own-tls:ro",
            "./maintenance:/etc/nginx/maintenance:ro",
            "cache:/var/cache",
            *(f"{app['name']}-run:/sockets/{app['name']}" for app in apps),
            # Of new volumes, root gives the app what belongs to it.
            *(f"{app['name']}-state:/state/{app['name']}" for app in apps),
        ],
        "tmpfs": ["/run", "/tmp:mode=1777", "/var/lib/nginx", "/var/log/nginx"],
        "healthcheck": {"test": ["CMD", "edge", "healthy"], "interval": "3s", "timeout": "5s"},
    }


def _certbot(proxy: Mapping[str, Any]) -> dict[str, Any]:
    found = {
        **_own(CERTBOT, proxy["certbot"]),
        "user": f"{CERTBOT_USER}:{CERTBOT_USER}",
        "volumes": ["./secrets/certbot:/etc/wsgi-certbot:ro", "certificates:/certificates", f"acme:{proxy['webroot']}"],
        "tmpfs": ["/tmp:mode=1777,nosuid,nodev"],
        # nginx answers the authority, and gives certbot the volumes.
        "depends_on": {NGINX: {"condition": "service_healthy"}},
    }
    if proxy["ca_bundle"]:
        found["volumes"].append(f"{proxy['ca_bundle']}:/etc/authorities.pem:ro")
        found["environment"] = {"REQUESTS_CA_BUNDLE": "/etc/authorities.pem"}
    return found


def _own(name: str, image: str) -> dict[str, Any]:
    """A service of an image that the project builds of Debian's packages."""
    build = {"context": f"./images/{name}", "dockerfile": CONTAINERFILE}
    return {"image": image, "build": build, "pull_policy": "never", **PLAIN}


def debian_image(title: str, base_image: str, packages: Iterable[str], more: Iterable[str]) -> str:
    """The recipe of an image with Debian's packages, as on hosts."""
    names = " ".join(shlex.quote(name) for name in packages)
    lines = [
        f"# {title} of a Compose project, written by webops.wsgi",
        f"FROM {base_image}",
        "# The distribution of the base says which versions these are.",
        "# hadolint ignore=DL3008",
        "RUN apt-get update -qq \\",
        f"    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends {names} \\",
        "    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*",
        *more,
        "",
    ]
    return "\n".join(lines)


def nginx_image(base_image: str, packages: Iterable[str], edge: str, webroot: str) -> dict[str, File]:
    """The build context of the image of nginx."""
    more = [
        "RUN ln -sfn wsgi/nginx.conf /etc/nginx/nginx.conf \\",
        "    && ln -sfn project/current /etc/nginx/wsgi \\",
        "    && ln -sfn /run/tls /etc/nginx/tls",
        f"ENV CERTBOT_USER={CERTBOT_USER} WEBROOT={webroot}",
        "COPY edge /usr/local/bin/edge",
        'ENTRYPOINT ["/usr/local/bin/edge"]',
        'CMD ["serve"]',
    ]
    return {CONTAINERFILE: File(debian_image("nginx", base_image, packages, more)), "edge": File(edge, 0o755)}


def certbot_image(base_image: str, program: str) -> dict[str, File]:
    """The build context of the image of certbot."""
    more = [
        "COPY certificates /usr/local/bin/certificates",
        f"USER {CERTBOT_USER}:{CERTBOT_USER}",
        'ENTRYPOINT ["/usr/local/bin/certificates"]',
        'CMD ["serve"]',
    ]
    recipe = debian_image("certbot", base_image, ["certbot"], more)
    return {CONTAINERFILE: File(recipe), "certificates": File(program, 0o755)}


def name_of(context: Mapping[str, File]) -> str:
    """What tells images of different contexts apart."""
    shape = sorted((name, file.text, file.mode) for name, file in context.items())
    return hashlib.sha256(json.dumps(shape).encode()).hexdigest()[:16]


def escaped(value: Any) -> str:
    """A value as it arrives although Compose takes a dollar sign for the beginning of a variable."""
    return str(value).replace("$", "$$")
