# SPDX-License-Identifier: GPL-3.0-or-later
"""What status shows of an app, read from a tree as a run leaves it."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.managers.host import Managers
from ansible_collections.webops.wsgi.plugins.module_utils.managers.systemd import Systemd, UnitState
from ansible_collections.webops.wsgi.plugins.module_utils.managers.units import SystemdManager
from ansible_collections.webops.wsgi.plugins.module_utils.release import health, layout, status
from ansible_collections.webops.wsgi.plugins.module_utils.release.run import HISTORY
from ansible_collections.webops.wsgi.plugins.plugin_utils.servers.model import server
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def certificate(path: Path, days: float) -> None:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "api.example.test")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(days=days))
    path.parent.mkdir(parents=True)
    path.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))


@pytest.fixture
def paths(tmp_path: Path) -> layout.Paths:
    found = layout.Paths(tmp_path / "srv", tmp_path / "run", maintenance=tmp_path / "closed")
    for number, marks in {"1": ["proved"], "2": ["failed"], "3": ["proved"]}.items():
        folder = found.release("api", number)
        folder.mkdir(parents=True)
        (folder / "release.json").write_text('{"source": "reports==1"}')
        for mark in marks:
            (folder / mark).write_text("x" * 10000)
    found.current("api").symlink_to("releases/3")
    return found


LOG = server("gunicorn").log


class StandIn(Systemd):
    """systemd as far as a status asks it: what it says of units, and what they wrote."""

    def __init__(self, states: dict[str, UnitState], told: dict[str, str]) -> None:
        self._states = states
        self._told = told

    def states(self, units: Iterable[str]) -> dict[str, UnitState]:
        return {unit: self._states.get(unit, UnitState("inactive", "dead", 0, False)) for unit in units}

    def journal(self, unit: str, _lines: int) -> str:
        return self._told.get(unit, "")


def read(
    paths: layout.Paths,
    *apps: str,
    tls: Path = Path("/nowhere"),
    states: dict[str, UnitState] | None = None,
    told: dict[str, str] | None = None,
) -> list[dict[str, Any]]:
    manager = Managers(paths, {"systemd": SystemdManager(paths, StandIn(states or {}, told or {}))})
    return status.read(paths, {app: health.Health() for app in apps}, manager, tls, {"api": LOG})


def test_row_of_an_app_that_does_not_run(paths: layout.Paths, tmp_path: Path) -> None:
    certificate(tmp_path / "tls" / "api" / "fullchain.pem", 60.5)
    (row,) = read(paths, "api", tls=tmp_path / "tls")
    assert (row["release"], row["previous"], row["failed"]) == ("3", ["1"], ["2"])
    assert (row["source"], row["health"], row["certificate_days"]) == ("reports==1", "does not run", 60)
    assert row["disk_bytes"] >= 30000


def test_app_that_is_not_there_yet(paths: layout.Paths, tmp_path: Path) -> None:
    (row,) = read(paths, "new")
    assert (row["release"], row["state"], row["certificate_days"], row["previous"]) == ("", "absent", None, [])


def test_numbers_of_the_unit_are_shown(paths: layout.Paths, tmp_path: Path) -> None:
    since = "Sun 2026-11-22 14:23:47 UTC"
    unit = UnitState("active", "running", 2, False, since=since, pid=os.getpid(), memory=81000000)
    (row,) = read(paths, "api", states={"api@3.service": unit})
    lines = status.table([{"host": "web1", **row}]).splitlines()
    assert lines[0].split()[:3] == ["HOST", "APP", "RELEASE"]
    for words in ("web1", "api", "reports==1", "2026-11-22 14:23:47", "active", "got no answer", "81 MB"):
        assert words in lines[1], f"{words} is missing"


def test_certificate_problem_stands_beside_its_days(paths: layout.Paths, tmp_path: Path) -> None:
    certificate(tmp_path / "tls" / "api" / "fullchain.pem", 60.5)
    (row,) = read(paths, "api", tls=tmp_path / "tls")
    shown = status.table([{"host": "web1", **row, "certificate_problem": "api.example.test shows another one"}])
    assert "60: api.example.test shows another one" in shown.splitlines()[1]


def test_an_app_that_is_closed(paths: layout.Paths, tmp_path: Path) -> None:
    paths.maintenance.mkdir()
    (paths.maintenance / "api").touch()
    rows = read(paths, "api", "other")
    assert [row["maintenance"] for row in rows] == [True, False]
    head, first, second = status.table(
        [{"host": "web1", "url": "https://example.com/", **row} for row in rows]
    ).splitlines()
    place = head.index("MAINTENANCE")
    assert (first[place:].split()[0], second[place:].split()[0]) == ("on", "-")
    assert first.endswith("https://example.com/")


def test_faults_of_the_release_in_service_stand_under_the_table_with_their_fix(
    paths: layout.Paths, tmp_path: Path
) -> None:
    units = paths.release("api", "3") / "units" / "worker"
    units.mkdir(parents=True)
    (units / "api.celery@.service").write_text("")
    told = {
        "api@3.service": "[2026-11-28 02:13:29 +0000] [7] [WARNING] Worker (pid:9) was sent SIGSYS!\n" * 2,
        "api.celery@3.service": "api.celery@3.service: Main process exited, code=killed, status=9/KILL",
    }
    (row,) = read(paths, "api", told=told)
    head, line, server, worker = status.overview([{"host": "web1", **row}]).splitlines()
    assert line[head.index("FAULTS") :].split()[0] == "3"
    assert server.startswith("web1, api, release 3: a worker was ended by SIGSYS (2 times). Fix: ")
    assert "release_system_call_filter" in server
    assert worker.startswith("web1, api celery, release 3: the process was ended by SIGKILL. Fix: ")


def test_an_app_without_faults_has_nothing_under_the_table(paths: layout.Paths, tmp_path: Path) -> None:
    rows = read(paths, "api", tls=tmp_path / "tls")
    assert len(status.overview([{"host": "web1", **rows[0]}]).splitlines()) == 2


def test_file_with_two_names_counts_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x" * 100_000)
    once = status.disk_used(tmp_path)
    os.link(tmp_path / "a", tmp_path / "b")
    assert status.disk_used(tmp_path) == once


def test_line_of_a_killed_run_is_passed_over(paths: layout.Paths) -> None:
    (paths.root / "api" / HISTORY).write_text('{"to": "1"}\n{"to": "2"}\n{"to": ')
    assert [line["to"] for line in status.history(paths, "api")] == ["1", "2"]


def row(app: str, workers: int, worker: int | None, most: int | None = None) -> dict[str, Any]:
    """What is known of an app's memory, in MB."""
    sizes = (value and value * 1_000_000 for value in (worker, most))
    return {
        "app": app,
        "workers": workers,
        **dict(zip(("worker_memory_bytes", "memory_max_bytes"), sizes, strict=True)),
    }


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([row("api", 4, 100), row("shop", 2, 200)], {}),
        ([row("api", 4, 100, 400)], {}),
        ([row("api", 4, None, 400)], {}),
        ([], {}),
        ([row("api", 4, 101, 400)], {"api": ["4 processes of 101 MB", "need 404 MB", "400 MB of release_memory_max"]}),
        ([row("api", 0, 500, 400)], {"api": ["1 process of 500 MB", "need 500 MB"]}),
        (
            [row("api", 2, 100), row("shop", 4, 300)],
            {"shop": ["all apps would need 1400 MB", "1000 MB of this host", "4 processes of 300 MB"]},
        ),
    ],
)
def test_workers_that_would_not_fit(rows: list[dict[str, Any]], words: dict[str, list[str]]) -> None:
    found = status.shortages(rows, 1_000_000_000)
    assert set(found) == set(words)
    for app, texts in words.items():
        for text in texts:
            assert text in found[app]
