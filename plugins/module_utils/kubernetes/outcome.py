# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of an app in a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes import compare

Manifest = dict[str, Any]


class DeployError(Exception):
    """An app could not be brought to where it should be; the message is whole."""


@dataclass
class Outcome:
    """What became of an app.

    Attributes:
        release: What serves, or would.
        number: Its number.
        changed: Whether anything is other than before.
        did: What was done, a line each.
        diff: How objects differ.
    """

    release: str = ""
    number: int = 0
    changed: bool = False
    did: list[str] = field(default_factory=list)
    diff: list[dict[str, str]] = field(default_factory=list)

    def note(self, before: Manifest | None, after: Manifest | None) -> None:
        """An object has changed."""
        self.changed = True
        self.diff.append(compare.difference(before, after))

    def say(self, text: str) -> None:
        """Something was done."""
        self.changed = True
        self.did.append(text)
