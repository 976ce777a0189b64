# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What clients of an app get through the proxy."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from ansible_collections.webops.wsgi.plugins.module_utils.host.dns import probe_name
from ansible_collections.webops.wsgi.plugins.module_utils.release import health as probe
from ansible_collections.webops.wsgi.plugins.module_utils.release.layout import Paths, read_text


@dataclass(frozen=True)
class Proxy:
    """How clients reach the app.

    Attributes:
        domains: The names it answers to.
        site: The app whose server block it is in; empty for its own.
        path: Where it is served below those names.
        http_port: The proxy's port for HTTP.
        https_port: The proxy's port for HTTPS.
        behind: Whether a balancer ends TLS, so that the proxy of this host speaks HTTP whatever clients speak.
        required: Whether a run must not end well without an answer through the proxy.
    """

    domains: tuple[str, ...] = ()
    site: str = ""
    path: str = "/"
    http_port: int = 80
    https_port: int = 443
    behind: bool = False
    required: bool = False


def ask(paths: Paths, app: str, proxy: Proxy, health: probe.Health) -> probe.Answer | None:
    """What a client gets; None where the proxy does not serve the app yet, and so cannot tell."""
    site = read_text(paths.sites / f"{proxy.site or app}.conf") or ""
    served = set(re.findall(r"[^\s;]+", " ".join(re.findall(r"^\s*server_name\s([^;]*);", site, re.MULTILINE))))
    name = next((domain for domain in proxy.domains if domain in served), "")
    if not name or not _is_mounted(paths, app, proxy, site):
        return None
    name = probe_name(name)
    scheme = "http" if proxy.behind else health.scheme
    port = proxy.https_port if scheme == "https" else proxy.http_port
    asked = replace(health, scheme=scheme, path=proxy.path.rstrip("/") + health.path)
    return probe.ask_through_proxy(port, name, asked)


def _is_mounted(paths: Paths, app: str, proxy: Proxy, site: str) -> bool:
    """Whether the server block leads to the app at its path, as it always does when the block is the app's own."""
    if proxy.path == "/":
        return True
    mount = read_text(paths.mounts / proxy.site / f"{app}.conf") or ""
    return f"mounts/{proxy.site}/" in site and f'"{proxy.path}/"' in mount


def fault(answer: probe.Answer | None) -> str:
    """What is wrong with an answer through the proxy while the app itself is healthy; empty when nothing is.

    What the proxy refuses by its own rules, such as a login it asks for, is as it should be.
    """
    if answer is None or not answer.fault or answer.maintenance or 0 < answer.status < 500:
        return ""
    return f"healthy on its own socket, but not through nginx: {answer.fault}"


def fault_of_switch(before: probe.Answer, after: probe.Answer, required: bool) -> str:
    """What a switch to another release broke for clients; empty when nothing, or when it is not the release's fault.

    Args:
        before: The answer just before the switch.
        after: The one just after it.
        required: Whether a proxy that did not work before either is a fault too.
    """
    if not after.fault or after.maintenance:
        return ""
    if 0 < after.status < 500 and after.status == before.status:  # the proxy's own, such as a login it asks for
        return ""
    if before.fault and not before.maintenance and not required:
        return ""
    fix = "; nginx did not answer before the switch either, run site.yml" if before.fault and not before.status else ""
    return f"healthy on its own socket, but not through nginx: {after.fault}{fix}"
