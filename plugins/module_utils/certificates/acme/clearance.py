# Copyright (c) webops.wsgi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""For which domains a certificate authority may be asked now: those through which it can reach this host."""

from __future__ import annotations

import os
import typing as t
from dataclasses import dataclass

from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme import preflight as certificate_preflight
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.model import App
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.store import Host
from ansible_collections.webops.wsgi.plugins.module_utils.host import dns

ROOM, FILES = 1 << 20, 100
"""Bytes and files that must be free: a certificate takes some 10 KiB, certbot's log of one order some 50."""


def no_room(host: Host) -> str:
    """Return where a certificate could not be kept or noted, nothing when there is room.

    certbot would ask all the same, on every run, and what it got would count.
    """
    for directory in (host.letsencrypt, host.logs, os.path.dirname(host.ledger)):
        while not os.path.isdir(directory):
            directory = os.path.dirname(directory)
        disk = os.statvfs(directory)
        left = disk.f_bavail * disk.f_frsize
        if left < ROOM:
            return f"the disk of {directory} is full ({left >> 10} KiB are free); make room"
        if disk.f_files and disk.f_favail < FILES:
            return f"the disk of {directory} has no room for more files ({disk.f_favail}); remove some"
    return ""


@dataclass(frozen=True)
class Clearance:
    """The domains of an app that may be asked for, and what speaks against the others."""

    domains: tuple[str, ...]
    problem: str = ""


def looked_at(app: App) -> bool:
    """Whether the authority comes to this host; where it looks into DNS there is nothing to see from here."""
    return app.acme.preflight and not app.acme.dns_plugin


def clear(host: Host, apps: t.Sequence[App]) -> dict[str, Clearance]:
    """Look through every domain of these apps, as an authority would, all at the same time."""
    servers = dns.servers(host.resolver)
    domains = list(dict.fromkeys(domain for app in apps if looked_at(app) for domain in app.domains))
    seen = certificate_preflight.look(
        domains, host.webroot, lambda name: dns.addresses(name, servers), host.authority_ports
    )
    failing = {app.name: [domain for domain in app.domains if domain in seen] for app in apps if looked_at(app)}
    stopper = next((app for app in apps if app.acme.holds_back == "host" and failing.get(app.name)), None)
    cleared = {}
    for app in apps:
        clearance = _one(app, {domain: seen[domain] for domain in failing.get(app.name, ())})
        if clearance.domains and stopper:
            others = ", ".join(failing[stopper.name])
            clearance = Clearance((), f'app "{stopper.name}" holds the whole host back until {others} can be reached')
        cleared[app.name] = clearance
    return cleared


def _one(app: App, failing: t.Mapping[str, str]) -> Clearance:
    """Return which domains of an app may be asked for when some cannot be reached."""
    if not failing:
        return Clearance(app.domains)
    rest = tuple(domain for domain in app.domains if domain not in failing)
    problem = "; ".join(f"{domain}: {seen}" for domain, seen in failing.items())
    return Clearance(rest if app.acme.holds_back == "domain" else (), problem)
