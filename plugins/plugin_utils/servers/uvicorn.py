# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""uvicorn, as the rest of the collection must know it."""

from __future__ import annotations

from ansible_collections.webops.wsgi.plugins.module_utils.failures.server_log import ServerLog
from ansible_collections.webops.wsgi.plugins.plugin_utils.servers.model import Server, check_pinned, check_workers

SERVER = Server(
    name="uvicorn",
    # With uvloop, httptools and websockets.
    requirement=lambda settings: f"uvicorn[standard]=={settings['version']}",
    oldest_python=10,
    interfaces=("asgi",),
    files={"serve.py": "serve.py.j2", "start": "start.j2"},
    # What is not done within the graceful timeout it cancels, and then the app hears of the end.
    stop_timeout=lambda settings: settings["graceful_timeout"] + 10,
    backlog="backlog",
    checks=(check_workers("uvicorn"), check_pinned("uvicorn", "0.54.0")),
    log=ServerLog(
        package="uvicorn",
        line=r"\[uvicorn(?:\.\w+)?\] \[(?P<level>[A-Z]+)\] (?P<text>.*)",
        routine=r"Exception in ASGI application|Application startup failed|Worker \(",
        worker_ended=r"Worker \((?P<pid>\d+)\) was sent (?P<signal>SIG[A-Z0-9]+)",
    ),
)
