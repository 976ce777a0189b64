# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that reads a configuration tree: which generation it serves, and what it logs when it does not."""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
import time
import urllib.parse

from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.commands import has_program, run, tidy
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.files import TreeError
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.spec import Spec
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.store import Store

PROBE_TIMEOUT = 2.0
PROBE_LIMIT = 1 << 16
EMERGENCY_TIMEOUT = 4.0


def stale(spec: Spec, generation: str) -> str:
    """Why the program must be reloaded although the tree is right; empty when it need not."""
    if spec.running:
        answer, reason = probe(spec.running, spec.running_host)
        return "" if answer == generation else (f"generation {answer}" if answer else reason)
    if spec.reload:
        served = Store(spec).served
        return "" if served == generation else "a reload that never happened"
    return ""


def probe(url: str, host: str) -> tuple[str, str]:
    """Ask the running program for its generation.

    By a bare HTTP/1.0 exchange: the standard library's client takes a tenth of an idle run to import.

    :returns: (answer, reason): the answer is empty when there was none, and the reason says why.
    """
    parts = urllib.parse.urlsplit(url)
    request = f"GET {parts.path or '/'} HTTP/1.0\r\nHost: {host or parts.netloc}\r\n\r\n"
    reply = b""
    try:
        address = (parts.hostname or "127.0.0.1", parts.port or 80)
        with socket.create_connection(address, timeout=PROBE_TIMEOUT) as connection:
            connection.sendall(request.encode())
            while len(reply) < PROBE_LIMIT:
                piece = connection.recv(4096)
                if not piece:
                    break
                reply += piece
    except OSError as error:
        return "", f"{url} did not answer: {error}"
    head, _, body = reply.decode(errors="replace").partition("\r\n\r\n")
    status = head.split(" ", 2)[1:2]
    if status != ["200"]:
        return "", f"{url} answered {' '.join(status) or 'nothing'}"
    return body.strip(), ""


class Evidence:
    """What the program wrote to its logs since this object was made."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.since = time.time()
        self.sizes = {path: _size(path) for path in spec.logs}

    def logged(self, limit: int = 15) -> list[str]:
        """Lines new in the log files."""
        found: list[str] = []
        for path, size in self.sizes.items():
            with contextlib.suppress(OSError), open(path, "rb") as handle:
                handle.seek(min(size, os.fstat(handle.fileno()).st_size))
                found += handle.read(1 << 20).decode(errors="replace").splitlines()[-limit:]
        return found

    def lines(self, limit: int = 15) -> list[str]:
        """Lines new in the log files and in the unit's journal."""
        found = self.logged(limit)
        if self.spec.journal and has_program("journalctl"):
            with contextlib.suppress(TreeError):
                result = run(
                    f"journalctl --unit {shlex.quote(self.spec.journal)} --since @{int(self.since)} "
                    f"--lines {limit} --no-pager --quiet --output cat"
                )
                found += result.stdout.splitlines()
        return list(dict.fromkeys(tidy(line) for line in found))


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def wait(spec: Spec, generation: str, evidence: Evidence) -> str:
    """Ask until ``generation`` answers; returns what was wrong when it does not within the timeout.

    A program that logs an emergency is given up earlier; nginx tries to bind a port for 2.5 s.
    """
    start, pause = time.monotonic(), 0.02
    while True:
        answer, reason = probe(spec.running, spec.running_host)
        if answer == generation:
            return ""
        passed = time.monotonic() - start
        hopeless = passed > EMERGENCY_TIMEOUT and any("[emerg]" in line for line in evidence.logged())
        if hopeless or passed > spec.timeout:
            said = f"it still serves generation {answer}" if answer else reason
            return f"`{spec.reload}` ended well, but {passed:.1f} s later {said}, not {generation}."
        time.sleep(pause)
        pause = min(pause * 1.5, 0.25)
