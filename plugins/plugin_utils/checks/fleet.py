# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of a fleet: its groups and addresses, where apps are placed, and how requests are spread over hosts."""

from __future__ import annotations

import ipaddress
import re
import typing as t
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from ansible_collections.webops.wsgi.plugins.plugin_utils.fleet.members import (
    APP_HOSTS,
    BALANCER,
    BALANCERS,
    NGINX,
    Fleet,
    Member,
    is_address,
)
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import (
    App,
    HostSettings,
    Problem,
    nearest,
    show,
)

_HASH_KEY = re.compile(r"client|uri|cookie:[A-Za-z0-9_]+|header:[A-Za-z][A-Za-z0-9-]*")
_BATCH = re.compile(r"[1-9][0-9]*|([1-9]|[1-9][0-9]|100)%")
_COOKIE = re.compile(r"[A-Za-z0-9_]+")  # what is part of a variable's name in nginx


def check_fleet(
    fleet: Fleet, values: Mapping[str, t.Any], apps: Sequence[App], placed: Mapping[str, Collection[str]]
) -> t.Iterator[Problem]:
    """Everything that is wrong with a fleet, as one of its hosts sees it.

    Args:
        fleet: The fleet.
        values: Values of the host's role variables.
        apps: The resolved apps.
        placed: The hosts that run each app, by its name.
    """
    for app in apps:
        if app.usable("hosts") and app.data["hosts"] and not placed.get(app.data["name"]):
            text = f"hosts is {show(app.data['hosts'])}, which means no host of the group {APP_HOSTS}"
            yield app.problem(text, f"name hosts or groups of {APP_HOSTS}, or leave it empty for all of them")
    if not fleet.present:
        return
    yield from _check_groups(fleet)
    yield from _check_members(fleet, str(values.get("balancer_subnet") or ""))
    yield from _check_allowed(values)
    for app in apps:
        if app.present and app.usable("hosts", "balancer.method"):
            yield from _check_backups(fleet, app, placed[app.data["name"]])
    yield from _check_floating(
        fleet, values.get("balancer_floating_addresses") or [], values.get("balancer_subnet") or ""
    )


def check_alone(host: HostSettings, apps: Sequence[App], groups: Collection[str]) -> t.Iterator[Problem]:
    """What is said of balancers in an inventory that has no group of them."""
    if BALANCERS in groups:
        return
    meant = nearest(BALANCERS, groups)
    fix = f"rename the group {meant} to {BALANCERS}" if meant else f"add a group {BALANCERS} to the inventory"
    for name in sorted(host.altered):
        if name == "wsgi_balancer" or name.startswith("balancer_"):
            yield Problem(
                "", f"{name} is given, but the inventory has no group {BALANCERS}", f"{fix}, or remove the variable"
            )
    for app in apps:
        if app.present and app.usable("balancer"):
            for key in sorted(app.given):
                if key.startswith("balancer."):
                    text = f"{key} is given, but the inventory has no group {BALANCERS}"
                    yield app.problem(text, f"{fix}, or remove balancer:")


def _check_groups(fleet: Fleet) -> t.Iterator[Problem]:
    if not fleet.balancers:
        fix = "write at least one host into it, or remove the group: then each host meets its clients itself"
        yield Problem("", f"the group {BALANCERS} has no hosts", fix)
    if not fleet.app_hosts:
        fix = f"write the hosts that run the apps into the group {APP_HOSTS}"
        yield Problem("", f"the group {BALANCERS} has hosts, but the group {APP_HOSTS} has none", fix)
    for name in sorted({one.name for one in fleet.balancers} & {one.name for one in fleet.app_hosts}):
        text = f"{name} is in both groups, {BALANCERS} and {APP_HOSTS}, and its nginx cannot be both on the same ports"
        yield Problem("", text, "leave it in one of them")


def _check_members(fleet: Fleet, subnet: str) -> t.Iterator[Problem]:
    try:
        network = ipaddress.ip_network(subnet) if subnet else None
    except ValueError:
        yield Problem("", f"balancer_subnet is {show(subnet)}, which is not a network", "write such as 10.0.0.0/24")
        network = None
    # An app host knows the addresses of balancers and its own.
    known = [one for one in (*fleet.balancers, *fleet.app_hosts) if fleet.role == BALANCER or _concerns(fleet, one)]
    for one in dict.fromkeys(known):
        yield from _check_address(one, network)
    counted = Counter(one.address for one in dict.fromkeys(known) if one.address)
    for address, times in counted.items():
        names = sorted({one.name for one in known if one.address == address})
        if times > 1 and len(names) > 1:
            text = f"{' and '.join(names)} have the same balancer_address {show(address)}"
            yield Problem("", text, "give each host its own")


def _concerns(fleet: Fleet, one: Member) -> bool:
    return one in fleet.balancers or one.name == fleet.host


def _check_address(one: Member, network: t.Any) -> t.Iterator[Problem]:
    if not one.address:
        text = f"balancer_address of {one.name} is missing, and its ansible_host is no address"
        yield Problem("", text, "write its address in the network between balancers and app hosts, such as 10.0.0.21")
    elif not is_address(one.address):
        text = f"balancer_address of {one.name} is {show(one.address)}, which is not an address"
        yield Problem("", text, "write such as 10.0.0.21")
    elif network is not None and ipaddress.ip_address(one.address) not in network:
        text = f"balancer_address of {one.name} is {show(one.address)}, which is outside balancer_subnet {network}"
        yield Problem("", text, f"write its address in {network}, or another balancer_subnet")


def _check_floating(fleet: Fleet, floating: Sequence[Mapping[str, t.Any]], subnet: str) -> t.Iterator[Problem]:
    """Addresses that move, each with a number of its own."""
    numbers = Counter(entry["vrrp_id"] for entry in floating)
    for number, times in numbers.items():
        if times > 1:
            text = f"balancer_floating_addresses has the vrrp_id {number} {times} times"
            yield Problem("", text, "give each address its own, from 1 to 255")
    members = {one.address: one.name for one in (*fleet.balancers, *fleet.app_hosts) if one.address}
    for place, entry in enumerate(floating):
        where, address = f"balancer_floating_addresses[{place}]", str(entry["address"])
        if not 1 <= entry["vrrp_id"] <= 255:
            yield Problem("", f"{where}.vrrp_id is {entry['vrrp_id']}", "write a number from 1 to 255")
        try:
            own = ipaddress.ip_interface(address)
        except ValueError:
            text = f"{where}.address is {show(address)}, which is not an address"
            yield Problem("", text, "write such as 10.0.0.100/24")
            continue
        if str(own.ip) in members:
            text = f"{where}.address is {show(address)}, which is the balancer_address of {members[str(own.ip)]}"
            yield Problem("", text, "write one that no host has")
        if "/" not in address and not subnet:
            text = f"{where}.address is {show(address)}, without its network"
            yield Problem("", text, f"write such as {address}/24, or set balancer_subnet")
        elif "/" not in address and _outside(own.ip, subnet):
            text = f"{where}.address is {show(address)}, which is outside balancer_subnet {subnet}"
            yield Problem("", text, f"write an address in {subnet}, or one with its network, such as {address}/24")


def _outside(address: t.Any, subnet: str) -> bool:
    try:
        return address not in ipaddress.ip_network(subnet)
    except ValueError:  # reported already
        return False


def _check_allowed(values: Mapping[str, t.Any]) -> t.Iterator[Problem]:
    for entry in values.get("balancer_allow") or []:
        try:
            ipaddress.ip_network(entry)
        except ValueError:
            text = f"balancer_allow has {show(entry)}, which is not an address or network"
            yield Problem("", text, "write such as 192.0.2.1 or 192.0.2.0/24")


def _check_backups(fleet: Fleet, app: App, hosts: Collection[str]) -> t.Iterator[Problem]:
    """nginx refuses backup servers beside a hash or a choice by chance."""
    method = app.data["balancer"]["method"]
    members = [one for one in fleet.app_hosts if one.name in hosts]
    backups = [one.name for one in members if one.backup]
    if fleet.program == NGINX and method in ("hash", "random_two") and 0 < len(backups) < len(members):
        setting = app.setting("balancer", "method")
        text = f"{setting} is {method}, with which nginx cannot have {' and '.join(backups)} as a backup"
        yield app.problem(text, f"write {setting}: least_conn, wsgi_balancer: haproxy, or remove balancer_backup")


def check_balancing(app: App) -> t.Iterator[Problem]:
    """How an app's requests are spread."""
    settings = app.data["balancer"]
    if not app.usable("balancer.method", "balancer.hash_key", "balancer.sticky", "balancer.sticky_cookie"):
        return
    key, cookie = settings["hash_key"], settings["sticky_cookie"]
    if not _HASH_KEY.fullmatch(key):
        fix = "write client, uri, cookie: and a cookie's name, or header: and a header's name"
        yield app.problem(f"{app.setting('balancer', 'hash_key')} is {show(key)}, which nothing can be told by", fix)
    if settings["sticky"] == "cookie" and not cookie:
        text = f"{app.setting('balancer', 'sticky')} is cookie, but sticky_cookie is missing"
        yield app.problem(text, "name the cookie, such as sticky_cookie: fleet")
    if cookie and not _COOKIE.fullmatch(cookie):
        text = f"{app.setting('balancer', 'sticky_cookie')} is {show(cookie)}, which is not a name"
        yield app.problem(text, "write letters, digits and underscores")
    if settings["sticky"] == "cookie" and settings["method"] == "hash":
        text = f"{app.setting('balancer', 'sticky')} is cookie, and {app.setting('balancer', 'method')} is hash"
        yield app.problem(text, "choose one of them")


def check_batch(app: App) -> t.Iterator[Problem]:
    """A number of hosts, or a share of them."""
    batch = app.data["release"].get("batch", "")
    if app.usable("release.batch") and not _BATCH.fullmatch(batch):
        yield app.problem(f"release_batch is {show(batch)}, neither a number nor a share", 'write such as "2" or "25%"')


CHECKS: tuple[t.Callable[[App], t.Iterator[Problem]], ...] = (check_balancing, check_batch)
