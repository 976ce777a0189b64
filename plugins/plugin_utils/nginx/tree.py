# SPDX-License-Identifier: GPL-3.0-or-later
"""All of nginx's configuration as one tree."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import collection_root
from ansible_collections.webops.wsgi.plugins.plugin_utils.nginx.site import host

App = dict[str, t.Any]
OWNER = 'app "{name}"'


def served(apps: t.Iterable[App]) -> list[App]:
    """The apps that nginx has something of."""
    return [app for app in apps if app["state"] == "present" and app["domains"]]


def tree_files(apps: t.Iterable[App]) -> list[dict[str, t.Any]]:
    """The files as ``webops.wsgi.config_tree`` takes them."""
    shown = served(apps)
    whole = [app for app in shown if app["path"] == "/"]
    below = [app for app in shown if app["path"] != "/"]
    own_clients = [app for app in whole if app["nginx"]["client_ca"]]
    passwords = {"mode": "0640", "group": "www-data"}
    return [
        {"dest": "nginx.conf", "template": _template("nginx.conf.j2"), "vars": {"__nginx_proxy_apps": shown}},
        _each("sites/{name}.conf", "site.conf.j2", whole),
        _each("sites/{name}.conf", "upstream.conf.j2", below),
        _each("mounts/{site}/{name}.conf", "mount.conf.j2", below),
        {**_each("{path}", "passwords.j2", host(shown)["passwords"], "file"), "owner": 'app "{app}"', **passwords},
        _each("client-ca/{name}.pem", "client-ca.j2", own_clients),
    ]


def _each(dest: str, template: str, items: list[t.Any], name: str = "app") -> dict[str, t.Any]:
    return {"dest": dest, "template": _template(template), "each": items, "as": name, "owner": OWNER}


def _template(name: str) -> str:
    return os.path.join(collection_root(), "roles", "nginx_proxy", "templates", name)
