# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller's half of app_kubernetes: check the apps, render their objects, and write them or have them applied."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.webops.wsgi.plugins.action.app_image import release_files
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.table import overview
from ansible_collections.webops.wsgi.plugins.plugin_utils.checks.run import report
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import Problem, plain
from ansible_collections.webops.wsgi.plugins.plugin_utils.kubernetes import checks, proxy, schema, written
from ansible_collections.webops.wsgi.plugins.plugin_utils.kubernetes.objects import Rendered, Texts, namespace, render
from ansible_collections.webops.wsgi.plugins.plugin_utils.rendering import Renderer
from ansible_collections.webops.wsgi.plugins.plugin_utils.servers.model import server

App = dict[str, Any]

FORMATS: dict[str, Callable[[list[dict[str, Any]]], str]] = {
    "table": overview,
    "json": lambda rows: json.dumps(rows, indent=2),
}


class ActionModule(ActionBase):
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        apps = _meant(plain(self._task.args["apps"]), str(self._task.args.get("only") or ""))
        output = str(self._task.args.get("output") or "")
        if self._task.args.get("task", "deploy") != "deploy":
            return self._asked(result, apps, variables)
        present = [app for app in apps if app["state"] == "present"]
        if output:
            # What applies files looks at no release before it leads to it; Kubernetes itself replaces pods one by one.
            present = [{**app, "kubernetes": {**app["kubernetes"], "strategy": "rolling"}} for app in present]
        problems = [*(problem for app in present for problem in checks.problems(app)), *checks.clashes(present)]
        if problems:
            raise AnsibleActionFail(report(problems).replace("no host was touched", "no cluster was touched"))
        rendered = [self._rendered(app, Renderer(self, variables)) for app in present]
        faults = list(_faults(rendered))
        if faults:
            raise AnsibleActionFail(report(faults).replace("no host was touched", "no cluster was touched"))
        if output:
            return {**result, **self._write(Path(output).expanduser().absolute(), rendered)}
        result.update(self._executed(apps, rendered, variables))
        return result

    def _asked(self, result: dict[str, Any], apps: list[App], variables: dict[str, Any]) -> dict[str, Any]:
        """What is about releases that the cluster has, whatever the inventory says today."""
        wanted = str(self._task.args.get("format") or "")
        if wanted and wanted not in FORMATS:
            choice = " or ".join(f"-e format={name}" for name in FORMATS)
            raise AnsibleActionFail(f'format is "{wanted}"; write {choice}')
        result.update(self._executed(apps, [], variables))
        if wanted and not result.get("failed"):
            self._display.display(FORMATS[wanted](result["apps"]))
        return result

    def _executed(self, apps: list[App], rendered: list[Rendered], variables: dict[str, Any]) -> dict[str, Any]:
        options = self._options(apps, rendered)
        done: dict[str, Any] = self._execute_module(
            module_name="webops.wsgi.app_kubernetes", module_args=options, task_vars=variables
        )
        for line in [line for app in done.get("apps") or [] for line in app.get("did") or []]:
            self._display.display(line)
        return done

    def _rendered(self, app: App, renderer: Renderer) -> Rendered:
        # An image is the same whatever starts it; what says how a host does is of no use in a pod.
        server = release_files({**app, "runtime": "process"}, renderer)
        texts = Texts(
            {name: (file.text, file.mode) for name, file in server.items()},
            proxy.files(app, renderer.render) if app["domains"] else {},
            proxy.passwords(app, renderer.render),
        )
        return render(app, texts)

    def _write(self, folder: Path, rendered: list[Rendered]) -> dict[str, Any]:
        changes = written.differences(folder, written.files(rendered))
        if not self._task.check_mode:
            written.write(folder, changes)
        diff = [
            {"before_header": name, "after_header": name, "before": before, "after": after}
            for name, (before, after) in changes.items()
            if not Path(name).name.startswith("secret-")
        ]
        return {"changed": bool(changes), "written": sorted(changes), "directory": str(folder), "diff": diff}

    def _options(self, apps: list[App], rendered: list[Rendered]) -> dict[str, Any]:
        args = self._task.args
        known = {one.app: one for one in rendered}
        return {
            **{name: args[name] for name in ("kubeconfig", "context", "task", "target", "closed") if args.get(name)},
            "apps": [_told(app, known.get(app["name"])) for app in apps],
        }


def _meant(apps: list[App], only: str) -> list[App]:
    found = [app for app in apps if not only or app["name"] == only]
    if not found:
        names = ", ".join(app["name"] for app in apps)
        raise AnsibleActionFail(
            f'app is "{only}", which wsgi_apps does not have; write -e app=<name>, with one of {names}'
        )
    return found


def _told(app: App, rendered: Rendered | None) -> dict[str, Any]:
    """What is sent of an app: its objects, and how long everything may take."""
    settings, release = app["kubernetes"], app["release"]
    return {
        "name": app["name"],
        "namespace": namespace(app),
        "purge": app["purge"],
        "objects": json.loads(json.dumps(asdict(rendered))) if rendered else {},
        "strategy": settings["strategy"],
        "route": settings["route"],
        "start_timeout": release["start_timeout"] + release["health_timeout"],
        "schedule_timeout": settings["schedule_timeout"],
        "hook_timeout": release["hook_timeout"],
        "log": asdict(server(app["server"]["name"]).log) if rendered else {},
        "bake": release["bake"],
        "canary_percent": settings["canary_percent"],
        "canary_seconds": settings["canary_seconds"],
        "keep": release["keep"],
    }


def _faults(rendered: list[Rendered]) -> Iterator[Problem]:
    for one in rendered:
        for text in schema.faults([*one.manifests(), *one.hooks.values()]):
            yield Problem(one.app, text, "correct the setting that it is made of")
