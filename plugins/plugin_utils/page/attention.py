# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of the apps needs somebody's attention, the worst first."""

from __future__ import annotations

import typing as t
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ansible_collections.webops.wsgi.plugins.module_utils.failures.faults import Fault
from ansible_collections.webops.wsgi.plugins.plugin_utils.fleet import view
from ansible_collections.webops.wsgi.plugins.plugin_utils.page.words import megabytes, moment, number

Row = Mapping[str, t.Any]

RECENT = 6  # steps of ten minutes
FEWEST = 5  # errors in them that are worth a word
SHARE, URGENT_SHARE = 0.01, 0.05  # of the requests
FULL = 0.9  # of the limit of memory
URGENT_DAYS = 3  # that a certificate with a problem is still valid


@dataclass(frozen=True)
class Item:
    """One thing that needs attention.

    Attributes:
        text: What is the matter.
        fix: What to do about it; empty when that is not known.
        urgent: Whether clients are affected, or soon will be.
        host: The host it is about.
        app: The app it is about; empty for all of the host.
    """

    text: str
    fix: str = ""
    urgent: bool = False
    host: str = ""
    app: str = ""


def attention(rows: Iterable[Row], missing: Iterable[str] = ()) -> list[Item]:
    """All that needs attention, what affects clients first.

    Args:
        rows: The apps, as C(app_status) reads them.
        missing: Hosts that should have been looked at and were not.
    """
    shown = list(rows)
    found = [
        Item("could not be reached, so nothing is known of its apps", f"ansible {host} -m ping", urgent=True, host=host)
        for host in missing
    ]
    for row in shown:
        found += [Item(text, fix, urgent, row["host"], row["app"]) for text, fix, urgent in _of(row)]
    found += [Item(f"hosts differ: {line}", "run webops.wsgi.deploy") for line in view.skew(shown)]
    return sorted(found, key=lambda item: not item.urgent)


Told = tuple[str, str, bool]


def _of(row: Row) -> Iterator[Told]:
    yield from _serving(row)
    yield from _errors(row)
    yield from _certificate(row)
    yield from _deployment(row)
    for name, state in row["beside"].items():
        if state in ("failed", "inactive", "fatal", "stopped", "exited", "backoff"):
            yield f"{name}, which runs beside the server, is {state}", "", True
    for fault in row["faults"]:
        seen = str(Fault(fault["text"], count=fault["count"])).rstrip(".")
        yield f"{fault['process']}{': ' if fault['process'] else ''}{seen}", fault["fix"], False
    yield from _memory(row)


def _serving(row: Row) -> Iterator[Told]:
    explain = f"ansible-playbook webops.wsgi.explain -e app={row['app']}"
    if not row["release"]:
        if not _failed_last(row):
            yield "has never been deployed", "run webops.wsgi.site", True
    elif row["health"]:
        state = "" if row["state"] == "active" else f" ({row['state']})"
        yield f"is not healthy: {row['health']}{state}", explain, not row["maintenance"]
    if row["maintenance"]:
        off = f"ansible-playbook webops.wsgi.maintenance -e app={row['app']} -e state=off"
        yield "is closed for maintenance", off, False
    if row["restarts"]:
        yield f"restarted by itself {_times(row['restarts'])} since its release was started", explain, False
    rotation = row.get("rotation") or ""
    if any(word in rotation for word in ("failing", "drained")):
        yield f"balancers send it no requests, or not all of them do: {rotation}", "", "failing" in rotation


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _errors(row: Row) -> Iterator[Told]:
    day = row.get("traffic")
    if not day:
        return
    errors, requests = sum(day["server_errors"][-RECENT:]), sum(day["requests"][-RECENT:])
    if errors < FEWEST or errors < SHARE * requests:
        return
    worst = ", ".join(
        f"{one['method']} {one['path']} {one['status']} ({_times(one['count'])})" for one in day["failing"]
    )
    text = f"failed {number(errors)} of {number(requests)} requests of the last hour"
    fix = f"ansible-playbook webops.wsgi.explain -e app={row['app']}"
    yield f"{text}; of the day most often {worst}" if worst else text, fix, errors > URGENT_SHARE * requests


def _certificate(row: Row) -> Iterator[Told]:
    problem, days = row.get("certificate_problem"), row["certificate_days"]
    if problem:
        yield f"certificate: {problem}", "run webops.wsgi.site, which says why", days is None or days < URGENT_DAYS


def _failed_last(row: Row) -> Row | None:
    """The last deployment, if that failed."""
    last: Row = row["history"][-1] if row["history"] else {}
    return last if last.get("outcome", "ok") != "ok" else None


def _deployment(row: Row) -> Iterator[Told]:
    if last := _failed_last(row):
        text = f"the last deployment failed ({last.get('source') or last.get('to')}, {last.get('who', 'unknown')}, "
        serves = f"release {row['release']} serves" if row["release"] else "no release serves yet"
        yield f"{text}{moment(last.get('time', ''))}); {serves}", "run it again: it says why", not row["release"]


def _memory(row: Row) -> Iterator[Told]:
    used, most = memory_used(row), row["memory_max_bytes"]
    if row.get("shortage"):
        yield row["shortage"], "", False
    elif used and most and used > FULL * most:
        fix = "raise release_memory_max, or find what keeps the memory"
        yield f"uses {megabytes(used)} of the {megabytes(most)} of its limit", fix, False


def memory_used(row: Row) -> int | None:
    """What an app uses of the memory; of a host that does not count it, what its workers use at most."""
    return row["memory_bytes"] or (row["worker_memory_bytes"] or 0) * max(1, row["workers"]) or None
