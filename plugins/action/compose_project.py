# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller's half of compose_project: checks, renders releases and nginx's tree, sends sources."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.webops.wsgi.plugins.action.app_build import inputs_of
from ansible_collections.webops.wsgi.plugins.action.app_image import release_files, repository
from ansible_collections.webops.wsgi.plugins.action.app_release import MASKED_LENGTH, health_options
from ansible_collections.webops.wsgi.plugins.action.config_tree import rendered_files
from ansible_collections.webops.wsgi.plugins.module_utils.host.lock import caller
from ansible_collections.webops.wsgi.plugins.plugin_utils.checks import compose as checks
from ansible_collections.webops.wsgi.plugins.plugin_utils.checks.run import report
from ansible_collections.webops.wsgi.plugins.plugin_utils.compose import certificates, project
from ansible_collections.webops.wsgi.plugins.plugin_utils.image.context import SOURCE, ContextError, File, context
from ansible_collections.webops.wsgi.plugins.plugin_utils.image.request import indexes, registry, send_source
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import collection_root, plain
from ansible_collections.webops.wsgi.plugins.plugin_utils.nginx.site import COMPOSE, asked_name
from ansible_collections.webops.wsgi.plugins.plugin_utils.nginx.tree import tree_files
from ansible_collections.webops.wsgi.plugins.plugin_utils.rendering import Renderer
from ansible_collections.webops.wsgi.plugins.plugin_utils.resolved_apps import resolved_apps
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources import cache
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources.model import Source, SourceError
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources.resolve import resolve

NGINX, CERTBOT = project.NGINX, project.CERTBOT
GENERATION = "@GENERATION@"  # stands for the name of nginx's tree in its files
# What templates of nginx ask of a host, as its container has it.
CONTAINER_HOST = {"ipv6": False, "release": "13", "nginx_version": "", "orphans": [], "drained": {}}
NOT_IN_A_CONTAINER = ("python3-cryptography", "prometheus-nginx-exporter")


class ActionModule(ActionBase):
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        settings = plain(arguments["settings"])
        resolved = resolved_apps(arguments, task_vars or {})
        apps = [{**app, "target": COMPOSE} for app in resolved if app["state"] == "present"]
        problems = list(checks.problems(apps, settings))
        if problems:
            raise AnsibleActionFail(report(problems))
        variables = {
            **(task_vars or {}),
            "__wsgi_apps": apps,
            "__wsgi_host": CONTAINER_HOST,
            "__wsgi_left_out": [],
            "__wsgi_fleet": {"role": ""},
        }
        renderer = Renderer(self, variables)
        with ExitStack() as stack:
            try:
                wanted = self._wanted(arguments, settings, apps, renderer, stack)
            except ContextError as error:
                raise AnsibleActionFail(str(error)) from None
            options = {
                "apps": [app["name"] for app in apps],
                "settings": {name: settings[name] for name in ("directory", "project", "start", "publish")},
                "rollback": plain(arguments.get("rollback") or {}),
                "wanted": wanted,
            }
            name = "webops.wsgi.compose_project"
            result.update(self._execute_module(module_name=name, module_args=options, task_vars=task_vars))
        return result

    def _wanted(
        self,
        arguments: Mapping[str, Any],
        settings: Mapping[str, Any],
        apps: list[dict[str, Any]],
        renderer: Renderer,
        stack: ExitStack,
    ) -> dict[str, Any]:
        tree, tree_name = self._tree(apps, renderer)
        acme = plain(arguments["acme"])
        packages = [name for name in plain(arguments["packages"]) if name not in NOT_IN_A_CONTAINER]
        images = {NGINX: project.nginx_image(settings["nginx_base"], packages, _role_file("edge"), acme["webroot"])}
        orders = certificates.orders(apps, acme["webroot"], acme["agree_tos"])
        if orders:
            images[CERTBOT] = project.certbot_image(settings["nginx_base"], _role_file("certificates"))
        named = {
            name: f"localhost/{settings['project']}-{name}:{project.name_of(made)}" for name, made in images.items()
        }
        files = {f"images/{name}/{part}": file for name, made in images.items() for part, file in made.items()}
        # Nobody but their owner looks into the project's directory, and certbot reads them as a user of its own.
        files |= {f"secrets/certbot/{name}.ini": File(order, 0o444) for name, order in orders.items()}
        if any(app["compose"]["development"] for app in apps):
            files["development/develop.py"] = File(_role_file("develop.py"))
        proxy = {
            "image": named[NGINX],
            "ports": _ports(arguments, apps),
            "certbot": named.get(CERTBOT, ""),
            "webroot": acme["webroot"],
            "ca_bundle": acme["ca_bundle"],
        }
        return {
            "apps": [self._app(app, renderer, stack) for app in apps],
            "project": {
                "base": project.base(apps, settings, proxy),
                "files": {name: asdict(file) for name, file in files.items()},
                "tree": tree,
                "tree_name": tree_name,
                "certificates": certificates.wanted(apps, renderer.source),
                "orders": {name: _digest(order) for name, order in orders.items()},
                "who": caller(),
            },
            "masked": [
                value
                for app in apps
                for value in (
                    *app["secrets"].values(),
                    *app["credentials"].values(),
                    app["image"]["registry_password"],
                    app["certbot"]["eab_hmac_key"],
                )
                if len(value) >= MASKED_LENGTH
            ],
        }

    def _tree(self, apps: list[dict[str, Any]], renderer: Renderer) -> tuple[dict[str, Any], str]:
        """The files of nginx's tree, and its name."""
        found = rendered_files(tree_files(apps), renderer)
        # Nobody but their owner looks into the project's directory, and nginx's workers read them all.
        files = {item.dest: File(item.content) for item in found}
        name = project.name_of(files)
        return {dest: asdict(File(file.text.replace(GENERATION, name))) for dest, file in files.items()}, name

    def _app(self, app: dict[str, Any], renderer: Renderer, stack: ExitStack) -> dict[str, Any]:
        try:
            source: Source = resolve(app["source"], cache.directory())
        except SourceError as error:
            raise AnsibleActionFail(f'app "{app["name"]}": {error}') from None
        inputs = inputs_of(app, source)
        files = release_files(app, renderer)
        archive, python = "", app["python"]
        if app["source"].get("image"):
            image = project.Image(app["source"]["image"])
        else:
            # What a release has of its own is mounted: a changed setting builds nothing.
            shared = {name: files[name] for name in ("enter",)}
            made = context({**app, "env": {}}, inputs, shared, python["uv_version"], source.version())
            image = project.Image(f"{repository(app)}:{made.name}", made.files, made.labels, made.stamp)
            archive = self._send(app, source, stack) if source.write else ""
        release = project.release(app, image, files, inputs)
        settings, health = app["release"], health_options(app)
        return {
            "name": app["name"],
            "user": app["image"]["user"],
            "digest": release.digest(),
            "image": image.name,
            "about": {
                "services": release.services,
                "source": source.label,
                "hooks": project.hooks(app),
                "start_timeout": settings["start_timeout"],
                "interval": settings["health_interval"],
                "successes": settings["health_successes"],
                "settle": settings["worker_settle"],
                "drain": settings["drain"],
            },
            "files": {name: asdict(file) for name, file in release.files.items()},
            "secrets": {name: asdict(file) for name, file in release.secrets.items()},
            "build": release.build,
            "context": {name: asdict(file) for name, file in image.context.items()},
            "archive": archive,
            "archive_name": SOURCE,
            "indexes": indexes(app),
            "registry": registry(app),
            "development": release.development,
            "keep": settings["keep"],
            "asked": {
                "domain": asked_name(app) if app["domains"] else "",
                "port": app["nginx"]["https_port" if app["scheme"] == "https" else "http_port"],
                "health": {**health, "path": app["path"].rstrip("/") + health["path"]},
            },
        }

    def _send(self, app: Mapping[str, Any], source: Source, stack: ExitStack) -> str:
        remote_tmp = self._make_tmp_path()
        stack.callback(self._remove_tmp_path, remote_tmp)
        return send_source(self, app, source, remote_tmp)


def _ports(arguments: Mapping[str, Any], apps: list[dict[str, Any]]) -> list[str]:
    """What nginx's container publishes."""
    http, https = map(int, arguments["ports"])
    if not any(app["scheme"] == "https" for app in apps):
        return [f"{http}:{http}"]
    return [f"{http}:{http}", f"{https}:{https}", *([f"{https}:{https}/udp"] if arguments.get("http3") else [])]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _role_file(name: str) -> str:
    return Path(collection_root(), "roles", "compose", "files", name).read_text(encoding="utf-8")
