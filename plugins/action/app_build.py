# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller's half of app_build: resolve the sources, and send those whose build the host lacks."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.webops.wsgi.plugins.module_utils.build.inputs import (
    PACKAGES,
    BuildError,
    BuildInputs,
    choose_python,
)
from ansible_collections.webops.wsgi.plugins.module_utils.build.make import build_path
from ansible_collections.webops.wsgi.plugins.module_utils.host.lock import caller
from ansible_collections.webops.wsgi.plugins.module_utils.host.pythons import FOLDER
from ansible_collections.webops.wsgi.plugins.plugin_utils import progress
from ansible_collections.webops.wsgi.plugins.plugin_utils.app_failures import (
    ReportedError,
    by_app,
    earlier_failures,
    settle,
)
from ansible_collections.webops.wsgi.plugins.plugin_utils.image.request import registry
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory import env_places
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import plain
from ansible_collections.webops.wsgi.plugins.plugin_utils.nginx.site import public_folders
from ansible_collections.webops.wsgi.plugins.plugin_utils.resolved_apps import resolved_apps
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources import cache
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources.model import Source, SourceError
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources.repositories import bring
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources.resolve import resolve

ROOT = Path("/srv")  # of all apps on a host
PARALLEL_SOURCES = 8  # each mostly waits for git, the disk or the network


def resolve_all(apps: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Source], dict[str, str]]:
    """The exact source of every app, resolved side by side, and why those that cannot be read are not there."""
    found: dict[str, Source] = {}
    failures: dict[str, str] = {}
    with ThreadPoolExecutor(PARALLEL_SOURCES) as pool:
        waiting = {app["name"]: pool.submit(resolve, app["source"], cache.directory()) for app in apps}
    for name, future in waiting.items():
        try:
            found[name] = future.result()
        except SourceError as error:
            failures[name] = f'app "{name}": {error}'
    return found, failures


def name_of(source: Source, others: list[str]) -> str:
    """What is equal for all builds whose files are of one time.

    With others, such as commands, other files may come of the same source, whose time must tell them apart.
    """
    seen = [source.identity, others] if others else source.identity
    return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()


def time_of(name: str, known: Iterable[Mapping[str, int]]) -> int:
    """When a source was first seen: as hosts that have it know, since another controller may have sent it, or here."""
    own = first_seen(name)
    return min((times[name] for times in known if name in times), default=own)


def first_seen(name: str) -> int:
    """When this controller first saw a source, in seconds since the epoch: one time for all hosts."""
    marker = cache.directory() / "seen" / name
    marker.parent.mkdir(parents=True, exist_ok=True)
    if not marker.exists():
        marker.touch()
    cache.mark_used(marker)
    return int(marker.stat().st_mtime)


def build_inputs(
    app: Mapping[str, Any], source: Source, host: Mapping[str, Any], uv: str, refused: Mapping[str, str]
) -> BuildInputs:
    """Everything that shapes an app's build on a host; C(refused) are Python versions that uv could not install.

    Raises:
        BuildError: The host has no such interpreter.
    """
    python = app["python"]
    if "image" in source.identity:
        # Each engine has images of its own.
        identity = {**source.identity, "engine": app["image"]["engine"]}
        return replace(inputs_of(app, source), source=identity, seen=name_of(source, public_folders(app)))
    of_packages = [folder for folder in public_folders(app) if folder.startswith(f"{PACKAGES}/")]
    version, interpreter = choose_python(
        app["name"], python["version"], host["python"], host["default_python"], refused.get(python["version"])
    )
    seen = name_of(source, [*app["build"], *(python["packages"] if of_packages else [])])
    return replace(inputs_of(app, source), seen=seen, python=version, interpreter=interpreter, uv=uv)


def inputs_of(app: Mapping[str, Any], source: Source) -> BuildInputs:
    """What shapes an app's build, wherever it is made: without the interpreter and uv of the place."""
    python = app["python"]
    commands = list(app["build"])
    return BuildInputs(
        app=app["name"],
        source=source.identity,
        label=source.label,
        python=python["version"],
        interpreter="",
        installer=python["installer"],
        requirements=python["requirements"],
        packages=list(python["packages"]),
        server=app["server"]["requirement"],
        server_packages=list(app["server"]["packages"]),
        index_url=python["index_url"],
        extra_index_urls=list(python["extra_index_urls"]),
        ca_bundle=python["ca_bundle"],
        public=public_folders(app),
        fingerprint=app["nginx"]["static_fingerprint"],
        persistent=sorted(app["persistent"]),
        brotli=app["nginx"]["brotli"] and bool(public_folders(app)),
        subdirectory=app["source"].get("subdirectory", ""),
        commands=commands,
        # Those that name files of a release have no meaning here.
        variables={name: app["env"][name] for name in app["env"].keys() - env_places.located(app)} if commands else {},
        extras=list(python["extras"]),
        groups=list(python["groups"]),
        persistent_files=sorted(app["persistent_files"]),
        environment=dict(python["build_environment"]),
        build_packages=[*app["build_packages"], *app["system_packages"]],
    )


def times_of_all(variables: Mapping[str, Any]) -> Iterator[Mapping[str, int]]:
    """What each host of the play knows of the times of sources."""
    for host in variables.get("ansible_play_hosts") or ():
        yield (variables["hostvars"][host].get("__wsgi_host") or {}).get("times") or {}


def lacking(apps: Sequence[Mapping[str, Any]], host: Mapping[str, Any]) -> list[str]:
    """Python versions that apps ask for and the host does not have."""
    return sorted({app["python"]["version"] for app in apps if app["runtime"] == "process"} - {"", *host["python"]})


def answer(
    root: Path, wanted: list[BuildInputs], missing: list[BuildInputs], users: list[str], pythons: Mapping[str, str]
) -> dict[str, Any]:
    """The task's result; C(users) are those that are missing, C(pythons) the interpreters that are new."""
    return {
        "changed": bool(missing or users or pythons),
        "missing": [inputs.app for inputs in missing],
        "users": users,
        "builds": {
            inputs.app: {"digest": inputs.digest, "path": str(build_path(root, inputs)), "source": inputs.label}
            for inputs in wanted
        },
        "diff": [
            *(new(version, f"Python {version}: {path}") for version, path in pythons.items()),
            *(new(app, f"system user {app}") for app in users),
            *(new(inputs.app, f"build {inputs.digest}: {inputs.label}") for inputs in missing),
        ],
    }


def new(app: str, what: str) -> dict[str, str]:
    """A diff that says what an app gets."""
    return {"before_header": app, "after_header": app, "before": "", "after": f"{what}\n"}


def from_registry(app: Mapping[str, Any]) -> dict[str, Any]:
    """How an image of an app is fetched."""
    return {"app": app["name"], "engine": app["image"]["engine"], **registry(app)}


def way_out(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The options of modules that download something."""
    return {"proxy": arguments.get("proxy") or "", "no_proxy": arguments.get("no_proxy") or []}


class ActionModule(ActionBase):
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = plain(self._task.args)
        failed = earlier_failures(task_vars or {})
        resolved = resolved_apps(arguments, task_vars or {})
        apps = [app for app in resolved if app["state"] == "present" and app["name"] not in failed]
        host = arguments["host"]
        pythons, refused = self._install_pythons(lacking(apps, host), arguments, task_vars)
        host = {**host, "python": {**host["python"], **pythons}}
        sources, failures = resolve_all(apps)
        wanted: list[BuildInputs] = []
        for app in apps:
            if app["name"] in sources:
                try:
                    wanted.append(build_inputs(app, sources[app["name"]], host, arguments["uv"], refused))
                except BuildError as error:
                    failures[app["name"]] = str(error)
        missing = [inputs for inputs in wanted if inputs.digest not in host["builds"].get(inputs.app, [])]
        if missing:
            known = list(times_of_all(task_vars or {}))
            missing = [replace(inputs, stamp=time_of(inputs.seen, known)) for inputs in missing]
        users = [inputs.app for inputs in wanted if inputs.app not in host["users"]]
        if (missing or users) and not self._task.check_mode:
            made = self._make(
                apps, users, missing, {inputs.app: sources[inputs.app] for inputs in missing}, failures, task_vars
            )
            if made.get("failed") and not made.get("failures"):
                result.update(made)
                return result
            failures |= by_app(made.get("failures", []))
        good = [inputs for inputs in wanted if inputs.app not in failures]
        result.update(answer(ROOT, good, missing, users, pythons))
        settle(self, result, failures, task_vars or {})
        if result.get("failed"):
            raise ReportedError(result.pop("msg"), result=result)
        return result

    def _install_pythons(
        self, versions: list[str], arguments: Mapping[str, Any], task_vars: Any
    ) -> tuple[dict[str, str], dict[str, str]]:
        """Have interpreters installed; returns their paths by version, and why others cannot be installed."""
        asked = arguments.get("pythons") or {}
        if not versions or not asked.get("download"):
            return {}, {}
        if self._task.check_mode:  # which patch it will be, uv alone knows
            return {version: str(FOLDER / version) for version in versions}, {}
        self._display.display(f"installing Python {', '.join(versions)}")
        options = {"versions": versions, "uv": arguments["uv"]}
        options |= {name: asked.get(name) or "" for name in ("mirror", "ca_bundle")} | way_out(arguments)
        made = self._execute_module(module_name="webops.wsgi.install_pythons", module_args=options, task_vars=task_vars)
        if made.get("failed"):
            return {}, {version: str(made.get("msg")) for version in versions}
        return made["pythons"], made["refused"]

    def _make(
        self,
        apps: list[dict[str, Any]],
        users: list[str],
        missing: list[BuildInputs],
        sources: Mapping[str, Source],
        failures: dict[str, str],
        task_vars: Any,
    ) -> dict[str, Any]:
        """Have the builds made; a source that cannot be sent is a failure of its app."""
        remote_tmp = self._make_tmp_path()
        try:
            archives = self._send(sources, missing, failures, remote_tmp)
            builds = [
                asdict(replace(inputs, version=sources[inputs.app].version()))
                for inputs in missing
                if inputs.app not in failures
            ]
            options = {"builds": builds, "archives": archives, "users": users, "who": caller()}
            options["images"] = [from_registry(app) for app in apps if app["name"] in sources]
            options |= way_out(plain(self._task.args))
            with progress.shown(self, task_vars):
                made: dict[str, Any] = self._execute_module(
                    module_name="webops.wsgi.app_build", module_args=options, task_vars=task_vars
                )
            self._tell(made)
            cache.remove_unused(cache.directory())
            return made
        finally:
            self._remove_tmp_path(remote_tmp)

    def _tell(self, made: Mapping[str, Any]) -> None:
        """Say what decided about each environment, and where nothing did though something should."""
        for name, file in made.get("decided", {}).items():
            self._display.display(f"built {name}: {file} says what is installed")
        for name, modules in made.get("lacks", {}).items():
            self._display.warning(
                f'app "{name}": its source has no requirements.txt, pyproject.toml, setup.py, setup.cfg or lock, so '
                f"that the server alone is installed, but it imports {', '.join(modules)}; name what has them in a "
                "requirements.txt, or in python.packages"
            )

    def _send(
        self, sources: Mapping[str, Source], missing: list[BuildInputs], failures: dict[str, str], remote_tmp: str
    ) -> dict[str, str]:
        archives = {}
        wanted = {inputs.app: inputs for inputs in missing}
        with tempfile.TemporaryDirectory(prefix="webops.wsgi.") as local_tmp:
            for name, source in sources.items():
                self._display.display(f"building {name}: {source.label}")
                if source.write is None:
                    continue
                local = Path(local_tmp) / f"{name}.tar.gz"
                try:
                    source.write(local)
                    for left in bring(local, wanted[name].requirements, wanted[name].packages, cache.directory()):
                        self._display.warning(f'app "{name}": {left}; the host is left to fetch it')
                except SourceError as error:
                    failures[name] = f'app "{name}": {error}'
                    continue
                archives[name] = self._transfer_file(
                    str(local), self._connection._shell.join_path(remote_tmp, local.name)
                )
        self._fixup_perms2([remote_tmp, *archives.values()])
        return archives
