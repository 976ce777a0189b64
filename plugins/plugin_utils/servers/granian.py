# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Granian, as the rest of the collection must know it."""

from __future__ import annotations

import typing as t

from ansible_collections.webops.wsgi.plugins.module_utils.failures.server_log import ServerLog
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import App, Problem
from ansible_collections.webops.wsgi.plugins.plugin_utils.servers.model import Server, check_pinned, check_workers

_SHORTEST_LIFE = 60  # seconds that Granian takes for the lifetime of workers


def check_lifetime(app: App) -> t.Iterator[Problem]:
    """Workers live as long as Granian wants, or for ever."""
    life = app.data["granian"].get("workers_lifetime")
    if app.usable("granian.workers_lifetime") and isinstance(life, int) and 0 < life < _SHORTEST_LIFE:
        text = f"{app.setting('granian', 'workers_lifetime')} is {life}, and Granian takes {_SHORTEST_LIFE} s at least"
        yield app.problem(text, f"write {_SHORTEST_LIFE} or more, or 0 for no limit")


SERVER = Server(
    name="granian",
    requirement=lambda settings: f"granian[uvloop]=={settings['version']}",
    oldest_python=10,
    interfaces=("wsgi", "asgi"),
    tells_peers=False,
    files={"serve.py": "serve.py.j2", "start": "start.j2"},
    # Workers that are not done within the graceful timeout are killed.
    stop_timeout=lambda settings: settings["graceful_timeout"] + 10,
    backlog="backlog",
    checks=(check_workers("granian"), check_pinned("granian", "2.8.9"), check_lifetime),
    log=ServerLog(
        package="granian",
        line=r"\[granian\] \[(?P<level>[A-Z]+)\] (?P<text>.*)",
        routine=r"Unexpected exit from worker-|Worker crash loop|Application callable raised|ASGI lifespan startup",
    ),
)
