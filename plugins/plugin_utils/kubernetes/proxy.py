# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nginx in a pod, from the templates of the role nginx_proxy: a pod has its files where a host has them.

So the templates need to know little of pods. In front is a controller: it ends TLS, and says who the client is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import collection_root
from ansible_collections.webops.wsgi.plugins.plugin_utils.nginx import site

PORT = 8080
NODE_PORT = 8081  # on which the node asks whether the app serves
MAINTENANCE = "/etc/nginx/maintenance"
TREE = "/etc/nginx/wsgi"
WORKERS = 2  # a node's cores are not the pod's
LOGS = "/var/log/nginx"

Render = Callable[[str, Mapping[str, Any]], str]

_REDIRECT = "if ($wsgi_scheme = http) { return 308 https://$host$request_uri; }"

# A host that has none of what only a host has.
_HOST = {"release": "12", "nginx_version": "1.25.1", "orphans": [], "drained": {}, "ipv6": False}


def files(app: Mapping[str, Any], render: Render) -> dict[str, str]:
    """Files of nginx's configuration below C(TREE), by name.

    Args:
        app: The resolved app.
        render: Renders a template by its path with variables.
    """
    templates = Path(collection_root(), "roles", "nginx_proxy", "templates")
    served = in_pod(app)
    variables = _variables(served)
    main = render(str(templates / "nginx.conf.j2"), variables)
    own = "site.conf.j2" if app["path"] == "/" else "below.conf.j2"
    return {
        "nginx.conf": main.replace("@GENERATION@", "pod"),
        f"sites/{app['name']}.conf": render(str(templates / own), {**variables, "app": served}),
    }


def passwords(app: Mapping[str, Any], render: Render) -> dict[str, str]:
    """Password files below C(TREE), by name."""
    template = Path(collection_root(), "roles", "nginx_proxy", "templates", "passwords.j2")
    listed = site.host([dict(in_pod(app))])["passwords"]
    return {file["path"]: render(str(template), {"file": file}) for file in listed}


def in_pod(app: Mapping[str, Any]) -> dict[str, Any]:
    """An app as nginx of a pod serves it, in plain HTTP; its clients' scheme stays theirs."""
    nginx = dict(app["nginx"])
    redirects = app["kubernetes"]["https_redirect"] and app["scheme"] == "https"
    if redirects:
        nginx["server_snippet"] = "\n".join(filter(None, (_REDIRECT, nginx["server_snippet"])))
    # A pod has no journal; its log is what it writes.
    nginx["access_log"] = _log(nginx["access_log"])
    nginx["locations"] = {
        path: {name: _log(value) if name == "access_log" else value for name, value in settings.items()}
        for path, settings in nginx["locations"].items()
    }
    return {**app, "nginx": nginx, "tls": "off"}


def _log(wanted: str) -> str:
    return "file" if wanted == "journal" else wanted


def _variables(app: Mapping[str, Any]) -> dict[str, Any]:
    own = {f"nginx_proxy_{name}": value for name, value in app["nginx"].items()}
    return {
        **own,
        "nginx_proxy_http_port": PORT,
        "nginx_proxy_default_app": "",
        "nginx_proxy_brotli": False,
        "nginx_proxy_proxy_protocol": False,
        "__nginx_proxy_fleet": {"role": "pod"},
        "__nginx_proxy_trusted": app["kubernetes"]["trusted_proxies"],
        "__nginx_proxy_peers": [],
        "__nginx_proxy_generation_host": "generation.wsgi.internal",
        "__nginx_proxy_maintenance": MAINTENANCE,
        "__nginx_proxy_node_port": NODE_PORT,
        "__nginx_proxy_verify_depth": 3,
        "__nginx_proxy_cache": "/var/cache/nginx-",
        "__nginx_proxy_version": _HOST["nginx_version"],
        "__nginx_proxy_http2": "",
        "__nginx_proxy_http3": False,
        "__nginx_proxy_ipv6": False,
        "__nginx_proxy_workers": WORKERS,
        "__nginx_proxy_webroot": "/var/www/acme",
        "__nginx_proxy_apps": [app],
        "__nginx_proxy_failed": [],
        "__wsgi_left_out": [],
        "__wsgi_host": _HOST,
    }


def has_cache(app: Mapping[str, Any]) -> bool:
    """Whether nginx keeps answers of the app."""
    return any(settings["cache"] != "off" for settings in site.merged_locations(dict(app["nginx"])).values())


def logs(app: Mapping[str, Any]) -> dict[str, str]:
    """Log files by where they lead."""
    return {
        f"{LOGS}/access.log": "/dev/stdout",
        f"{LOGS}/{app['name']}.access.log": "/dev/stdout",
        f"{LOGS}/error.log": "/dev/stderr",
    }
