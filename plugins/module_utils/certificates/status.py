# Copyright (c) webops.wsgi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wrong with the certificates a host serves: another one on the wire than on disk, or too little life left."""

from __future__ import annotations

import datetime
import typing as t

from ansible_collections.webops.wsgi.plugins.module_utils.certificates.model import Certificate
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.store import Host, in_use
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.wire import Seen, look_all

LEFT_PERCENT = 25
"""When less of its life is left, the renewals of weeks (of days, when it is a short one) must have failed."""


def problems(host: Host, domains: t.Mapping[str, t.Sequence[str]], now: datetime.datetime) -> dict[str, str]:
    """Return by app what is wrong, empty when nothing is.

    :param domains: of each app that is served over TLS
    """
    seen = look_all(host, [name for names in domains.values() for name in names])
    return {
        app: "; ".join(_of_app(in_use(host, app).certificate, {name: seen[name] for name in names}, now))
        for app, names in domains.items()
    }


def _of_app(certificate: Certificate | None, seen: t.Mapping[str, Seen], now: datetime.datetime) -> t.Iterator[str]:
    if certificate is None:
        yield "none that can be used"
        return
    for name, answer in seen.items():
        if answer.problem:
            yield f"no TLS answer for {name}: {answer.problem}"
        elif answer.fingerprint != certificate.fingerprint:
            yield f"{name} shows another one than the one on disk"
        elif not certificate.covers(name):
            yield f"not for {name}"
    left = (certificate.not_after - now) * 100 // certificate.life
    if left < 0:
        yield f"expired on {certificate.not_after:%Y-%m-%d}"
    elif left < LEFT_PERCENT:
        yield f"{left} % of its life left"
