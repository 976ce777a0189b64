# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody else has told a process manager under the name of an app."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.webops.wsgi.plugins.module_utils.host.marks import UNIT_MARK


def foreign(app: str, units: Path = Path("/etc/systemd/system")) -> list[str]:
    """Files that bear the app's name without being ours, each as a person calls it."""
    candidates = (units / f"{app}@.service", units / f"{app}.target")
    return [f"the unit {path}" for path in candidates if path.exists() and UNIT_MARK not in path.read_text()]
