# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Supervisor is told of an app: its program files, and what ``launch`` needs to know to become a process."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.managers.model import HOOK, SUPERVISOR
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory import env_places
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import collection_root
from ansible_collections.webops.wsgi.plugins.plugin_utils.managers.processes import Process

HOOK_STOPS = 5  # seconds; its time is up before it is told to end
RETRIES = 1000  # of a program that ends at once again and again; each pause is a second longer than the one before
PROXY = "www-data"

INTERPRETER = "#!/usr/bin/python3 -I\n"  # isolated: root runs it in a directory of the app's release


def options(app: Mapping[str, Any], beside: Iterable[Process]) -> dict[str, Any]:
    """The options of M(webops.wsgi.app_release) that Supervisor needs."""
    name, own = app["name"], list(beside)
    return {
        "manager": SUPERVISOR,
        "settings": program(name, "", "server", app["server"]["stop_timeout"]),
        "units": [
            {
                "name": f"{name}.{process.unit}@.conf",
                "kind": process.kind,
                "text": program(name, process.unit, process.title, _stop(process), process.kind == HOOK),
            }
            for process in own
        ],
        "launch": json.dumps(_launch(app, own), indent=2, sort_keys=True) + "\n",
        "launcher": INTERPRETER
        + Path(collection_root(), "roles", "release", "files", "launch.py").read_text(encoding="utf-8"),
    }


def _stop(process: Process) -> int:
    return HOOK_STOPS if process.kind == HOOK else process.stop_timeout


def program(app: str, name: str, title: str, stop: int, once: bool = False) -> str:
    """A program's file; C(%i) stands for the release. Of what a person writes it has plain names alone."""
    own = f"{app}.{name}" if name else app
    settings: dict[str, str | int] = {
        "command": f"/srv/{app}/releases/%i/launch{f' {name}' if name else ''}",
        "directory": "/",
        "autostart": "false" if once else "true",
        "autorestart": "false" if once else "true",
        "startsecs": 0 if once else 1,
        "startretries": 0 if once else RETRIES,
        # The first process passes on what is to be passed on; what is left of them after that is killed with it.
        "stopsignal": "TERM",
        "stopwaitsecs": stop,
        "stopasgroup": "false",
        "killasgroup": "true",
        "redirect_stderr": "true",
        "stdout_logfile": f"/var/log/wsgi/{app}/{own}@%i.log",
        "stdout_logfile_maxbytes": "10MB",
        "stdout_logfile_backups": 2,
    }
    lines = [f"{key}={value}" for key, value in settings.items()]
    return "\n".join([f"; {app} {title}, written by webops.wsgi", f"[program:{own}@%i]", *lines]) + "\n"


def _launch(app: Mapping[str, Any], beside: Iterable[Process]) -> dict[str, Any]:
    settings, folder = app["release"], app["source"].get("subdirectory")
    return {
        "app": app["name"],
        "directory": f"app/src/{folder}" if folder else "app/src",
        "located": {name: str(value) for name, value in env_places.located(app).items()},
        "limit_nofile": settings["limit_nofile"],
        "nice": settings["nice"],
        "proxy": PROXY,
        "processes": {
            "": {
                "command": "start",
                "listens": True,
                "replica": 0,
                "stop_timeout": app["server"]["stop_timeout"],
                "timeout": 0,
            },
            **{
                process.unit: {
                    "command": f"commands/{process.name}",
                    "listens": False,
                    "replica": process.replica,
                    "stop_timeout": _stop(process),
                    "timeout": process.timeout,
                }
                for process in beside
            },
        },
    }
