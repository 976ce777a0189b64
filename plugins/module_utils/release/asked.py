# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was asked of a release, kept with it, so that the first look of the next run can tell whether it still holds.

It lies in the release, for root alone, as the environment does that it has a copy of, and goes with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.failures.server_log import ServerLog
from ansible_collections.webops.wsgi.plugins.module_utils.host.files import write_file
from ansible_collections.webops.wsgi.plugins.module_utils.managers.model import Manager, ManagerError
from ansible_collections.webops.wsgi.plugins.module_utils.release.health import Health
from ansible_collections.webops.wsgi.plugins.module_utils.release.layout import Part, Paths, current_release, read_text
from ansible_collections.webops.wsgi.plugins.module_utils.release.plan import Bake, Desired, plan
from ansible_collections.webops.wsgi.plugins.module_utils.release.proxy import Proxy

FILE = "asked.json"
NOT_KEPT = ("masked", "signature")  # options that say nothing of the release


def desired_release(options: dict[str, Any]) -> Desired:
    """The module's options as the release they describe."""
    health, proxy = options["health"], options["proxy"]
    return Desired(
        **{
            **{name: value for name, value in options.items() if name not in NOT_KEPT},
            "units": tuple(Part(**unit) for unit in options["units"]),
            "health": Health(**{**health, "statuses": tuple(health["statuses"])}),
            "proxy": Proxy(**{**proxy, "domains": tuple(proxy["domains"])}),
            "bake": Bake(**options["bake"]),
            "log": ServerLog(**options["log"]),
        }
    )


def note(paths: Paths, number: str, options: Mapping[str, Any]) -> None:
    """Keep what was asked of the release that serves an app; a full disk is none of its affair."""
    file = paths.release(options["name"], number) / FILE
    text = json.dumps({**options, "masked": []}, sort_keys=True)
    if read_text(file) != text:
        with suppress(OSError):
            write_file(file, text, 0o600)


def in_place(paths: Paths, apps: Iterable[str], manager: Manager) -> dict[str, dict[str, str]]:
    """The apps whose release is, and runs, as it was last asked for: its number, and the request's C(signature)."""
    asked = {name: _asked(paths, name) for name in apps}
    wanted = {name: desired for name, options in asked.items() if options and (desired := _desired(options))}
    try:
        steps = plan(paths, list(wanted.values()), manager)
    except (ManagerError, OSError):
        return {}
    return {
        step.app: {"release": step.number, "signature": asked[step.app]["signature"]}
        for step in steps
        if step.kind == "none"
    }


def _asked(paths: Paths, app: str) -> dict[str, Any]:
    number = current_release(paths, app)
    if not number:
        return {}
    try:
        found = json.loads(read_text(paths.release(app, number) / FILE) or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) and found.get("signature") else {}


def _desired(options: dict[str, Any]) -> Desired | None:
    """None for what another version of the collection has written."""
    try:
        return desired_release(options)
    except (KeyError, TypeError):
        return None
