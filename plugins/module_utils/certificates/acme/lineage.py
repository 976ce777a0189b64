# Copyright (c) webops.wsgi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The certificates that certbot keeps, its *lineages*, as they lie on disk, and how they differ from what is wanted."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass

from ansible_collections.webops.wsgi.plugins.module_utils.certificates.model import App, Certificate
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.store import Host, read_certificate, read_text

NONE_YET = "no certificate yet"
# Plugins of certbot that answer the authority on port 80. Between them, only the way of the next renewal differs.
BY_HTTP = ("webroot", "nginx", "standalone", "apache")


@dataclass(frozen=True)
class Lineage:
    """A certificate that certbot keeps, as it lies on disk; `renewal` is the text of its renewal configuration."""

    certificate: Certificate | None
    renewal: str

    @property
    def known(self) -> bool:
        """Whether certbot knows how to renew it; killed, it leaves a configuration that is empty or cut off."""
        return bool(self.server)

    @property
    def server(self) -> str:
        """The ACME directory it came from."""
        return self._setting("server")

    @property
    def authenticator(self) -> str:
        """How certbot answers the challenge when it renews."""
        return self._setting("authenticator")

    @property
    def renew_before(self) -> str:
        """How long before its end certbot renews it, where it has been told."""
        return self._setting("renew_before_expiry")

    @property
    def profile(self) -> str:
        """The profile that was asked for."""
        return self._setting("preferred_profile")

    @property
    def webroot(self) -> str:
        """Where certbot puts the answer to the challenge when it renews."""
        return self._setting("webroot_path").rstrip(", ")

    def _setting(self, name: str) -> str:
        found = re.search(rf"^{name}\s*=\s*(.*?)\s*$", self.renewal, re.M)
        return found[1] if found else ""


def read_lineage(host: Host, app: str) -> Lineage:
    """Return what certbot has for the app."""
    return Lineage(read_certificate(host.live(app)), read_text(host.renewal(app)))


def identity_differences(lineage: Lineage, app: App) -> list[str]:
    """Return in what the certificate on disk is another one than the one wanted: names, key type, authority."""
    certificate = lineage.certificate
    if certificate is None:
        return [NONE_YET]
    reasons = []
    if set(certificate.names) != set(app.domains):
        reasons.append(f"names {', '.join(certificate.names)} -> {', '.join(sorted(app.domains))}")
    if certificate.key_type != app.acme.key_type:
        reasons.append(f"key type {certificate.key_type} -> {app.acme.key_type}")
    if lineage.server not in app.acme.directories:
        reasons.append(f"CA {lineage.server or 'unknown'} -> {app.acme.directory}")
    authenticator = app.acme.dns_plugin or "webroot"
    if lineage.known and _challenge(lineage.authenticator) != _challenge(authenticator):
        reasons.append(f"challenge {lineage.authenticator or 'unknown'} -> {authenticator}")
    if lineage.known and lineage.profile != app.acme.profile:
        reasons.append(f"profile {lineage.profile or 'default'} -> {app.acme.profile or 'default'}")
    return reasons


def _challenge(authenticator: str) -> str:
    return "http" if authenticator in BY_HTTP else authenticator


def differences(lineage: Lineage, app: App, now: datetime.datetime) -> list[str]:
    """Return why the app's certificate has to be issued; nothing when the one on disk is what is wanted."""
    reasons = identity_differences(lineage, app)
    certificate = lineage.certificate
    if certificate is not None and certificate.not_after <= now:
        reasons.append(f"expired on {certificate.not_after:%Y-%m-%d}")
    elif certificate is not None and certificate.overdue(now):
        reasons.append(f"renewal overdue, valid only until {certificate.not_after:%Y-%m-%d}")
    return reasons


def stands_in(lineage: Lineage, app: App, now: datetime.datetime, renew_left: int) -> bool:
    """Return whether another authority than the first has issued the certificate, and it is halfway to its renewal.

    The timer would have it renewed where it comes from; so the first authority is asked before that.
    """
    certificate = lineage.certificate
    if certificate is None or lineage.server == app.acme.directory or differences(lineage, app, now):
        return False
    return certificate.not_after - now < certificate.life * (100 + renew_left) / 200
