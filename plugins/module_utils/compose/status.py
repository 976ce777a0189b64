# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person wants to know of the apps of a Compose project, read without changing anything."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.compose.engine import Container, Engine
from ansible_collections.webops.wsgi.plugins.module_utils.compose.layout import FAILED, Paths
from ansible_collections.webops.wsgi.plugins.module_utils.compose.model import RUNNING
from ansible_collections.webops.wsgi.plugins.module_utils.host.processes import children, proportional
from ansible_collections.webops.wsgi.plugins.module_utils.release import layout
from ansible_collections.webops.wsgi.plugins.module_utils.release.status import certificate_days, disk_used, history

ABSENT = Container("", "", "absent")


def read(paths: Paths, engine: Engine, urls: Mapping[str, str]) -> list[dict[str, Any]]:
    """One row for each app, as C(release.status) has them.

    Args:
        paths: Where things lie.
        engine: The engine that runs the project.
        urls: Where clients find each app.
    """
    containers = {one.service: one for one in engine.containers()}
    return [_row(paths, engine, app, url, containers) for app, url in urls.items()]


def _row(paths: Paths, engine: Engine, app: str, url: str, containers: Mapping[str, Container]) -> dict[str, Any]:
    number = paths.serving(app)
    about = paths.about(app, number)
    server, *beside = about.get("services") or [""]
    one = containers.get(server, ABSENT)
    runs = one.state == RUNNING
    workers = children(one.pid) if runs else []
    return {
        "app": app,
        "release": number,
        "source": about.get("source", ""),
        # As systemd says it, a day of the week first.
        "since": f"- {one.since[:19].replace('T', ' ')}" if one.since else "",
        "state": one.state,
        "health": engine.ask(server) if runs else "does not run",
        "maintenance": (paths.root / "maintenance" / app).exists(),
        "workers": len(workers),
        "worker_memory_bytes": None,
        "memory_max_bytes": None,
        "shortage": "",
        "beside": {name.removeprefix(f"{server}-"): containers.get(name, ABSENT).state for name in beside},
        "memory_bytes": sum(map(proportional, [one.pid, *workers])) if runs else None,
        "restarts": one.restarts,
        "faults": [],
        "previous": [other for other in paths.good(app) if other != number],
        "failed": [other for other in paths.numbers(app) if paths.is_marked(app, other, FAILED)],
        "disk_bytes": disk_used(paths.app(app)),
        "certificate_days": certificate_days(_certificate(paths, engine, app)),
        "history": history(layout.Paths(root=paths.root / "apps"), app),
        "url": url,
    }


def _certificate(paths: Paths, engine: Engine, app: str) -> Path:
    """The certificate that clients see: an authority's, or until there is one our own."""
    issued = engine.volume("certificates") / "live" / app / "fullchain.pem"
    return issued if issued.exists() else paths.root / "secrets" / "tls" / app / "fullchain.pem"
