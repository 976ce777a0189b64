# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waitress, as the rest of the collection must know it."""

from __future__ import annotations

from ansible_collections.webops.wsgi.plugins.module_utils.failures.server_log import ServerLog
from ansible_collections.webops.wsgi.plugins.plugin_utils.servers.model import Server, check_pinned

SERVER = Server(
    name="waitress",
    requirement=lambda settings: f"waitress=={settings['version']}",
    oldest_python=9,
    files={"serve.py": "serve.py.j2", "start": "start.j2"},
    # Its threads end with it.
    stop_timeout=lambda settings: settings["graceful_timeout"] + 10,
    backlog="backlog",
    request_header="max_request_header_size",
    checks=(check_pinned("waitress", "3.0.2"),),
    log=ServerLog(
        package="waitress",
        line=r"\[waitress(?:\.\w+)?\] \[(?P<level>[A-Z]+)\] (?P<text>.*)",
        routine=r"Exception while serving ",
    ),
)
