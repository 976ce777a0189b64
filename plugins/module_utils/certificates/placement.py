# Copyright (c) webops.wsgi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which certificate nginx is given for each app before it starts: made here, provided, or a placeholder."""

from __future__ import annotations

import datetime
import glob
import os
import shutil
import socket
import typing as t
from dataclasses import dataclass

from ansible_collections.webops.wsgi.plugins.module_utils.certificates.model import (
    REMAKE_DAYS,
    SELFSIGNED_DAYS,
    WARN_DAYS,
    App,
    CertificateError,
    Pair,
    check_suits,
    parse,
)
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.store import (
    Host,
    InUse,
    Outcome,
    in_use,
    is_private,
    point,
    prune,
    read_certificate,
    read_text,
    summary,
    usable,
    write_pair,
)
from ansible_collections.webops.wsgi.plugins.module_utils.host.files import write_file


@dataclass(frozen=True)
class Placement:
    """What the link of an app must lead to before nginx reads it, and why, when that is not so already.

    The pair is there as C(target), or that of C(copy_of) is copied, or one is made.
    """

    kind: str
    reason: str = ""
    target: str = ""
    copy_of: str = ""


def ensure_placeholder(host: Host, apps: t.Sequence[App], now: datetime.datetime, check: bool = False) -> Outcome:
    """Make sure that the certificate files every served app's site names are there, so that nginx can start.

    Nothing here asks a CA or needs nginx. All provided certificates are checked before anything is written.
    Raises CertificateError when one cannot be used.
    """
    outcome = Outcome()
    served = [app for app in apps if app.served]
    ca = ca_on_disk(host, now) if any(app.tls == "selfsigned" for app in served) else None
    placements = [(app, place(host, app, now, ca)) for app in served]
    for app, placement in placements:
        if placement.kind == "provided":
            _warn_expiry(app, now, outcome)
    if any(placement.reason and not placement.target for _app, placement in placements):
        _check_before_making(placements, now, check)
    for app, placement in placements:
        current = in_use(host, app.name)
        if not placement.reason:
            if not check:
                prune(host, app.name, current.target)  # what a run that was killed has left
            continue
        outcome.change(
            f"{app.name}: {placement.kind} certificate put in place: {placement.reason}",
            summary(app, current.kind, current.certificate.names) if current.certificate else "",
            summary(app, placement.kind, app.domains),
        )
        if check:
            continue
        if placement.kind == "selfsigned" and ca is None:
            ca = _new_ca(host, now)
        parent = os.path.join(host.store, app.name)
        target = placement.target or write_pair(parent, placement.kind, _pair(app, placement, ca, now))
        point(host.link(app.name), target)
        prune(host, app.name, target)
    return outcome


def _check_before_making(placements: t.Iterable[tuple[App, Placement]], now: datetime.datetime, check: bool) -> None:
    """Check what is about to be written, before any of it is. Raises CertificateError."""
    from ansible_collections.webops.wsgi.plugins.module_utils.certificates import making

    if check and not making.AVAILABLE:
        return  # a check run, on a host that has nothing yet
    making.require()
    for app, placement in placements:
        if placement.kind == "provided" and placement.reason:
            making.check_provided(app, now)


def _new_ca(host: Host, now: datetime.datetime) -> Pair:
    """Make the host's own CA, in place of one that is damaged or too old to sign."""
    from ansible_collections.webops.wsgi.plugins.module_utils.certificates import making

    ca = making.make_ca(socket.gethostname(), now)
    for entry in os.listdir(host.store) if os.path.isdir(host.store) else ():
        if entry.startswith(("_ca", ".new-")):
            shutil.rmtree(os.path.join(host.store, entry))
    written = write_pair(host.store, "_ca", ca)
    os.chmod(host.store, 0o755)
    os.rename(written, host.ca)
    write_file(os.path.join(host.store, "ca.pem"), ca.chain, 0o644)
    return ca


def _pair(app: App, placement: Placement, ca: Pair | None, now: datetime.datetime) -> Pair:
    if placement.copy_of:
        return Pair(*(read_text(os.path.join(placement.copy_of, name)) for name in ("fullchain.pem", "privkey.pem")))
    if placement.kind == "provided":
        return Pair(app.chain_pem, app.key_pem)
    from ansible_collections.webops.wsgi.plugins.module_utils.certificates import making

    return making.make_certificate(app, ca if placement.kind == "selfsigned" else None, now)


def _warn_expiry(app: App, now: datetime.datetime, outcome: Outcome) -> None:
    """Warn when a provided certificate ends soon: nobody but the person who provided it can renew it."""
    left = parse(app.chain_pem).not_after - now
    if left.days < WARN_DAYS:
        outcome.warnings.append(
            f'app "{app.name}": the provided certificate expires in {left.days} days; provide a new one'
        )


def ca_on_disk(host: Host, now: datetime.datetime) -> Pair | None:
    """Return the host's own CA, or None when there is none that outlives a certificate made now."""
    if not is_private(host.ca):
        return None
    pair = Pair(read_text(os.path.join(host.ca, "fullchain.pem")), read_text(os.path.join(host.ca, "privkey.pem")))
    try:
        return pair if usable(host.ca) and parse(pair.chain).valid(now, SELFSIGNED_DAYS + 1) else None
    except CertificateError:
        return None


def place(host: Host, app: App, now: datetime.datetime, ca: Pair | None) -> Placement:
    """Return what the link of a served app must lead to before nginx reads it.

    Raises CertificateError when a provided certificate cannot be used.
    """
    current = in_use(host, app.name)
    if app.tls == "provided":
        return _place_provided(app, current, now)
    if app.tls == "selfsigned":
        return _place_selfsigned(app, current, ca, now)
    return _place_letsencrypt(host, app, current, now)


def _place_letsencrypt(host: Host, app: App, current: InUse, now: datetime.datetime) -> Placement:
    if current.kind == "letsencrypt" and current.certificate is not None:
        return Placement("letsencrypt")
    if usable(host.live(app.name)):
        return Placement("letsencrypt", "certbot has a certificate", host.live(app.name))
    held = current.certificate
    if (
        current.kind in ("selfsigned", "provided", "kept")
        and held
        and held.valid(now)
        and all(map(held.covers, app.domains))
    ):
        return Placement(current.kind)
    if name := _covering(host, app, now):
        return Placement("kept", f"certbot has one for its domains as {name}", copy_of=host.live(name))
    reason = _own_reason(app, current, "placeholder", now)
    return Placement("placeholder", reason)


def _covering(host: Host, app: App, now: datetime.datetime) -> str:
    """Return a name under which certbot has a good certificate for all of an app's domains, and perhaps more."""
    for path in sorted(glob.glob(host.renewal("*"))):
        name = os.path.basename(path).removesuffix(".conf")
        found = read_certificate(host.live(name))
        if found and found.valid(now) and all(map(found.covers, app.domains)):
            return name
    return ""


def _place_selfsigned(app: App, current: InUse, ca: Pair | None, now: datetime.datetime) -> Placement:
    reason = _own_reason(app, current, "selfsigned", now)
    signed_by = parse(ca.chain).subject_name if ca else None
    if not reason and current.certificate and current.certificate.issuer_name != signed_by:
        reason = "the host's own CA is another one"
    return Placement("selfsigned", reason)


def _place_provided(app: App, current: InUse, now: datetime.datetime) -> Placement:
    check_suits(app, now)
    if current.kind != "provided":
        return Placement("provided", "no provided certificate yet")
    if current.certificate is None:
        return Placement("provided", "the pair on disk is damaged or readable by others")
    on_disk = {name: read_text(os.path.join(current.target, name)) for name in ("fullchain.pem", "privkey.pem")}
    if on_disk["fullchain.pem"] != app.chain_pem:
        return Placement("provided", "another certificate is provided")
    if app.key_pem and on_disk["privkey.pem"] != app.key_pem:
        return Placement("provided", "another key is provided")
    return Placement("provided")


def _own_reason(app: App, current: InUse, kind: str, now: datetime.datetime) -> str:
    """Return why a certificate made here has to be made again, or nothing."""
    if current.kind != kind:
        return f"no {kind} certificate yet"
    if current.certificate is None:
        return "the pair on disk is damaged or readable by others"
    if current.certificate.names != tuple(sorted(app.domains)):
        return "the domains changed"
    if not current.certificate.valid(now, REMAKE_DAYS):
        return f"less than {REMAKE_DAYS} days left"
    return ""
