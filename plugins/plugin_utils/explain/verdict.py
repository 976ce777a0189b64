# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a request breaks: rules over what was seen, in the order of its way from the client to the app's code.

Each rule is certain of what it says, or says that it is not. What is wrong but does not break this request is a note.
"""

from __future__ import annotations

import typing as t

from ansible_collections.webops.wsgi.plugins.plugin_utils.explain import answers, reach, serving
from ansible_collections.webops.wsgi.plugins.plugin_utils.explain.case import STEPS, Case, Finding

RULES: tuple[t.Callable[[Case], t.Iterator[Finding]], ...] = (
    reach.clock,
    reach.name,
    reach.port,
    reach.tls,
    serving.nginx,
    serving.instance,
    answers.answer,
    serving.disks,
    serving.memory,
    answers.recent,
)


def findings(case: Case) -> list[Finding]:
    """Everything that is wrong, in the order of the request's way."""
    found = [finding for rule in RULES for finding in rule(case)]
    return sorted(found, key=lambda finding: STEPS.index(finding.step))


def verdict(found: t.Sequence[Finding]) -> Finding | None:
    """What breaks the request: the first thing that surely does, or may; else what did so last."""
    breaking = [finding for finding in found if finding.breaks]
    recent = sorted((finding for finding in found if finding.recent), key=lambda finding: finding.recent)
    return next((finding for finding in breaking if finding.certain), None) or next(
        iter([*breaking, *recent[::-1]]), None
    )
