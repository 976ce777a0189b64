# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What balancers think of app hosts, beside what those say of themselves."""

from __future__ import annotations

import typing as t
from collections.abc import Iterable, Mapping

Row = Mapping[str, t.Any]
# Of one balancer, what balancer_drain returns: drained hosts, and faults by app and host.
View = Mapping[str, t.Mapping[str, t.Any]]


def rotation(row: Row, views: Mapping[str, View]) -> str:
    """Whether an app's host gets requests from each balancer, and why not."""
    told: dict[str, list[str]] = {}
    for balancer, view in views.items():
        told.setdefault(_seen(row, view), []).append(balancer)
    if len(told) == 1:
        return next(iter(told))
    return ", ".join(f"{' '.join(balancers)}: {seen}" for seen, balancers in told.items())


def _seen(row: Row, view: View) -> str:
    if row["host"] in view.get("drained", {}):
        return "drained"
    found = (view.get("faults") or {}).get(row["app"], {})
    if row["host"] not in found:
        return "not asked"
    return "failing" if found[row["host"]] else "in service"


def skew(rows: Iterable[Row]) -> list[str]:
    """A line for each app that hosts have different versions of."""
    versions: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        versions.setdefault(row["app"], {}).setdefault(row["source"] or "nothing", []).append(row["host"])
    return [
        f"{app}: {len(found)} versions: " + "; ".join(f"{source} on {' '.join(on)}" for source, on in found.items())
        for app, found in versions.items()
        if len(found) > 1
    ]
