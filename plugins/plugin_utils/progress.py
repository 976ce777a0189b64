# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a long task waits for, shown while it runs: a module can say nothing before it ends."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.webops.wsgi.plugins.module_utils.host.progress import FOLDER

EVERY = 10.0  # seconds between two lines about an app, and before the first: a quick task asks the host nothing more
LOOK = f"/bin/sh -c 'date +%s; cat {FOLDER}/* 2>/dev/null'"
SLACK = 2.0  # seconds that clocks may be apart


@contextmanager
def shown(action: ActionBase, task_vars: dict[str, Any] | None) -> Iterator[None]:
    """Show every few seconds what is waited for on a task's host, as long as the block runs."""
    over = Event()
    host = str((task_vars or {}).get("inventory_hostname", ""))
    watch = Thread(target=_watch, args=(action, host, over), daemon=True)
    watch.start()
    try:
        yield
    finally:
        over.set()
        watch.join(EVERY)  # the connection is the task's again


def _watch(action: ActionBase, host: str, over: Event) -> None:
    began = time.monotonic()
    while not over.wait(EVERY):
        try:
            # As the user who logs in, without become: what the module waits for is no secret.
            code, out, _error = action._connection.exec_command(LOOK, sudoable=False)
        except (AnsibleError, OSError):
            return
        for line in lines(out.decode(errors="replace"), time.monotonic() - began) if code in (0, 1) else ():
            action._display.display(f"{host}: {line}")


def lines(told: str, task: float) -> list[str]:
    """What a person is shown.

    Args:
        told: What the host has told: its time, then a line of JSON for each app.
        task: Seconds since the task began; what is older is not of this run.
    """
    clock, *notes = told.split("\n")
    found = []
    for note in filter(None, notes):
        try:
            read = json.loads(note)
            waited = max(0.0, float(clock) - read["since"])
            limit = f" of at most {read['limit']:.0f}" if read["limit"] else ""
            text = f"{read['app']} {read['what']}: {waited:.0f}{limit} s"
        except (ValueError, KeyError, TypeError):  # half written
            continue
        if waited <= task + SLACK:
            found.append(text)
    return found
