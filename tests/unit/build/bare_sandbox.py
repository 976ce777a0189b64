# SPDX-License-Identifier: GPL-3.0-or-later
"""A sandbox that is none: the same programs, sent in the same way, without systemd."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ansible_collections.webops.wsgi.plugins.module_utils.build import sandbox


class BareSandbox:
    """Runs programs as the user of the test, in a directory of the test's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def workshop(self, app: str) -> Path:
        return self._folder / "workshops" / app

    def seen(self, app: str, here: Path) -> Path:
        return self.workshop(app)

    def clear(self, app: str, cache: bool = False) -> None:
        self.workshop(app).mkdir(parents=True, exist_ok=True)
        sandbox.clear_workshop(self.workshop(app), cache)

    def build(self, app: str, here: Path, limit: int, readable: Sequence[Path]) -> list[str]:
        return sandbox.interpreter(sys.executable)

    def service(self, app: str, limit: int, kind: str = "index") -> list[str]:
        return sandbox.interpreter(sys.executable)
