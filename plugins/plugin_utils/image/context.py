# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The build context of an app's image: a resolved app in, a Containerfile and the files beside it out."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.build.inputs import BuildInputs
from ansible_collections.webops.wsgi.plugins.module_utils.image.layers import LASTING_TIME, time_of
from ansible_collections.webops.wsgi.plugins.plugin_utils.image import parts
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory import env_places
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources.model import without_credentials

FORMAT = 1  # part of every name; raise it when the way an image is made changes what is in it
HOME = "/wsgi"  # of the app in the image: what a release's directory is on a host
SOCKETS = "/run/wsgi"  # where its socket is, unless $WSGI_SOCKET says otherwise
CONTAINERFILE = "Containerfile"
SOURCE = "source.tar.gz"
ADDED = "wsgi"  # by which a recipe of the app's own finds what is not in its source
INPUTS_LABEL = "webops.wsgi.inputs"  # on an image: the name of what it was made from
STOP_LABEL = "webops.wsgi.stop-timeout"  # how many seconds its server may take to end
DEFAULT_PYTHON = "3.13"  # that the default base image has


class ContextError(Exception):
    """An app of which no image can be made; the message says why and what to do."""


@dataclass(frozen=True)
class File:
    """A file of a context.

    Attributes:
        text: What is in it.
        mode: Its permissions.
    """

    text: str
    mode: int = 0o644


@dataclass(frozen=True)
class Context:
    """What an engine builds an image from, beside the source's archive.

    Attributes:
        files: Its files by name.
        labels: Of the image.
        name: Equal inputs, same name.
        stamp: Time of the image, in seconds since the epoch.
    """

    files: dict[str, File]
    labels: dict[str, str]
    name: str
    stamp: int


def stamp_of(identity: Mapping[str, str]) -> int:
    """A time for the files of a source, which has none that every controller knows."""
    return time_of(json.dumps(dict(identity), sort_keys=True).encode())


def base(app: Mapping[str, Any]) -> str:
    """The image that an app's image is made on."""
    named: str = app["image"]["base"]
    return named.replace("{python}", app["python"]["version"] or DEFAULT_PYTHON)


def context(
    app: Mapping[str, Any], inputs: BuildInputs, release: Mapping[str, File], uv_version: str, version: str
) -> Context:
    """The context of an app's image.

    Args:
        app: The resolved app.
        inputs: What shapes its build; what only the base image can say is left empty.
        release: The files of a release: the server's settings, C(start), C(prepare), C(commands).
        uv_version: The version of uv that fills the environment.
        version: What git says of the source.
    """
    stamp = stamp_of(inputs.source)
    # Its indexes, which may have passwords, are told the stage as a secret.
    shown = replace(inputs, stamp=stamp, version=version, index_url="", extra_index_urls=[], ca_bundle="")
    files = {f"release/{name}": file for name, file in release.items()}
    if app["image"]["containerfile"]:
        files[CONTAINERFILE] = File(added(app))
        counted = files
    else:
        files |= {f"program/{name}": File(text) for name, text in parts.program().items()}
        files["inputs.json"] = File(_json(shown))
        files[CONTAINERFILE] = File(containerfile(app, shown, uv_version))
        # What git says of a source changes with other commits.
        counted = {**files, "inputs.json": File(_json(replace(shown, version="")))}
    shape = [
        FORMAT,
        inputs.source,  # the archive is not looked at: what is in it has a name already
        app["image"]["containerfile"],
        app["image"]["labels"],
        sorted((name, file.text, file.mode) for name, file in counted.items()),
    ]
    name = hashlib.sha256(json.dumps(shape, sort_keys=True).encode()).hexdigest()[:16]
    return Context(files, _labels(app, shown, name), name, stamp)


def _json(inputs: BuildInputs) -> str:
    return json.dumps(asdict(inputs), indent=1, sort_keys=True) + "\n"


def containerfile(app: Mapping[str, Any], inputs: BuildInputs, uv_version: str) -> str:
    """The recipe of an image.

    Args:
        app: The resolved app.
        inputs: What shapes its build.
        uv_version: The version of uv that fills the environment.
    """
    settings, on = app["image"], base(app)
    runtime = [*settings["packages"], *app["system_packages"]]
    secret = "--mount=type=secret,id=wsgi"
    cache = f"--mount=type=cache,id=wsgi-{app['name']},target={HOME}/cache,uid=65532,gid=65532"
    source = "inputs.json" if "package" in inputs.source else f"inputs.json {SOURCE}"
    building = [*app["build_packages"], *(["brotli"] if inputs.brotli else [])]
    subdirectory = app["source"].get("subdirectory", "")
    folder = "/".join(filter(None, (f"{HOME}/app/src", subdirectory)))
    lines = [
        f"# {app['name']}: its image, written by webops.wsgi",
        f"FROM {on} AS base",
        *_installed(runtime),
        "",
        "FROM base AS build",
        *_installed(building),
        "COPY program /context/program",
        f"RUN {secret} python3 /context/program uv {uv_version}",
        f"COPY {source} /context/",
        f"RUN {secret} {cache} python3 /context/program build /context",
        "",
        "FROM base",
        "# What stays from one version to the next comes first.",
        "COPY --from=build /out/environment/ /",
        "COPY --from=build /out/code/ /",
        f"COPY release/ {HOME}/",
        *(f"ENV {name}={_quoted(value)}" for name, value in environment(app).items()),
        f"WORKDIR {folder}",
        *_started(app),
        "",
    ]
    return "\n".join(lines)


def added(app: Mapping[str, Any]) -> str:
    """What is added to the recipe that an app has of its own, whose last stage has the code where it works."""
    own = {name: value for name, value in environment(app).items() if name != "PATH"}
    lines = [
        "",
        "# Added by webops.wsgi: what its releases bring, and where they find the code and the interpreter.",
        "USER 0:0",
        "# A further context of the build.",
        "# hadolint ignore=DL3022",
        f"COPY --from={ADDED} release/ {HOME}/",
        f"RUN {HOME}/adopt {app['server']['name']}",
        f"ENV PATH={HOME}/app/venv/bin:$PATH",
        *(f"ENV {name}={_quoted(value)}" for name, value in own.items()),
        *_started(app),
        "",
    ]
    return "\n".join(lines)


def _started(app: Mapping[str, Any]) -> list[str]:
    """How its containers run, end and are asked."""
    settings = app["image"]
    return [
        f"USER {settings['user']}:{settings['user']}",
        # Every server of this collection ends by it once the requests in progress are answered.
        "STOPSIGNAL SIGTERM",
        f"HEALTHCHECK --interval=5s --timeout={settings['health_timeout']}s --start-period=60s "
        f'CMD ["{HOME}/app/venv/bin/python", "-I", "{HOME}/check/healthy.py"]',
        f'ENTRYPOINT ["{HOME}/enter"]',
        f'CMD ["{HOME}/start"]',
    ]


def environment(app: Mapping[str, Any]) -> dict[str, str]:
    """The variables of every program in the image; none of them is a secret.

    Those that name C({files}) or C({credentials}) are for whoever brings these.

    Raises:
        ContextError: One has several lines.
    """
    located = env_places.located(app)
    own = {name: str(value) for name, value in app["env"].items() if name not in located}
    for name, value in own.items():
        if "\n" in value or "\r" in value:
            raise ContextError(
                f'app "{app["name"]}": env.{name} has more than one line, which a variable of an image cannot have; '
                "put the text in a file of files, and name that"
            )
    return {
        "PATH": f"{HOME}/app/venv/bin:/usr/local/bin:/usr/bin:/bin",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "LANG": "C.UTF-8",
        "HOME": f"/var/lib/{app['name']}",
        "STATE_DIRECTORY": f"/var/lib/{app['name']}",
        "WSGI_APP": app["name"],
        "WSGI_RELEASE_DIR": HOME,
        "WSGI_SOCKET": f"{SOCKETS}/sock",
        **own,
    }


def _installed(packages: list[str]) -> list[str]:
    """The instruction that installs Debian packages, and leaves nothing that differs from one day to the next."""
    if not packages:
        return []
    names = " ".join(shlex.quote(name) for name in dict.fromkeys(packages))
    rest = "/var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/cache/ldconfig/aux-cache /var/log/*"
    return [
        "# The distribution of a pinned base image says which versions these are.",
        "# hadolint ignore=DL3008",
        "RUN touch /tmp/before && apt-get update -qq \\",
        f"    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends {names} \\",
        f"    && rm -rf {rest} \\",
        f"    && find / -xdev -newer /tmp/before -exec touch -h -d @{LASTING_TIME} {{}} + && rm -f /tmp/before",
    ]


def _quoted(value: str) -> str:
    """A value as a Containerfile takes it, where a dollar sign would begin a variable."""
    text = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{text}"'


def _labels(app: Mapping[str, Any], inputs: BuildInputs, name: str) -> dict[str, str]:
    identity = inputs.source
    known = {
        "org.opencontainers.image.title": app["name"],
        "org.opencontainers.image.source": without_credentials(str(app["source"].get("git", ""))),
        "org.opencontainers.image.revision": identity.get("commit", "") or name,
        "org.opencontainers.image.version": inputs.version or str(app["source"].get("version", "")) or name,
        "org.opencontainers.image.base.name": base(app),
        INPUTS_LABEL: name,
        STOP_LABEL: str(app["server"]["stop_timeout"]),
    }
    own = {str(key): str(value) for key, value in app["image"]["labels"].items()}
    return {**{key: value for key, value in known.items() if value}, **own}
