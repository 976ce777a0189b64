# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of an app is done by balancers, and what by the hosts behind them: the same settings, divided.

Clients meet a balancer. So certificates, limits, caches, logins and the headers of answers are its part; an app host
does what needs the app's files: static files, error pages of the app's own, and the way to its socket.
"""

from __future__ import annotations

import copy
import hashlib
import typing as t
from collections.abc import Collection, Mapping, Sequence

from ansible_collections.webops.wsgi.plugins.plugin_utils.fleet.members import (
    APP_HOST,
    BALANCER,
    Fleet,
    bracketed,
)

Data = dict[str, t.Any]

# Settings of nginx_proxy that are a balancer's alone, and what an app host has instead.
OF_BALANCERS: Data = {
    **{"allow": [], "deny": [], "methods": [], "basic_auth": {}, "client_verify": "optional"},
    **{"limit_requests": "", "limit_connections": 0, "cache": "off", "gzip": False, "location_snippet": ""},
}
OF_BALANCERS_SITES: Data = {
    **{"client_ca": "", "hsts": False, "add_headers": {}, "server_snippet": "", "canonical_domain": ""},
    **dict.fromkeys(("frame_options", "referrer_policy", "content_security_policy", "permissions_policy"), ""),
}

# An app host is the first to give up on the app, so that its own error page gets to the client.
LATER = 2  # seconds


def divide(fleet: Fleet, apps: Sequence[Data], placed: Mapping[str, Collection[str]]) -> list[Data]:
    """The apps that a host of a fleet has to do with, with its part of their settings.

    Args:
        fleet: The fleet as the host knows it.
        apps: All apps, resolved.
        placed: The hosts that run each app.
    """
    if fleet.role == BALANCER:
        return [before(fleet, app, placed[app["name"]]) if app["state"] == "present" else app for app in apps]
    here = [app for app in apps if not app["hosts"] or fleet.host in placed[app["name"]]]
    if not fleet.role:
        return here
    return [behind(app) if app["state"] == "present" else app for app in here]


def behind(app: Data) -> Data:
    """An app on a host behind balancers, where it is served in plain HTTP; its clients' scheme stays theirs."""
    nginx = copy.deepcopy(app["nginx"])
    certified = bool(nginx["client_ca"]) and app["scheme"] == "https"
    nginx.update(OF_BALANCERS | OF_BALANCERS_SITES)
    nginx["locations"] = {
        path: {name: OF_BALANCERS.get(name, value) for name, value in settings.items()}
        for path, settings in nginx["locations"].items()
    }
    return {**app, "nginx": nginx, "tls": "off", "tier": APP_HOST, "certified": certified}


def before(fleet: Fleet, app: Data, hosts: Collection[str]) -> Data:
    """An app on a balancer, with the servers that it has."""
    nginx = copy.deepcopy(app["nginx"])
    nginx["error_pages"] = ""  # which are files of the app's
    nginx["read_timeout"] += LATER
    for settings in nginx["locations"].values():
        if "read_timeout" in settings:
            settings["read_timeout"] += LATER
        settings.pop("connect_timeout", None)
    nginx["connect_timeout"] = app["balancer"]["connect_timeout"]
    return {**app, "nginx": nginx, "tier": BALANCER, "program": fleet.program, "servers": servers(fleet, hosts)}


def servers(fleet: Fleet, hosts: Collection[str]) -> list[Data]:
    """The servers of an app; C(mark) is what a client's cookie says of one. Where all are backups, none is."""
    members = [one for one in fleet.app_hosts if one.name in hosts]
    all_backups = all(one.backup for one in members)
    return [
        {
            "host": member.name,
            "address": member.address,
            "port": member.port,
            "at": f"{bracketed(member.address)}:{member.port}",
            "weight": member.weight,
            "backup": member.backup and not all_backups,
            "mark": hashlib.sha256(member.name.encode()).hexdigest()[:12],
        }
        for member in members
    ]


def facts(fleet: Fleet) -> Data:
    """What templates and playbooks read of a fleet."""
    if not fleet.role:
        return {"role": ""}
    return {
        "role": fleet.role,
        "address": bracketed(fleet.member().address),
        "address_bare": fleet.member().address,
        "balancers": [
            {"name": one.name, "address": one.address, "bracketed": bracketed(one.address), "port": one.port}
            for one in fleet.balancers
        ],
        "program": fleet.program,
        "first": fleet.balancers[0].name,
        "app_hosts": [one.name for one in fleet.app_hosts],
    }
