# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was asked of a release, kept with it, so that the first look of the next run can tell whether it still holds.

It lies in the release and goes with it. What may be a secret is not in it: the release has that already, and C(digest)
of its description tells whether it is what it was.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.failures.server_log import ServerLog
from ansible_collections.webops.wsgi.plugins.module_utils.host.files import write_file
from ansible_collections.webops.wsgi.plugins.module_utils.managers.model import Manager, ManagerError
from ansible_collections.webops.wsgi.plugins.module_utils.release.health import Health
from ansible_collections.webops.wsgi.plugins.module_utils.release.layout import (
    CREDENTIALS,
    FILES,
    Part,
    Paths,
    current_release,
    read_text,
)
from ansible_collections.webops.wsgi.plugins.module_utils.release.plan import Bake, Desired, plan
from ansible_collections.webops.wsgi.plugins.module_utils.release.proxy import Proxy

FILE = "asked.json"
NOT_OF_A_RELEASE = ("masked", "signature")  # options
NOT_KEPT = ("masked", "environment", "credentials", "config_files")  # options that may hold secrets


def desired_release(options: dict[str, Any]) -> Desired:
    """The module's options as the release they describe."""
    health, proxy = options["health"], options["proxy"]
    return Desired(
        **{
            **{name: value for name, value in options.items() if name not in NOT_OF_A_RELEASE},
            "units": tuple(Part(**unit) for unit in options["units"]),
            "health": Health(**{**health, "statuses": tuple(health["statuses"])}),
            "proxy": Proxy(**{**proxy, "domains": tuple(proxy["domains"])}),
            "bake": Bake(**options["bake"]),
            "log": ServerLog(**options["log"]),
        }
    )


def lasting(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that describe a release, without those that say how one run is to activate it.

    The latter differ from playbook to playbook, and with the host that goes first.
    """
    of_release = {name: value for name, value in options.items() if name != "run_hooks"}
    return {**of_release, "proxy": {**options["proxy"], "required": False}}


def note(paths: Paths, number: str, options: Mapping[str, Any]) -> None:
    """Keep what was asked of the release that serves an app; a full disk is none of its affair.

    Nothing is kept where a header of the health check may be a secret, which the release does not have.
    """
    file = paths.release(options["name"], number) / FILE
    kept = {name: value for name, value in lasting(options).items() if name not in NOT_KEPT}
    text = "" if options["health"]["headers"] else json.dumps(kept, sort_keys=True)
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
    release = paths.release(app, number)
    try:
        found = json.loads(read_text(release / FILE) or "{}")
        of_release = {
            "environment": read_text(release / "etc/environment"),
            "credentials": _texts(release / CREDENTIALS),
            "config_files": _texts(release / FILES),
        }
    except (OSError, ValueError):
        return {}
    return {**found, **of_release} if isinstance(found, dict) and found.get("signature") else {}


def _texts(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def _desired(options: dict[str, Any]) -> Desired | None:
    """None for what another version of the collection has written."""
    try:
        return desired_release(options)
    except (KeyError, TypeError):
        return None
