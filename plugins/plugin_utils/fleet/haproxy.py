# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How HAProxy on a balancer spreads the requests of an app over its servers, for C(haproxy-app.cfg.j2)."""

from __future__ import annotations

import typing as t
from collections.abc import Collection

from ansible_collections.webops.wsgi.plugins.plugin_utils.nginx.site import asked_name, static_urls

METHODS = {"round_robin": "roundrobin", "least_conn": "leastconn", "random_two": "random(2)"}
HASH_KEYS = {"client": "req.hdr(x-real-ip)", "uri": "url"}
# By nginx, which is the client here, the same as it does itself.
SAFE = ("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE")


def backend(app: dict[str, t.Any], drained: Collection[str] = ()) -> dict[str, t.Any]:
    """What the template needs of an app besides its settings.

    Args:
        app: The app as a balancer has it.
        drained: Hosts that get no new requests.
    """
    settings, health = app["balancer"], app["release"]
    sticky = settings["sticky"] == "cookie"
    return {
        "method": METHODS.get(settings["method"]) or f"hash {hash_key(settings['hash_key'])}",
        "hashed": settings["method"] == "hash",
        "safe": " ".join(SAFE),
        "check": {
            "path": app["path"].rstrip("/") + health["health_path"],
            "host": asked_name(app),
            "statuses": ",".join(str(status) for status in health["health_status"]),
            "headers": {name: quote(value) for name, value in health["health_headers"].items()},
        },
        "sticky": sticky,
        "kept": list(map(quote, static_urls(app))) if settings["static"] == "balancers" else [],
        "servers": [
            {
                **server,
                # A client that has a cookie goes on coming to a server that has only lost its weight.
                "weight": 0 if server["host"] in drained and not sticky else server["weight"],
                "disabled": server["host"] in drained and sticky,
            }
            for server in app["servers"]
        ],
    }


def hash_key(key: str) -> str:
    """The sample that HAProxy hashes, from C(balancer_hash_key)."""
    kind, _, name = key.partition(":")
    sample = {"header": "hdr", "cookie": "cook"}.get(kind)
    return f"req.{sample}({name})" if sample else HASH_KEYS[kind]


def quote(text: t.Any) -> str:
    """A text as one word of HAProxy's configuration, in which nothing has a meaning."""
    return "'" + str(text).replace("'", "'\\''") + "'"
