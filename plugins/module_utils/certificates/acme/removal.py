# Copyright (c) webops.wsgi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The certificates of apps that are gone, removed once nginx does not name them any more."""

from __future__ import annotations

import os
import shutil
import typing as t

from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme.command import run_certbot
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme.output import cause
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.model import App
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.store import Host, Outcome


def remove_all(host: Host, apps: t.Sequence[App], check: bool, outcome: Outcome) -> None:
    """Remove the certificates of apps that are gone, once nginx does not name them any more."""
    gone = [(app, paths) for app in apps if not app.served and (paths := _leftovers(host, app))]
    if not gone:
        return
    dump = "" if check or not shutil.which(host.nginx[0]) else host.run([*host.nginx, "-T"], {}).output
    for app, paths in gone:
        if host.link(app.name) + "/" in dump:
            outcome.errors.append(
                f'app "{app.name}": its certificate is not removed: the configuration of nginx still names '
                f"{host.link(app.name)}/; let the role nginx_proxy remove the site first"
            )
            continue
        if not check:
            problem = _remove_one(host, app)
            if problem:
                outcome.errors.append(problem)
                continue
        outcome.change(f"{app.name}: certificate removed", f"{app.name}: {', '.join(paths)}")


def _leftovers(host: Host, app: App) -> list[str]:
    """Return what lies on the host for an app that is not served over TLS (any more)."""
    paths = [host.link(app.name), os.path.join(host.store, app.name)]
    if not app.present:
        paths += [host.renewal(app.name), host.live(app.name)]
    return [path for path in paths if os.path.lexists(path)]


def _remove_one(host: Host, app: App) -> str:
    """Remove link, pairs and, for an absent app, certbot's lineage; return what went wrong, or nothing."""
    if os.path.lexists(host.link(app.name)):
        os.unlink(host.link(app.name))
    shutil.rmtree(os.path.join(host.store, app.name), ignore_errors=True)
    if app.present or not any(os.path.lexists(path) for path in (host.renewal(app.name), host.live(app.name))):
        return ""
    if os.path.lexists(host.renewal(app.name)) and shutil.which(host.certbot[0]):
        completed = run_certbot(host, [*host.certbot, "delete", "--non-interactive", "--cert-name", app.name])
        if completed.rc != 0:
            return f'app "{app.name}": certbot could not delete its certificate: {cause(completed.output)}'
    if os.path.lexists(host.renewal(app.name)):
        os.unlink(host.renewal(app.name))
    for path in (host.live(app.name), os.path.join(host.letsencrypt, "archive", app.name)):
        shutil.rmtree(path, ignore_errors=True)
    return ""
