# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller's half of app_image: resolve the source, render what goes into the image, send it to where it is built."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.webops.wsgi.plugins.action.app_build import inputs_of
from ansible_collections.webops.wsgi.plugins.action.app_release import health_options
from ansible_collections.webops.wsgi.plugins.plugin_utils.image import parts
from ansible_collections.webops.wsgi.plugins.plugin_utils.image.context import (
    CONTAINERFILE,
    ContextError,
    File,
    context,
)
from ansible_collections.webops.wsgi.plugins.plugin_utils.image.request import indexes, registry, send_source
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import collection_root, plain
from ansible_collections.webops.wsgi.plugins.plugin_utils.managers.processes import processes
from ansible_collections.webops.wsgi.plugins.plugin_utils.rendering import Renderer
from ansible_collections.webops.wsgi.plugins.plugin_utils.servers.model import tree_files
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources import cache
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources.model import Source, SourceError
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources.resolve import resolve

ASKED = ("path", "statuses", "host", "scheme", "body", "headers")  # of the health check: one question, by an engine


def release_files(app: Mapping[str, Any], renderer: Renderer) -> dict[str, File]:
    """The files of a release that its image has: none that a deployment may choose, and no secret."""
    root = Path(collection_root())
    templates = root / "roles" / "release" / "templates"
    names = ("enter", "adopt") if app["image"]["containerfile"] else ("enter",)
    found = {name: File(_text(root / "roles/image/files" / name), 0o755) for name in names}
    for entry in tree_files([dict(app)]):
        name = entry["dest"].partition("/")[2]
        text = entry.get("content") or renderer.render(entry["template"], {"app": app})
        found["start" if name == "start" else f"etc/{name}"] = File(text, int(entry.get("mode", "0644"), 8))
    # nginx of a host reads no directory of a container.
    described = {**app, "state_folders": []}
    if app["persistent"] or app["persistent_files"]:
        found["prepare"] = File(renderer.render(str(templates / "prepare.j2"), {"app": described}), 0o755)
    for process in processes(app):
        variables = {"app": described, "process": asdict(process)}
        found[f"commands/{process.name}"] = File(renderer.render(str(templates / "command.j2"), variables), 0o755)
    health = health_options(app)
    asked = {name: health[name] for name in ASKED} | {"timeout": app["image"]["health_timeout"]}
    found["check/health.json"] = File(json.dumps(asked, indent=1, sort_keys=True) + "\n")
    found["check/healthy.py"] = File(_text(root / "roles/image/files/healthy.py"))
    found |= {f"check/{name}": File(text) for name, text in parts.modules(parts.HEALTH).items()}
    return found


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def repository(app: Mapping[str, Any]) -> str:
    """The image's name without a tag."""
    settings = app["image"]
    return "/".join(filter(None, (settings["registry"].rstrip("/") or "localhost", settings["name"] or app["name"])))


class ActionModule(ActionBase):
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        app = plain(self._task.args["app"])
        if app["source"].get("image"):
            raise AnsibleActionFail(
                f'app "{app["name"]}": its source is an image already; build it where source names the code'
            )
        try:
            source: Source = resolve(app["source"], cache.directory())
            made = context(
                app,
                inputs_of(app, source),
                release_files(app, Renderer(self, variables)),
                app["python"]["uv_version"],
                source.version(),
            )
            remote_tmp = self._make_tmp_path()
            try:
                options = self._options(app)
                options |= {"name": made.name, "stamp": made.stamp, "labels": made.labels}
                options["files"] = {name: asdict(file) for name, file in made.files.items()}
                options["archive"] = send_source(self, app, source, remote_tmp)
                result.update(
                    self._execute_module(module_name="webops.wsgi.app_image", module_args=options, task_vars=variables)
                )
            finally:
                self._remove_tmp_path(remote_tmp)
        except ContextError as error:
            raise AnsibleActionFail(str(error)) from None
        except SourceError as error:
            raise AnsibleActionFail(f'app "{app["name"]}": {error}') from None
        return result

    def _options(self, app: Mapping[str, Any]) -> dict[str, Any]:
        settings = app["image"]
        return {
            "app": app["name"],
            "engine": settings["engine"],
            "repository": repository(app),
            "tags": settings["tags"],
            "platforms": settings["platforms"],
            "push": settings["push"],
            "registry": registry(app),
            "indexes": indexes(app),
            "containerfile": CONTAINERFILE,
            "own": "/".join(filter(None, (app["source"].get("subdirectory", ""), settings["containerfile"]))),
            "subdirectory": app["source"].get("subdirectory", ""),
            "timeout": settings["build_timeout"],
        }
