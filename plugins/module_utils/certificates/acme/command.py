# Copyright (c) webops.wsgi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The command lines of certbot, and how they are run."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
import typing as t
from dataclasses import replace

from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme.lineage import Lineage
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme.output import unmasked
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.model import App
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.store import Completed, Host
from ansible_collections.webops.wsgi.plugins.module_utils.host import dns

PASSING = ("Another instance of Certbot is already running", "invalid anti-replay nonce", "badNonce")
"""What certbot says when the same command can work a moment later."""
PASSING_WAIT = 3.0
PASSING_TRIES = 20


def _challenge(host: Host, app: App) -> list[str]:
    """Return how certbot answers the authority's challenge."""
    plugin = app.acme.dns_plugin
    if not plugin:
        return ["--webroot", "--webroot-path", host.webroot]
    options = ["--authenticator", plugin, f"--{plugin}-credentials", host.credentials(app.name)]
    if app.acme.dns_propagation:
        options += [f"--{plugin}-propagation-seconds", str(app.acme.dns_propagation)]
    return options


@contextlib.contextmanager
def account_binding(app: App) -> t.Iterator[list[str]]:
    """Yield what certbot needs to bind a new account; in a file, since everybody on the host sees its arguments."""
    if not app.acme.eab_kid:
        yield []
        return
    handle, path = tempfile.mkstemp(prefix="wsgi-eab-", suffix=".ini")  # 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(f"eab-kid = {app.acme.eab_kid}\neab-hmac-key = {app.acme.eab_hmac_key}\n")
        yield ["--config", path]
    finally:
        os.unlink(path)


def certonly_command(host: Host, app: App, lineage: Lineage) -> list[str]:
    """Return the command that issues the app's certificate into the lineage of its name."""
    acme = app.acme
    command = [*host.certbot, "certonly", "--non-interactive", "--cert-name", app.name, "--server", acme.directory]
    command += ["--key-type", acme.key_type, *_challenge(host, app), *account_options(host, app)]
    command.append("--no-directory-hooks")  # for renewals; one that stops nginx would keep it from answering
    if acme.profile:
        command += ["--preferred-profile", acme.profile]
    if lineage.known:
        command += ["--renew-with-new-domains", "--force-renewal"]
        if "staging" in acme.directory and "staging" not in lineage.server:
            command.append("--break-my-certs")
    for domain in app.domains:
        command += ["--ip-address" if dns.is_address(domain) else "--domain", domain]
    return command


def account_options(host: Host, app: App) -> list[str]:
    """Return the options that an account at the CA is made with."""
    email = app.acme.email
    options = ["--email", email, "--no-eff-email"] if email else ["--register-unsafely-without-email"]
    return [*options, "--agree-tos"] if host.agree_tos else options


def register(host: Host, app: App) -> Completed:
    """Make an account at the app's CA; `HAS_ACCOUNT` is in the answer when there is one."""
    command = [*host.certbot, "register", "--non-interactive", "--server", app.acme.directory]
    with account_binding(app) as binding:
        return run_certbot(host, [*command, *account_options(host, app), *binding])


def run_certbot(host: Host, command: t.Sequence[str], sleep: t.Callable[[float], None] = time.sleep) -> Completed:
    """Run certbot, again while its timer's run holds the lock or the CA refuses a nonce."""
    environment = {"REQUESTS_CA_BUNDLE": host.ca_bundle} if host.ca_bundle else {}
    completed = _run_once(host, command, environment)
    for _attempt in range(PASSING_TRIES):
        if completed.rc == 0 or not any(phrase in completed.output for phrase in PASSING):
            break
        sleep(PASSING_WAIT)
        completed = _run_once(host, command, environment)
    return completed


def _run_once(host: Host, command: t.Sequence[str], environment: t.Mapping[str, str]) -> Completed:
    completed = host.run(command, environment)
    return replace(completed, output=unmasked(completed.output))
