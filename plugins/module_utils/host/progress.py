# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run waits for at this moment, noted on the host, since a module says nothing before it ends.

C(plugin_utils.progress) reads the notes from the controller while the module runs. One of a run that was killed stays
until the next wait for the same app, and is known by its age.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FOLDER = Path("/run/wsgi.progress")  # no app can have that name


@contextmanager
def waiting(app: str, what: str, limit: float = 0.0, folder: Path = FOLDER) -> Iterator[None]:
    """Note what is waited for as long as the block runs.

    Args:
        app: The app.
        what: What it does, in a person's words.
        limit: Seconds after which it is given up; 0 where nobody knows.
        folder: Where notes are.
    """
    text = json.dumps({"app": app, "what": what, "limit": limit, "since": time.time()})
    with suppress(OSError):  # a deployment does not fail for want of a note
        folder.mkdir(mode=0o755, exist_ok=True)
        (folder / app).write_text(f"{text}\n", encoding="utf-8")
    try:
        yield
    finally:
        with suppress(OSError):
            (folder / app).unlink(missing_ok=True)
