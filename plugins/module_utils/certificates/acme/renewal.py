# Copyright (c) webops.wsgi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""When certbot renews a certificate, and where it puts the answer to the challenge then: its renewal configuration."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme.lineage import BY_HTTP, Lineage
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.model import App
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.store import Host, Outcome
from ansible_collections.webops.wsgi.plugins.module_utils.host.files import write_file

_RENEW_BEFORE = re.compile(r"^(# *)?renew_before_expiry *=.*\n", re.M)
# How certbot answered, by another program's port or configuration, and what it did around that.
_OTHER_WAY = re.compile(
    r"^(?:installer|webroot_path|pre_hook|post_hook|(?:nginx|apache|standalone|http01)_\w+) *=.*\n"
    r"|^\[\[webroot_map\]\]\n(?:(?!\[).*\n)*",
    re.M,
)


def renewal_wanted(lineage: Lineage, host: Host) -> dict[str, tuple[str, str]]:
    """Return what certbot should know of the next renewal and does not: by setting what it is and what it should be."""
    if lineage.certificate is None or not lineage.known:
        return {}
    before = f"{lineage.certificate.renewal_seconds(host.renew_left)} seconds"
    settings = {
        "renew_before_expiry": (lineage.renew_before, before),
    }
    if lineage.authenticator in BY_HTTP:
        settings["authenticator"] = (lineage.authenticator, "webroot")
        settings["webroot_path"] = (lineage.webroot, host.webroot)
    return {name: (found, wanted) for name, (found, wanted) in settings.items() if found != wanted}


def renewal_text(lineage: Lineage, wanted: t.Mapping[str, tuple[str, str]]) -> str:
    """Return the renewal configuration with other settings."""
    text = lineage.renewal
    if "authenticator" in wanted:
        text = by_webroot(text, wanted["webroot_path"][1] if "webroot_path" in wanted else lineage.webroot)
    elif "webroot_path" in wanted:
        text = moved_webroot(lineage, wanted["webroot_path"][1])
    if "renew_before_expiry" in wanted:
        line = f"renew_before_expiry = {wanted['renew_before_expiry'][1]}"
        text = line + "\n" + _RENEW_BEFORE.sub("", text)
    return text


def by_webroot(text: str, webroot: str) -> str:
    """Return a renewal configuration by which certbot stopped nginx, or had it changed, with a webroot instead."""
    text = _OTHER_WAY.sub("", text)
    return re.sub(r"^authenticator *=.*$", f"authenticator = webroot\nwebroot_path = {webroot},", text, flags=re.M)


def moved_webroot(lineage: Lineage, webroot: str) -> str:
    """Return the renewal configuration with another webroot."""
    line = re.compile(rf"^(.+ = ){re.escape(lineage.webroot)}(,?)[ \t]*$", re.M)
    return line.sub(lambda found: f"{found[1]}{webroot}{found[2]}", lineage.renewal)


def settle_renewal(host: Host, app: App, lineage: Lineage, check: bool, outcome: Outcome) -> None:
    """Tell certbot where nginx looks for the answer to the challenge now, and when to renew; nothing is asked for."""
    path = host.renewal(app.name)
    wanted = renewal_wanted(lineage, host)
    for name, (found, new) in wanted.items():
        outcome.change(
            f"{app.name}: {name} {found or 'unset'} -> {new}",
            f"{path}: {name} = {found}",
            f"{path}: {name} = {new}",
        )
    if wanted and not check:
        write_file(path, renewal_text(lineage, wanted), 0o644)
