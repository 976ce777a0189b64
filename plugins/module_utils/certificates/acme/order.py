# Copyright (c) webops.wsgi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One certificate, ordered from one authority: in certbot's own directories, or aside from them beside others."""

from __future__ import annotations

import datetime
import os
import re
import shutil
import tempfile
import time
from dataclasses import replace

from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme import account
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme.command import (
    account_binding,
    certonly_command,
    register,
    run_certbot,
)
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme.lineage import (
    Lineage,
    identity_differences,
    read_lineage,
)
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme.renewal import settle_renewal
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.model import App, CertificateError, Pair
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.store import (
    Completed,
    Host,
    Outcome,
    point,
    read_text,
    target_of,
    write_pair,
)
from ansible_collections.webops.wsgi.plugins.module_utils.host.files import write_file

ASIDE = ".issuing-"
ASIDE_MAX_AGE = 3600.0
"""Seconds after which nobody works in such a directory any more: certbot gives up on a certificate after minutes."""


def issue(host: Host, app: App, now: datetime.datetime) -> Completed:
    """Ask the CA for the app's certificate.

    Returns certbot's answer; raises CertificateError when certbot reports success but what was wanted is not there.
    """
    have_webroot(host)
    set_aside(host, app.name, read_lineage(host, app.name), now)
    command = certonly_command(host, app, read_lineage(host, app.name))
    with account_binding(app) as binding:
        completed = run_certbot(host, [*command, *binding])
    if completed.rc != 0 and account.FORGOTTEN.search(completed.output):
        with account.RENEWING:
            if account.set_aside(host, app.acme.directory, completed.output, now):
                register(host, app)
        completed = run_certbot(host, command)
    if completed.rc != 0 and account.SEVERAL in completed.output:
        completed = run_certbot(host, [*command, "--account", account.newest(host, app.acme.directory)])
    if completed.rc == 0:
        left = identity_differences(read_lineage(host, app.name), app)
        if left:
            raise CertificateError(f"certbot reported success, but the certificate is not as wanted: {'; '.join(left)}")
        settle_renewal(host, app, read_lineage(host, app.name), False, Outcome())
    return completed


def have_webroot(host: Host) -> None:
    """Have the directory that nginx answers challenges from, readable whatever the umask."""
    if not os.path.isdir(host.webroot):
        os.makedirs(host.webroot)
        os.chmod(host.webroot, 0o755)


def set_aside(host: Host, app: str, lineage: Lineage, now: datetime.datetime) -> None:
    """Move the remains of a damaged lineage out of certbot's way, which would not write over them.

    A lineage is damaged when its pair or its renewal configuration is missing: certbot was killed, or files were
    removed by hand. A pair that can still be served is kept in service from a directory of its own.
    """
    remains = [host.renewal(app), host.live(app), os.path.join(host.letsencrypt, "archive", app)]
    if (lineage.known and lineage.certificate) or not any(map(os.path.lexists, remains)):
        return
    if lineage.certificate and target_of(host.link(app)) == host.live(app):
        pair = Pair(*(read_text(os.path.join(host.live(app), name)) for name in ("fullchain.pem", "privkey.pem")))
        point(host.link(app), write_pair(os.path.join(host.store, app), "kept", pair))
    aside = os.path.join(host.letsencrypt, "damaged", f"{app}-{now:%Y%m%dT%H%M%S}")
    os.makedirs(aside, mode=0o700)
    for path in filter(os.path.lexists, remains):
        os.rename(path, os.path.join(aside, os.path.basename(os.path.dirname(path))))


def issue_aside(host: Host, app: App, now: datetime.datetime) -> Completed:
    """Ask the CA for the certificate of an app that has none, in directories of its own, and adopt what comes of it.

    certbot locks its directories, so several can only work at the same time when each has its own. They share the
    account, which must be there, and the credentials for DNS. Killed, it leaves a directory that `sweep` removes.

    Returns certbot's answer; raises CertificateError as `issue` does.
    """
    with tempfile.TemporaryDirectory(prefix=ASIDE + app.name + "-", dir=host.letsencrypt) as aside:
        for shared in ("accounts", "credentials"):
            os.symlink(os.path.join(host.letsencrypt, shared), os.path.join(aside, shared))
        logs = os.path.join(aside, "logs")
        directories = ("--config-dir", aside, "--work-dir", os.path.join(aside, "work"), "--logs-dir", logs)
        completed = issue(replace(host, letsencrypt=aside, certbot=(*host.certbot, *directories)), app, now)
        if os.path.isfile(os.path.join(logs, "letsencrypt.log")):
            os.makedirs(host.logs, mode=0o700, exist_ok=True)
            shutil.copy(os.path.join(logs, "letsencrypt.log"), os.path.join(host.logs, f"{app.name}.log"))
        if completed.rc == 0:
            set_aside(host, app.name, read_lineage(host, app.name), now)
            _adopt(host, app.name, aside)
    return completed


def _adopt(host: Host, app: str, aside: str) -> None:
    """Move a lineage to where certbot renews it. The renewal configuration comes last: with it, certbot knows it."""
    renewal = os.path.join(aside, "renewal", app + ".conf")
    write_file(renewal, adopted_renewal(read_text(renewal), aside, host.letsencrypt), 0o644)
    for kind, entry, mode in (("archive", app, 0o700), ("live", app, 0o700), ("renewal", app + ".conf", 0o755)):
        os.makedirs(os.path.join(host.letsencrypt, kind), mode=mode, exist_ok=True)
        os.rename(os.path.join(aside, kind, entry), os.path.join(host.letsencrypt, kind, entry))


def adopted_renewal(renewal: str, aside: str, letsencrypt: str) -> str:
    """Return the renewal configuration of a lineage that was moved, without the directories certbot was called with."""
    return re.sub(r"^(config|work|logs)_dir\s*=.*\n", "", renewal, flags=re.M).replace(aside, letsencrypt)


def sweep(host: Host) -> None:
    """Remove what runs that were killed while they issued certificates have left."""
    for entry in os.scandir(host.letsencrypt) if os.path.isdir(host.letsencrypt) else ():
        if entry.name.startswith(ASIDE) and time.time() - entry.stat().st_mtime > ASIDE_MAX_AGE:
            shutil.rmtree(entry.path, ignore_errors=True)
