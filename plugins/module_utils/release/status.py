# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person wants to know of the apps on a host, read without changing anything."""

from __future__ import annotations

import datetime
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.failures.faults import Fault, faults
from ansible_collections.webops.wsgi.plugins.module_utils.failures.server_log import ServerLog
from ansible_collections.webops.wsgi.plugins.module_utils.host.processes import children, proportional
from ansible_collections.webops.wsgi.plugins.module_utils.managers.model import TIMER, Manager, Process, State
from ansible_collections.webops.wsgi.plugins.module_utils.release import health as probe
from ansible_collections.webops.wsgi.plugins.module_utils.release import layout as layout
from ansible_collections.webops.wsgi.plugins.module_utils.release.run import HISTORY

HISTORY_LINES = 20
JOURNAL_LINES = 1000  # of each log, to look for faults in

ABSENT = State("", "absent", runs=False, gone=True, broken=False)

COLUMNS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "HOST": lambda row: row["host"],
    "APP": lambda row: row["app"],
    "RELEASE": lambda row: row["release"] or "-",
    "FROM": lambda row: row["source"] or "-",
    "SINCE": lambda row: " ".join(row["since"].split()[1:3]) or "-",
    "STATE": lambda row: row["state"],
    "HEALTH": lambda row: row["health"] or "good",
    "MAINTENANCE": lambda row: "on" if row["maintenance"] else "-",
    "WORKERS": lambda row: str(row["workers"]),
    "BESIDE": lambda row: " ".join(f"{name}:{state}" for name, state in row["beside"].items()) or "-",
    "MEMORY": lambda row: _size(row["memory_bytes"]),
    "RESTARTS": lambda row: str(row["restarts"]),
    "FAULTS": lambda row: str(sum(fault["count"] for fault in row["faults"]) or "-"),
    "BACK TO": lambda row: " ".join(row["previous"]) or "-",
    "DISK": lambda row: _size(row["disk_bytes"]),
    "CERT DAYS": lambda row: _certificate(row["certificate_days"], row.get("certificate_problem", "")),
    "URL": lambda row: row.get("url") or "-",
}


HISTORY_COLUMNS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "HOST": lambda line: line["host"],
    "APP": lambda line: line["app"],
    "WHEN": lambda line: line.get("time", "-"),
    "WHO": lambda line: line.get("who", "-"),
    "DID": lambda line: line.get("action", "-"),
    "FROM": lambda line: line.get("from") or "-",
    "TO": lambda line: line.get("to") or "-",
    "BUILT FROM": lambda line: line.get("source") or "-",
    "WHY": lambda line: ", ".join(line.get("reasons", [])) or "-",
    "OUTCOME": lambda line: line.get("outcome", "-"),
    "SECONDS": lambda line: " ".join(f"{part} {took:.1f}" for part, took in line.get("seconds", {}).items()),
}


def read(
    paths: layout.Paths,
    checks: Mapping[str, probe.Health],
    manager: Manager,
    certificates: Path,
    logs: Mapping[str, ServerLog],
) -> list[dict[str, Any]]:
    """One row for each app.

    Args:
        paths: Where things lie.
        checks: What a healthy instance answers, by app.
        manager: The process manager.
        certificates: Directory that leads to each app's certificate.
        logs: How the apps' servers write to theirs, by app.
    """
    lasting = {
        app: layout.lasting(paths, app, number) for app in checks if (number := layout.current_release(paths, app))
    }
    states = manager.states(process for processes in lasting.values() for process in processes)
    with ThreadPoolExecutor(8) as pool:
        rows = list(
            pool.map(
                lambda app: {
                    **_row(
                        paths,
                        app,
                        checks[app],
                        {process: states[process] for process in lasting.get(app, [])},
                        certificates,
                    ),
                    "faults": _faults(lasting.get(app, []), manager, logs.get(app, ServerLog())),
                },
                checks,
            )
        )
    for app, text in shortages(rows, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")).items():
        next(row for row in rows if row["app"] == app)["shortage"] = text
    return rows


def shortages(rows: Iterable[Mapping[str, Any]], total: int) -> dict[str, str]:
    """What is to be said, by app, of workers that do not fit once each is as large as the largest of them."""
    found = {}
    needs = {row["app"]: max(1, row["workers"]) * (row["worker_memory_bytes"] or 0) for row in rows}
    for row in rows:
        most, need = row["memory_max_bytes"], needs[row["app"]]
        if most and need > most:
            found[row["app"]] = (
                f"{_workers(row)} would need {_size(need)}, more than the {_size(most)} of release_memory_max. "
                "Fix: fewer workers, or raise it"
            )
    largest = max(rows, key=lambda row: needs[row["app"]], default=None)
    if largest and sum(needs.values()) > total and largest["app"] not in found:
        found[largest["app"]] = (
            f"the workers of all apps would need {_size(sum(needs.values()))}, more than the {_size(total)} of this "
            f"host; most of it is {_workers(largest)} of this app. Fix: fewer workers, or release_memory_max"
        )
    return found


def _workers(row: Mapping[str, Any]) -> str:
    number = max(1, row["workers"])
    return f"{number} process{'es' if number > 1 else ''} of {_size(row['worker_memory_bytes'])}"


def _row(
    paths: layout.Paths, app: str, check: probe.Health, states: Mapping[Process, State], certificates: Path
) -> dict[str, Any]:
    number = layout.current_release(paths, app)
    server = states.get(Process(app, number), ABSENT)
    good = [other for other in layout.release_numbers(paths, app) if layout.has_proved(paths, app, other)]
    return {
        "app": app,
        "release": number,
        "source": layout.description(paths, app, number).get("source", "") if number else "",
        "since": server.since,
        "state": server.word,
        "health": probe.ask(paths.current_socket(app), check).fault if server.runs else "does not run",
        "maintenance": (paths.maintenance / app).exists(),
        "workers": len(children(server.pid)),
        "worker_memory_bytes": max(map(proportional, children(server.pid) or [server.pid]), default=0) or None,
        "memory_max_bytes": server.memory_max,
        "shortage": "",
        "beside": {process.name: state.word for process, state in states.items() if process.name},
        "memory_bytes": server.memory,
        "restarts": server.restarts,
        "previous": [other for other in good if other != number],
        "failed": [
            other
            for other in layout.release_numbers(paths, app)
            if (paths.release(app, other) / layout.FAILED).exists()
        ],
        "disk_bytes": disk_used(paths.root / app),
        "certificate_days": certificate_days(certificates / app / "fullchain.pem"),
        "history": history(paths, app),
    }


def _faults(processes: Sequence[Process], manager: Manager, log: ServerLog) -> list[dict[str, Any]]:
    """What ended processes of the release in service, and what its sandbox refused."""
    return [
        {"process": process.name, **asdict(fault)}
        for process in processes
        if process.kind != TIMER
        for fault in faults(manager.log(process, JOURNAL_LINES).text, log)
    ]


def disk_used(folder: Path) -> int:
    """Bytes that a directory occupies; a file that has several names in it counts once."""
    seen: dict[tuple[int, int], int] = {}
    for place, _folders, files in os.walk(folder):
        for name in files:
            entry = os.lstat(os.path.join(place, name))
            seen[entry.st_dev, entry.st_ino] = entry.st_blocks * 512
    return sum(seen.values())


def certificate_days(path: Path) -> int | None:
    """Whole days for which a certificate is still valid; None where there is no certificate to read."""
    try:
        from cryptography import x509

        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (ImportError, OSError, ValueError):
        return None
    ends = getattr(certificate, "not_valid_after_utc", None)
    if ends is None:  # cryptography before 42
        ends = certificate.not_valid_after.replace(tzinfo=datetime.UTC)
    return int((ends.timestamp() - time.time()) // 86400)


def history(paths: layout.Paths, app: str, lines: int = HISTORY_LINES) -> list[dict[str, Any]]:
    """The last changes of what serves the app, oldest first."""
    try:
        text = (paths.root / app / HISTORY).read_text()
    except OSError:
        return []
    found = []
    for line in text.splitlines()[-lines:]:
        try:
            found.append(json.loads(line))
        except ValueError:  # the last line of a run that was killed while it wrote
            continue
    return found


def _certificate(days: int | None, problem: str) -> str:
    return ": ".join(filter(None, ("-" if days is None else str(days), problem)))


def _size(size: int | None) -> str:
    return "-" if size is None else f"{size / 1_000_000:.0f} MB"


def history_table(rows: Iterable[Mapping[str, Any]]) -> str:
    """The history of every row as one table."""
    lines = [{"host": row["host"], "app": row["app"], **line} for row in rows for line in row["history"]]
    return table(lines, HISTORY_COLUMNS)


def overview(rows: Iterable[Mapping[str, Any]]) -> str:
    """The rows as a table, and under it every fault and want of memory with what to do about it."""
    shown = list(rows)
    faults = [_note(row, fault) for row in shown for fault in row["faults"]]
    short = [f"{row['host']}, {row['app']}: {row['shortage']}" for row in shown if row.get("shortage")]
    columns = COLUMNS
    if any("rotation" in row for row in shown):
        columns = {**columns, "BALANCERS": lambda row: row.get("rotation") or "-"}
    return "\n".join([table(shown, columns), *faults, *short])


def _note(row: Mapping[str, Any], fault: Mapping[str, Any]) -> str:
    where = f"{row['host']}, {row['app']}{' ' if fault['process'] else ''}{fault['process']}, release {row['release']}"
    seen = str(Fault(fault["text"], count=fault["count"])).rstrip(".")
    return f"{where}: {seen}{'. Fix: ' if fault['fix'] else ''}{fault['fix']}"


def table(
    rows: Iterable[Mapping[str, Any]], columns: Mapping[str, Callable[[Mapping[str, Any]], str]] = COLUMNS
) -> str:
    """The rows as a table for a terminal."""
    lines = [list(columns), *([cell(row) for cell in columns.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
