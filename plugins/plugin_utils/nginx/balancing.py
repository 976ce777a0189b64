# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How nginx on a balancer spreads the requests of an app over its servers, for C(servers.j2) of nginx_proxy."""

from __future__ import annotations

import re
import typing as t
from collections.abc import Collection, Mapping

from ansible_collections.webops.wsgi.plugins.plugin_utils.fleet.members import BALANCER, NGINX

Data = dict[str, t.Any]

METHODS = {"round_robin": "", "least_conn": "least_conn", "random_two": "random two least_conn"}
HASH_KEYS = {"client": "$remote_addr", "uri": "$request_uri"}

# A host that reloads nginx closes connections that are kept open, and nginx counts each request that was on its way on
# one as a failure of the host. All hosts may reload at once, so of these it takes more to give a host up.
KEPT_FAILS = 10

# Seconds by which a balancer gives up a connection that stays open before the app host does.
EARLIER = 5


def balancing(app: Mapping[str, t.Any], drained: Collection[str] = ()) -> Data:
    """Directives of an app's upstream blocks.

    Args:
        app: The app as a balancer has it.
        drained: Hosts that get no new requests.
    """
    settings = app["balancer"]
    if app["program"] != NGINX:
        return {"beside": f"/run/haproxy/wsgi-{app['name']}.sock", "tries": settings["retries"] + 1, "sticky": False}
    method = settings["method"]
    keyed = method == "hash"
    failing, kept_failing = (
        f" max_fails={settings['max_fails'] * times} fail_timeout={settings['fail_timeout']}s"
        for times in (1, KEPT_FAILS)
    )
    return {
        "beside": "",
        "method": f"hash {hash_key(settings['hash_key'])} consistent" if keyed else METHODS[method],
        "sticky": is_sticky(app),
        "keepalive_timeout": max(1, app["nginx"]["client_keepalive_timeout"] - EARLIER),
        "servers": [
            {
                **server,
                "failing": failing,
                "kept_failing": kept_failing,
                "out": server["host"] in drained,
                "pattern": re.escape(server["at"]),
                "parameters": _parameters(server, failing, server["host"] in drained),
                "kept_parameters": _parameters(server, kept_failing, server["host"] in drained),
            }
            for server in app["servers"]
        ],
    }


def _parameters(server: Mapping[str, t.Any], failing: str, drained: bool) -> str:
    weight = f" weight={server['weight']}" if server["weight"] != 1 else ""
    backup = " backup" if server["backup"] else ""
    return f"{weight}{failing}{backup}{' down' if drained else ''}"


def hash_key(key: str) -> str:
    """What nginx hashes, from C(balancer_hash_key)."""
    kind, _, name = key.partition(":")
    if kind == "header":
        return f"$http_{name.lower().replace('-', '_')}"
    return f"$cookie_{name}" if kind == "cookie" else HASH_KEYS[kind]


def place(app: Mapping[str, t.Any]) -> str:
    """What of an upstream's name a request decides, on a balancer; see C(servers.j2)."""
    if app.get("tier") != BALANCER:
        return ""
    variable = app["name"].replace("-", "_")
    return "$wsgi_once" + (f"$wsgi_{variable}_place" if is_sticky(app) else "")


def is_sticky(app: Mapping[str, t.Any]) -> bool:
    """Whether a client stays with a host by a cookie that nginx sets."""
    return bool(app["balancer"]["sticky"] == "cookie" and app["program"] == NGINX)
