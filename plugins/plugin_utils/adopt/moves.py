# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which app of the inventory is which that a person has set up, and what keeps it from taking over."""

from __future__ import annotations

import typing as t
from collections.abc import Iterable, Mapping

from ansible_collections.webops.wsgi.plugins.plugin_utils.adopt.inventory import Found, described, names

App = Mapping[str, t.Any]


class Move(t.NamedTuple):
    """An app of the inventory, and the one of the host that it takes over from."""

    app: App
    found: Found


def moves(apps: Iterable[App], found: Iterable[Found]) -> list[Move]:
    """Who takes over from whom: the same domain, or else the name that C(adopt) would give.

    Args:
        apps: The apps as they are resolved, those of this host.
        found: What C(adopt_host) has found there.
    """
    listed = list(found)
    paired = [
        Move(app, one) for one, name in zip(listed, names(listed), strict=True) for app in apps if _same(app, one, name)
    ]
    return [move for move in paired if move.app["state"] == "present"]


def _same(app: App, found: Found, name: str) -> bool:
    theirs = {domain.lower() for domain in found["site"]["names"]} if found["site"] else set()
    return bool(theirs & {domain.lower() for domain in app["domains"]}) if theirs else bool(app["name"] == name)


def given_up(apps: Iterable[App], moved: Iterable[Move]) -> dict[str, list[str]]:
    """What nginx need not serve by its old files any more: names, and places that requests were passed on to."""
    domains = {domain.lower() for app in apps if app["state"] == "present" for domain in app["domains"]}
    places = {place for move in moved if move.found["site"] for place in move.found["site"]["passes_to"]}
    return {"names": sorted(domains), "places": sorted(places)}


def problems(host: str, apps: Iterable[App], found: Iterable[Found], moved: list[Move], leave_data: bool) -> list[str]:
    """Why nothing is taken over, each with the fix."""
    if not moved:
        listed = ", ".join(one["program"]["where"] for one in found) or "nothing"
        wanted = ", ".join(app["name"] for app in apps) or "none"
        return [
            f"{host}: none of the apps of the inventory ({wanted}) is one that the host runs already ({listed}), "
            "neither by a domain nor by its name; run webops.wsgi.site for new apps"
        ]
    return [] if leave_data else [text for move in moved for text in _data(host, move)]


def _data(host: str, move: Move) -> list[str]:
    left = [item for item in move.found["data"] if item["age"] >= 0]
    if not left:
        return []
    listed = ", ".join(described(item) for item in left)
    return [
        f'{host}: app "{move.app["name"]}": a release begins without the data in {move.found["source"]["path"]}: '
        f"{listed}; carry it over (docs/adopt.md), then say so with -e data=carried, or -e data=left to begin anew"
    ]


def programs(moved: Iterable[Move]) -> list[dict[str, t.Any]]:
    """What is stopped once the apps serve: servers, and what runs beside them."""
    kept = ("name", "where", "manager", "sockets")
    return [
        {key: one[key] for key in kept} for move in moved for one in (move.found["program"], *move.found["workers"])
    ]


def questions(moved: Iterable[Move]) -> list[dict[str, t.Any]]:
    """What clients must get before anything is stopped, by app."""
    return [
        {
            "app": move.app["name"],
            "domain": move.app["domains"][0],
            "path": f"{move.app.get('path', '/').rstrip('/')}{move.app['release']['health_path']}",
            "statuses": [str(status) for status in move.app["release"]["health_status"]],
            "tls": move.app["tls"] != "off",
        }
        for move in moved
        if move.app["domains"]
    ]


def lineages(moved: Iterable[Move]) -> list[str]:
    """The names under which certbot has the old certificates."""
    return sorted({move.found["lineage"]["name"] for move in moved if move.found["lineage"]})
