# Copyright (c) webops.wsgi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An app that gets another name keeps its certificate, and so does one that was set up by hand before: what makes a
certificate the one that is wanted is not its name.

certbot keeps each certificate under a name, here the app's. A new name for which certbot has nothing takes over a copy
of a certificate with the same domains, key type and authority, and no authority is asked. The old name keeps its own
until its app is removed.
"""

from __future__ import annotations

import glob
import os
import re
import shutil
import tempfile
import typing as t

from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme.lineage import (
    identity_differences,
    read_lineage,
)
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.model import App
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.store import (
    Host,
    Outcome,
    point,
    read_text,
    summary,
    target_of,
)
from ansible_collections.webops.wsgi.plugins.module_utils.host.files import write_file

PARTS = ("cert", "chain", "fullchain", "privkey")


def adopt(host: Host, apps: t.Sequence[App], check: bool) -> Outcome:
    """Take over certificates for apps that certbot knows under another name."""
    outcome = Outcome()
    for app in apps:
        other = twin(host, app)
        if not other:
            continue
        outcome.change(
            f"{app.name}: the certificate of {other} taken over, which is for the same domains",
            "",
            summary(app, "letsencrypt", app.domains),
        )
        if not check:
            _copy(host, other, app.name)
            point(host.link(app.name), host.live(app.name))
    return outcome


def twin(host: Host, app: App) -> str:
    """Return under which name certbot has the certificate that the app wants, when it has none under the app's own."""
    if not app.present or app.tls != "letsencrypt" or target_of(host.link(app.name)) == host.live(app.name):
        return ""
    if read_lineage(host, app.name).known:
        return ""
    for path in sorted(glob.glob(host.renewal("*"))):
        name = os.path.basename(path).removesuffix(".conf")
        lineage = read_lineage(host, name)
        if lineage.known and not identity_differences(lineage, app):
            return name
    return ""


def _copy(host: Host, other: str, name: str) -> None:
    """Copy a certificate to another name; certbot knows of the copy from the last step on."""
    archive, live = os.path.join(host.letsencrypt, "archive", name), host.live(name)
    for left in (archive, live):  # by a run that was killed
        shutil.rmtree(left, ignore_errors=True)
    os.makedirs(archive, mode=0o700)
    for part in PARTS:
        source = os.path.realpath(os.path.join(host.live(other), f"{part}.pem"))
        shutil.copy2(source, os.path.join(archive, f"{part}1.pem"))
    scratch = tempfile.mkdtemp(prefix=".new-", dir=os.path.dirname(live))
    os.chmod(scratch, 0o755)
    for part in PARTS:
        os.symlink(f"../../archive/{name}/{part}1.pem", os.path.join(scratch, f"{part}.pem"))
    os.rename(scratch, live)
    of_other = re.compile(rf"(/(?:archive|live)/){re.escape(other)}(?=/|\s*$)", re.M)
    renewal = of_other.sub(lambda found: found[1] + name, read_text(host.renewal(other)))
    write_file(host.renewal(name), renewal, 0o644)
