# Copyright (c) webops.wsgi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Certificates that certbot keeps: what differs from what is wanted is issued, put in service, renewed, and removed.

`ensure_issued` is the whole phase; it runs after nginx serves. What fails for one app does not keep the others from
going on.
"""

from __future__ import annotations

import datetime
import typing as t
from dataclasses import replace

from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme.adopt import twin
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme.authorities import Issuer
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme.clearance import Clearance, clear
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme.lineage import (
    Lineage,
    differences,
    read_lineage,
    stands_in,
)
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme.removal import remove_all
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme.renewal import settle_renewal
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme.setup import (
    ManagedFile,
    hooks_in_the_way,
    settle_credentials,
    settle_files,
    settle_timer,
)
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.model import App
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.placement import (
    ca_on_disk,
    ensure_placeholder,
    place,
)
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.store import (
    Host,
    Outcome,
    in_use,
    point,
    prune,
    summary,
    target_of,
)
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.wire import (
    RELOADED,
    expected_on_wire,
    serve,
    wait_for,
)


def ensure_issued(
    host: Host,
    apps: t.Sequence[App],
    now: datetime.datetime,
    check: bool = False,
    files: t.Sequence[ManagedFile] = (),
    timer: str = "",
    nginx_reloads: bool = False,
    watch: str = "",
) -> Outcome:
    """Have every certificate issued, served and renewed; remove those of apps that are gone.

    What fails for one app does not keep the others from going on; it is in `errors` of the outcome.

    :param files: deploy hook and drop-ins, brought to their content when an app uses certbot
    :param timer: unit that renews, enabled when an app uses certbot
    :param watch: unit among `files` that looks at certificates of any kind, enabled in any case
    :param nginx_reloads: in check mode, whether nginx would be reloaded before this phase anyway
    """
    outcome = Outcome()
    by_certbot = any(app.present and app.tls == "letsencrypt" for app in apps)
    settle_files(host, [file for file in files if by_certbot or file.always], check, outcome)
    if timer and by_certbot:
        settle_timer(host, timer, check, outcome)
    if watch:
        settle_timer(host, watch, check, outcome)
    settle_credentials(host, apps, check, outcome)
    former = _issue_all(host, apps, now, check, outcome)
    if not check:
        serve(host, apps, former, outcome)
        if not outcome.errors:
            for name in former:
                prune(host, name, target_of(host.link(name)))
    elif not (nginx_reloads or outcome.issued):
        _predict_serve(host, apps, now, outcome)
    remove_all(host, apps, check, outcome)
    return outcome


def _issue_all(
    host: Host, apps: t.Sequence[App], now: datetime.datetime, check: bool, outcome: Outcome
) -> dict[str, str]:
    """Issue what differs from what is wanted, repoint links, return by app where each of these pointed before."""
    former: dict[str, str] = {}
    issuer = Issuer(host, now)
    wanted = [app for app in apps if app.present and app.tls == "letsencrypt"]
    if check:  # the phase before has predicted that these take over another name's certificate
        wanted = [app for app in wanted if not twin(host, app)]
    lineages = {app.name: read_lineage(host, app.name) for app in wanted}
    back = {app.name for app in wanted if stands_in(lineages[app.name], app, now, host.renew_left)}
    due = [app for app in wanted if app.name in back or differences(lineages[app.name], app, now)]
    cleared = {} if check else clear(host, due)
    to_ask = {app.name: _asked(app, cleared.get(app.name), outcome) for app in wanted if app.name not in back}
    if not check:
        issuer.ask_for_new([app for app, problem in to_ask.values() if not (problem or lineages[app.name].known)])
    for app in wanted:
        lineage = lineages[app.name]
        asked, problem = to_ask.get(app.name, (app, ""))
        before = target_of(host.link(app.name))
        if app.name in back:
            reasons = _go_back(issuer, app, lineage, cleared.get(app.name), check)
        else:
            reasons = differences(lineage, asked, now)
            problem = problem or (issuer.problem(asked) if reasons and not check else "")
        if problem:
            if _stand_in(host, app, now, outcome):
                former[app.name] = before
            outcome.errors.append(_issue_error(host, asked, problem))
            continue
        if not reasons:
            settle_renewal(host, app, lineage, check, outcome)
        else:
            _note_issued(asked, lineage, issuer.served_by.get(app.name, app.acme.directory), reasons, outcome)
        if not reasons and before != host.live(app.name) and not check:  # else the phase before has predicted it
            outcome.change(f"{app.name}: the certificate of certbot put in place")
        if (reasons or before != host.live(app.name)) and not check:
            former[app.name] = before
            point(host.link(app.name), host.live(app.name))
    outcome.warnings += [*issuer.warnings, *(hooks_in_the_way(host) if wanted else ())]
    return former


def _go_back(issuer: Issuer, app: App, lineage: Lineage, clearance: Clearance | None, check: bool) -> list[str]:
    """Ask the first authority for what another one has issued, and return why that was done, nothing when it fails.

    The certificate that is there is good, so a failure is only spoken of.
    """
    reason = f"{lineage.server} has stood in for {app.acme.directory}"
    if check:
        return [reason]
    problem = (clearance.problem if clearance else "") or issuer.problem(app.choices()[0])
    if not problem:
        return [reason]
    issuer.warnings.append(f'app "{app.name}": {reason}, and goes on to: {problem}')
    return []


def _asked(app: App, clearance: Clearance | None, outcome: Outcome) -> tuple[App, str]:
    """Return the app with the domains to ask for, and why none of them may be asked for."""
    if clearance is None or not clearance.problem:
        return app, ""
    if not clearance.domains:
        return app, clearance.problem
    outcome.errors.append(_left_out_error(app, clearance))
    return replace(app, domains=clearance.domains), ""


def _stand_in(host: Host, app: App, now: datetime.datetime, outcome: Outcome) -> bool:
    """Put a placeholder where nothing can be served, so that nginx can at least start; return whether it was needed."""
    if in_use(host, app.name).certificate is not None:
        return False
    placed = ensure_placeholder(host, [app], now)
    outcome.actions += placed.actions
    outcome.after += placed.after
    return True


def _note_issued(app: App, lineage: Lineage, directory: str, reasons: t.Sequence[str], outcome: Outcome) -> None:
    """Note that the app's certificate was, or would be, issued."""
    outcome.issued.append(app.name)
    outcome.change(
        f"{app.name}: certificate for {', '.join(app.domains)} issued by {directory}: {'; '.join(reasons)}",
        summary(app, "letsencrypt", lineage.certificate.names) if lineage.certificate else "",
        f"{summary(app, 'letsencrypt', app.domains)} from {directory}",
    )


def _issue_error(host: Host, app: App, problem: str) -> str:
    """Return the error for an app whose certificate was not issued, and what it serves instead."""
    current = in_use(host, app.name)
    served = f"it keeps its {current.kind} certificate" if current.certificate else "it has no certificate to serve"
    if current.certificate:
        served += f" (valid until {current.certificate.not_after:%Y-%m-%d})"
    asked = f"{', '.join(app.domains)} by {app.acme.directory}"
    return f'app "{app.name}": no certificate was issued for {asked}: {problem}; {served}'


def _left_out_error(app: App, clearance: Clearance) -> str:
    """Return the error for the domains of an app that its certificate is not for, since they failed before."""
    left_out = [domain for domain in app.domains if domain not in clearance.domains]
    return (
        f'app "{app.name}": no certificate was asked for {", ".join(left_out)}: {clearance.problem}; '
        f"the app has one for {', '.join(clearance.domains)}, and clients of the rest are warned"
    )


def _predict_serve(host: Host, apps: t.Sequence[App], now: datetime.datetime, outcome: Outcome) -> None:
    """Tell in check mode whether nginx would be reloaded, though no certificate would be issued."""
    ca = ca_on_disk(host, now)
    remade = any(place(host, app, now, ca).reason for app in apps if app.served)
    expected = expected_on_wire(host, apps).fingerprints
    wrong = wait_for(host, expected, host.settle_timeout)
    if any(seen.fingerprint for seen in wrong.values()) or (remade and expected and not wrong):
        outcome.change(RELOADED)
