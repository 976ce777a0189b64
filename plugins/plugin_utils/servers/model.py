# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the rest of the collection must know of a server; nothing else knows one by its name.

A server is a role, with its variables, the templates of its settings and of its start command, whose
``meta/settings.yml`` says ``server: true``, and a module of that name in this package, with a ``SERVER``.
"""

from __future__ import annotations

import importlib
import os
import re
import typing as t
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.webops.wsgi.plugins.module_utils.failures.server_log import ServerLog
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import App, Problem, collection_root, show

_COUNT = re.compile(r"-?[0-9]+")
_VERSION = re.compile(r"[0-9]+(\.[0-9]+)*((a|b|rc|\.post|\.dev)[0-9]+)?")

# The protocols that nginx can speak to a server.
HTTP, UWSGI = "http", "uwsgi"

SHARED = ("behind_proxy.py", "entrypoint.py", "worker_count.py")  # of every release, whatever its server

Settings = Mapping[str, t.Any]
Check = Callable[[App], Iterator[Problem]]


@dataclass(frozen=True)
class Server:
    """One server.

    Attributes:
        name: Of its role, of the app's key for its settings, and of its module in this package.
        requirement: What is installed for it with an app that does not bring it, from its settings.
        packages: The packages of which an app may bring any one, where they are more than that of the requirement.
        oldest_python: The oldest minor version of Python 3 that it runs on.
        files: The files of a release that are its own, each with its template. One is ``start``, which is executed,
            listens on ``$WSGI_SOCKET`` with HTTP/1.1 so that the proxy may connect, has its files in
            ``$WSGI_RELEASE_DIR/etc``, and ends by SIGTERM once the requests in flight are answered.
        protocol: What nginx speaks to it, from its settings: ``HTTP``, or ``UWSGI`` at the socket ``uwsgi`` that is
            beside ``$WSGI_SOCKET`` then and has the mode of a program, by which nginx sees it.
        stop_timeout: Seconds after which a stop is no longer waited for, from its settings.
        backlog: The setting with the number of connections that wait.
        interfaces: What an app may be written for, C(wsgi) or C(asgi), that it runs.
        tells_peers: Whether it tells a request of the proxy's from one that a process of the app's user sends, as the
            address of C(listen) does.
        answer_timeout: The setting with the seconds that an answer may take; empty when nothing limits them.
        request_line: The setting with the bytes of a request line that it takes, 0 for any number; empty when all that
            nginx passes is taken.
        request_header: The same for one header.
        system_calls: What it needs beside the calls that an app may make.
        overriding: Variables of the environment that would win over its settings, and what to write instead.
        checks: Checks of its settings.
        log: How it writes to the journal.
    """

    name: str
    requirement: Callable[[Settings], str]
    oldest_python: int
    files: Mapping[str, str]
    stop_timeout: Callable[[Settings], int]
    backlog: str
    packages: tuple[str, ...] = ()
    protocol: Callable[[Settings], str] = lambda _settings: HTTP
    interfaces: tuple[str, ...] = ("wsgi",)
    tells_peers: bool = True
    answer_timeout: str = ""
    request_line: str = ""
    request_header: str = ""
    system_calls: tuple[str, ...] = ()
    overriding: Mapping[str, str] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()
    log: ServerLog = field(default_factory=ServerLog)

    def facts(self, app: Mapping[str, t.Any]) -> dict[str, t.Any]:
        """What templates and tasks need to know of an app's server."""
        settings = app[self.name]
        return {
            "name": self.name,
            "requirement": self.requirement(settings),
            "packages": list(self.packages),
            "protocol": self.protocol(settings),
            "stop_timeout": self.stop_timeout(settings),
            "backlog": settings[self.backlog],
            "system_calls": list(self.system_calls),
        }


def server(name: str) -> Server:
    """The server of that name."""
    module = importlib.import_module(f"{__package__}.{name}")
    found: Server = module.SERVER
    return found


def check_pinned(name: str, example: str) -> Check:
    """A check that a server's C(version) is exactly one."""

    def check(app: App) -> Iterator[Problem]:
        value = app.data[name].get("version")
        if isinstance(value, str) and app.usable(f"{name}.version") and not _VERSION.fullmatch(value):
            text = f"{app.setting(name, 'version')} is {show(value)}, which does not pin {name}"
            yield app.problem(text, f'write one exact version, such as "{example}"')

    return check


def check_workers(name: str) -> Check:
    """A check that a server's C(workers) are a number, or C(auto)."""

    def check(app: App) -> Iterator[Problem]:
        value = app.data[name].get("workers")
        if isinstance(value, str) and app.usable(f"{name}.workers") and value != "auto" and not _COUNT.fullmatch(value):
            wrong, fix = app.roles[name].words[f"{name}_workers"]
            yield app.problem(f"{app.setting(name, 'workers')} is {show(value)}, {wrong}", fix)

    return check


def tree_files(apps: list[dict[str, t.Any]]) -> list[dict[str, t.Any]]:
    """The files of the apps' servers as ``webops.wsgi.config_tree`` takes them."""
    role = Path(collection_root(), "roles", "server")
    entries = [_entry(name, {"content": _text(role / "files" / name)}, apps) for name in SHARED]
    contained = [app for app in apps if app["runtime"] == "container"]
    if contained:
        entries.append(_entry("container", {"template": str(role / "templates" / "container.j2")}, contained))
        entries.append(_entry("enter", {"content": _text(role / "files" / "enter_release")}, contained))
    for name in sorted({app["server"]["name"] for app in apps}):
        served = [app for app in apps if app["server"]["name"] == name]
        templates = os.path.join(collection_root(), "roles", name, "templates")
        for dest, template in server(name).files.items():
            entries.append(_entry(dest, {"template": os.path.join(templates, template)}, served))
    return entries


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def _entry(dest: str, text: dict[str, str], apps: list[dict[str, t.Any]]) -> dict[str, t.Any]:
    mode = {"mode": "0755"} if dest == "start" else {}
    return {"dest": f"{{name}}/{dest}", **text, **mode, "each": apps, "as": "app", "owner": 'app "{name}"'}
