# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The look at a host for explain: nginx, certificate, release, socket, the answer to the same request, logs.

Nothing is changed. The request is sent twice more, through nginx and straight to the app, which is what tells one from
the other.
"""

from __future__ import annotations

import collections
import http.client
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.certificates import store
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.files import TreeError
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.reload import probe as ask_generation
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.spec import Spec
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.state import as_written
from ansible_collections.webops.wsgi.plugins.module_utils.explain import logs
from ansible_collections.webops.wsgi.plugins.module_utils.explain.certificate import certificate, shown
from ansible_collections.webops.wsgi.plugins.module_utils.explain.model import (
    Certificate,
    Disk,
    Instance,
    Nginx,
    Reply,
    Seen,
    Traffic,
)
from ansible_collections.webops.wsgi.plugins.module_utils.explain.request import ask
from ansible_collections.webops.wsgi.plugins.module_utils.failures.faults import faults
from ansible_collections.webops.wsgi.plugins.module_utils.failures.report import Failure, cause
from ansible_collections.webops.wsgi.plugins.module_utils.failures.server_log import ServerLog
from ansible_collections.webops.wsgi.plugins.module_utils.host.state import listeners
from ansible_collections.webops.wsgi.plugins.module_utils.managers.model import NGINX, Log, Manager, Process
from ansible_collections.webops.wsgi.plugins.module_utils.release import health as probe
from ansible_collections.webops.wsgi.plugins.module_utils.release import layout

HOUR = 3600.0  # seconds of the access log that are counted
TAIL = 4 << 20  # bytes of a log that are read at most
ERROR_LINES = 5  # of the error log, the last ones about the request
LINES = 1000  # of the log of the app's server
FLUSH = 1.5  # seconds until nginx has written what it has logged, see access_log's flush
FULL_BYTES, FULL_FILES = 20 << 20, 100  # what is less is as good as full
WRITTEN = ("/", "/srv", "/var/lib", "/var/log", "/var/log/nginx", "/var/cache", "/run", "/tmp")


@dataclass(frozen=True)
class Question:
    """What is asked of a host.

    Attributes:
        app: The app.
        domain: Name in the request.
        path: Path of the request, with its query, as a client writes it.
        scheme: C(https) or C(http).
        port: nginx's port for it.
        inside: How the app is asked over its socket: the health check with the request's path.
        health: The app's health check.
        log: How its server writes to the journal.
        access_log: Its access log; empty when there is none.
        logs_all: Whether that has each request.
        identity: The X-Request-ID of the request from outside.
        tls: Whether it is served over TLS.
        tree: nginx's configuration tree.
        limit: Seconds that an answer may take.
    """

    app: str
    domain: str
    path: str
    scheme: str
    port: int
    inside: probe.Health
    health: probe.Health
    log: ServerLog
    access_log: str
    logs_all: bool
    identity: str
    tls: bool
    tree: Spec
    limit: float
    ports: tuple[int, ...] = (80, 443)
    paths: layout.Paths = field(default_factory=layout.Paths)

    @property
    def plain_path(self) -> str:
        """The path without the query, as logs have it."""
        return self.path.partition("?")[0]


def look(question: Question, manager: Manager) -> Seen:
    """Look at everything between nginx's port and the app's own code."""
    started = time.time()
    before = _log(question, manager)
    with ThreadPoolExecutor(4) as pool:
        proxied = pool.submit(_through_nginx, question)
        direct = pool.submit(_of_app, question)
        instance = pool.submit(_instance, question, manager)
        nginx = pool.submit(_nginx, question, manager)
        answer = direct.result()
    # The logs of nginx and of what ended a worker follow.
    time.sleep(FLUSH)
    host = store.Host(run=_run_nothing, port=question.port)
    return Seen(
        when=started,
        addresses=tuple(_addresses()),
        disks=tuple(_full_disks([*WRITTEN, f"/srv/{question.app}", f"/var/lib/{question.app}"])),
        memory_free=_memory_free(),
        nginx=nginx.result(),
        closed=(question.paths.maintenance / question.app).exists(),
        on_disk=_on_disk(host, question) if question.tls else Certificate(),
        on_wire=_on_wire(question) if question.tls else Certificate(),
        instance=instance.result(),
        proxied=proxied.result(),
        direct=answer,
        words=_words(question, before, _log(question, manager)) if answer.status >= 500 or answer.error else (),
        traffic=_traffic(question),
    )


# ---------------------------------------------------------------- answers


def _through_nginx(question: Question) -> Reply:
    connection: http.client.HTTPConnection = (
        probe.ProxyConnection(question.port, question.domain, question.limit)
        if question.scheme == "https"
        else http.client.HTTPConnection(probe.LOOPBACK, question.port, timeout=question.limit)
    )
    return ask(connection, question.path, {"Host": question.domain})


def _of_app(question: Question) -> Reply:
    """Ask the app as nginx does, past nginx."""
    if not question.paths.current_socket(question.app).exists():
        return Reply(error="its socket does not exist")
    started = time.monotonic()
    answer = probe.ask(question.paths.current_socket(question.app), question.inside)
    took = time.monotonic() - started
    return Reply(answer.status, took, "" if answer.status else answer.fault)


# ---------------------------------------------------------------- the host


def _addresses() -> Iterator[str]:
    try:
        done = subprocess.run(["ip", "-json", "address"], capture_output=True, check=True, timeout=10)
        for interface in json.loads(done.stdout):
            yield from (address["local"] for address in interface.get("addr_info", []) if "local" in address)
    except (OSError, ValueError, subprocess.SubprocessError):
        return


def _full_disks(paths: Iterable[str]) -> Iterator[Disk]:
    seen = set()
    for path in paths:
        try:
            device, space = os.stat(path).st_dev, os.statvfs(path)
        except OSError:
            continue
        if device in seen:
            continue
        seen.add(device)
        free_bytes, free_files = space.f_bavail * space.f_frsize, space.f_favail if space.f_files else FULL_FILES
        if free_bytes < FULL_BYTES or free_files < FULL_FILES:
            yield Disk(path, free_bytes, free_files)


def _memory_free(meminfo: Path = Path("/proc/meminfo")) -> int:
    for line in meminfo.read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


# ---------------------------------------------------------------- nginx and its certificate


def _nginx(question: Question, manager: Manager) -> Nginx:
    try:
        live, changed = as_written(question.tree)
        edited = changed and bool(live)  # where there is no tree, nobody has changed it
    except (TreeError, OSError, ValueError, KeyError) as error:
        live, edited = str(error), True
    return Nginx(
        active=manager.states([NGINX])[NGINX].word,
        test=_tested(),
        served=ask_generation(question.tree.running, question.tree.running_host)[0],
        live=live,
        edited=edited,
        site=any(
            path.exists()
            for path in [
                question.paths.sites / f"{question.app}.conf",
                *question.paths.mounts.glob(f"*/{question.app}.conf"),
            ]
        ),
        ports=listeners(question.ports),
    )


def _tested() -> str:
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin:/bin")
    if not nginx:
        return "nginx is not installed"
    try:
        done = subprocess.run([nginx, "-t", "-q"], capture_output=True, check=False, timeout=30)
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return next((line for line in lines if "[emerg]" in line), lines[0] if lines else "") if done.returncode else ""


def _on_disk(host: store.Host, question: Question) -> Certificate:
    found = store.in_use(host, question.app)
    if not found.certificate:
        return Certificate(error="there is none that nginx can use")
    return certificate(found.certificate)


def _on_wire(question: Question) -> Certificate:
    return shown(probe.LOOPBACK, question.port, question.domain)


# ---------------------------------------------------------------- the release


def _instance(question: Question, manager: Manager) -> Instance:
    paths, app = question.paths, question.app
    number = layout.current_release(paths, app)
    later = [other for other in layout.release_numbers(paths, app) if int(other) > int(number or 0)]
    failed = next((other for other in reversed(later) if (paths.release(app, other) / layout.FAILED).exists()), "")
    failure = layout.read_text(paths.release(app, failed) / layout.FAILED) if failed else None
    told = Instance(failed_after=failed, failure=(failure or "").strip())
    if not number:
        return _never_served(question, manager, told) if failed else told
    server = Process(app, number)
    state, log = manager.states([server])[server], manager.log(server, LINES)
    return replace(
        told,
        release=number,
        source=layout.description(paths, app, number).get("source", ""),
        state=state.word,
        runs=state.runs,
        stopped=state.gone and not state.broken,
        unit=state.name,
        read=log.command,
        socket=paths.current_socket(app).exists(),
        listens=probe.listens(paths.current_socket(app)),
        health=probe.ask(paths.current_socket(app), question.health).fault,
        faults=tuple(asdict(fault) for fault in faults(log.text, question.log)),
    )


def _never_served(question: Question, manager: Manager, told: Instance) -> Instance:
    """An app none of whose releases has gone live, with what the last one wrote before it was given up."""
    log = manager.log(Process(question.app, told.failed_after), LINES)
    words = cause(Failure(question.app, "", "", log, log=question.log)) if log.text.strip() else []
    return replace(told, read=log.command, failure="\n".join([*words, told.failure]))


def _log(question: Question, manager: Manager) -> Log | None:
    number = layout.current_release(question.paths, question.app)
    return manager.log(Process(question.app, number), LINES) if number else None


def _words(question: Question, before: Log | None, after: Log | None) -> tuple[str, ...]:
    """What the app wrote while it was asked, the cause first; empty when that is nothing."""
    if not before or not after:
        return ()
    text = "\n".join(written_since(before.text.splitlines(), after.text.splitlines()))
    failure = Failure(question.app, "", "", replace(after, text=text), log=question.log)
    return tuple(cause(failure)) if text.strip() else ()


def written_since(before: list[str], after: list[str]) -> list[str]:
    """The lines at the end of a log that were not in it before; it may have lost some at its beginning."""
    for lost in range(len(before) + 1):
        kept = len(before) - lost
        if before[lost:] == after[:kept]:
            return after[kept:]
    return after


# ---------------------------------------------------------------- logs


def _traffic(question: Question) -> Traffic:
    requests = [entry for entry in logs.entries(_tail(question.access_log)) if entry.when > time.time() - HOUR]
    own = [entry for entry in requests if entry.path == question.plain_path]
    mine = [entry for entry in requests if question.identity and entry.identity == question.identity]
    others = [entry for entry in own if entry.agent != probe.USER_AGENT]
    return Traffic(
        arrived=bool(mine),
        by_app=any(entry.by_app for entry in mine),
        logged=bool(question.access_log) and question.logs_all,
        statuses={str(status): count for status, count in collections.Counter(e.status for e in others).items()},
        samples={str(entry.status): asdict(entry) for entry in others if entry.status >= 400},
        errors=tuple(_errors(question)),
    )


def _errors(question: Question) -> list[str]:
    mine = [
        line.text
        for line in logs.errors(_tail("/var/log/nginx/error.log"))
        if line.path == question.plain_path or (not line.path and question.app in line.text)
    ]
    return mine[-ERROR_LINES:]


def _tail(path: str) -> list[str]:
    """The last lines of a log."""
    try:
        with open(path, "rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - TAIL))
            return stream.read().decode(errors="replace").splitlines()
    except (OSError, ValueError):
        return []


def _run_nothing(_command: Any, _environment: Any) -> store.Completed:
    return store.Completed(1, "explain runs no programs of certificates")
