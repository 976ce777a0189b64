# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the app that a URL belongs to, and sends the request from the controller, as a client does."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.webops.wsgi.plugins.plugin_utils.explain import outside
from ansible_collections.webops.wsgi.plugins.plugin_utils.explain.request import (
    App,
    Request,
    RequestError,
    find,
    location,
    nearest,
    of_app,
    parse,
)
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import plain
from ansible_collections.webops.wsgi.plugins.plugin_utils.nginx.site import merged_locations

GRACE = 5.0  # seconds beyond nginx's own limit for an answer


class ActionModule(ActionBase):
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = plain(self._task.args)
        apps = [app for app in arguments["apps"] if app["state"] == "present"]
        try:
            request, app = _wanted(str(arguments.get("url") or ""), str(arguments.get("app") or ""), apps)
        except RequestError as error:
            raise AnsibleActionFail(str(error)) from None
        settings = merged_locations(app["nginx"])[location(app, request.path)]
        limit = settings["read_timeout"] + GRACE
        seen = outside.look(request, arguments.get("connect_to") or "", arguments.get("ca") or "", limit)
        result.update(changed=False, app=app["name"], request=asdict(request), outside=asdict(seen), limit=limit)
        return result


def _wanted(url: str, name: str, apps: list[App]) -> tuple[Request, App]:
    if bool(url) == bool(name):
        raise RequestError("write what to explain: -e url=https://api.example.com/items, or -e app=api")
    if name:
        app = next((app for app in apps if app["name"] == name), None)
        if app is None:
            raise RequestError(f'app is "{name}"; write one of {", ".join(dict.fromkeys(app["name"] for app in apps))}')
        return of_app(app), app
    request = parse(url)
    app = find(request, apps)
    if app is None:
        close = nearest(request, apps)
        raise RequestError(
            f"no app of the inventory is served as {request.domain}{f' ({close} is one)' if close else ''}, and nginx "
            "closes connections for names that it does not know; add it to an app's domains and run site.yml"
        )
    return request, app
