# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is in a fleet: balancers, and the hosts behind them that run the apps.

Plain functions from an inventory's groups and variables. Without a group C(balancers) there is no fleet, and each host
meets its clients itself.
"""

from __future__ import annotations

import ipaddress
import typing as t
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader

BALANCERS, APP_HOSTS, CLUSTERS = "balancers", "wsgi", "kubernetes"
NGINX, HAPROXY = "nginx", "haproxy"
BALANCER, APP_HOST, ALONE = "balancer", "app", ""
HTTP_PORT = 80  # default of nginx_proxy_http_port

# Variables of a member that others need to know, see roles/balancer/meta/argument_specs.yml.
SHARED = ("balancer_address", "balancer_weight", "balancer_backup", "ansible_host", "nginx_proxy_http_port")


@dataclass(frozen=True)
class Member:
    """A host of a fleet.

    Attributes:
        name: Its name in the inventory.
        address: Where it is reached by the other tier; empty where nothing says it.
        port: Port of its nginx for HTTP.
        weight: Its share of the requests.
        backup: Whether it gets requests only while no other host is in service.
    """

    name: str
    address: str = ""
    port: int = HTTP_PORT
    weight: int = 1
    backup: bool = False


@dataclass(frozen=True)
class Fleet:
    """A fleet as one of its hosts needs to know it.

    Attributes:
        role: What the host is, C(balancer), C(app), or nothing where there is no fleet.
        host: Its name.
        balancers: All balancers.
        app_hosts: All app hosts; on one of them, their names alone are told.
        present: Whether the inventory has a group of balancers, be it empty.
        program: What spreads requests, C(nginx) or C(haproxy).
    """

    role: str = ALONE
    host: str = ""
    balancers: tuple[Member, ...] = ()
    app_hosts: tuple[Member, ...] = ()
    present: bool = False
    program: str = NGINX

    def member(self) -> Member:
        """The host itself."""
        return next(one for one in (*self.balancers, *self.app_hosts) if one.name == self.host)


NO_FLEET = Fleet()


def read(host: str, groups: Mapping[str, Collection[str]], variables_of: Callable[[str], Mapping[str, t.Any]]) -> Fleet:
    """The fleet that a host belongs to.

    Args:
        host: The host.
        groups: The inventory's groups, with the names of their hosts.
        variables_of: Those of C(SHARED) that a host has, evaluated. Asked of few hosts: it takes milliseconds each.
    """
    balancers, app_hosts = list(groups.get(BALANCERS) or []), list(groups.get(APP_HOSTS) or [])
    # A cluster of Kubernetes is in neither group.
    if BALANCERS not in groups or host in (groups.get(CLUSTERS) or []):
        return Fleet(host=host)
    role = BALANCER if host in balancers else APP_HOST
    needed = {*balancers, host, *(app_hosts if role == BALANCER else ())}

    def member(name: str) -> Member:
        return _member(name, variables_of(name)) if name in needed else Member(name)

    return Fleet(role, host, tuple(map(member, balancers)), tuple(map(member, app_hosts)), present=True)


def _member(name: str, variables: Mapping[str, t.Any]) -> Member:
    address = str(variables.get("balancer_address") or "")
    if not address and is_address(variables.get("ansible_host")):
        address = str(variables["ansible_host"])
    backup = str(variables.get("balancer_backup") or "").lower() in ("true", "yes", "1", "on")
    port, weight = variables.get("nginx_proxy_http_port"), variables.get("balancer_weight")
    return Member(name, address, _number(port, HTTP_PORT), _number(weight, 1), backup)


def _number(value: t.Any, default: int) -> int:
    """A number, or the default for what is none; that is reported where the host's own settings are checked."""
    text = str(value)
    return int(text) if text.isdecimal() else default


def is_address(value: t.Any) -> bool:
    """Whether a value is an IP address."""
    try:
        ipaddress.ip_address(str(value))
    except ValueError:
        return False
    return True


def hosts_of(pattern: str, groups: Mapping[str, Collection[str]]) -> list[str]:
    """The app hosts that a pattern means, all of them for an empty one, in the order of the group."""
    app_hosts = list(groups.get(APP_HOSTS) or [])
    if not pattern:
        return app_hosts
    manager = InventoryManager(DataLoader(), parse=False)
    for group, hosts in groups.items():
        manager.add_group(group)
        for host in hosts:
            manager.add_host(host, group=group)
    meant = {host.name for host in manager.get_hosts(pattern=pattern)}
    return [host for host in app_hosts if host in meant]


def bracketed(address: str) -> str:
    """An address as it stands before a port."""
    return f"[{address}]" if ":" in address else address
