# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which apps it is whose Debian packages cannot be installed, after an installation for all of them has failed."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

KEYS = ("system_packages", "build_packages")
TIMEOUT = 120  # seconds; a simulation takes less than one

Refusal = Callable[[Sequence[str]], str]


def refusal(packages: Sequence[str]) -> str:
    """Why apt would not install packages, in its own words; empty where it would."""
    command = ["apt-get", "--simulate", "--quiet", "--no-install-recommends", "install", "--", *packages]
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, errors="replace", check=False, timeout=TIMEOUT
        )
    except subprocess.TimeoutExpired:
        return f"apt-get took longer than {TIMEOUT} s"
    if not done.returncode:
        return ""
    said = [line.strip() for line in done.stdout.splitlines() if " : " in line]  # "x : Depends: y but ..."
    said += [line.removeprefix("E: ") for line in done.stderr.splitlines() if line.startswith("E: ")]
    return "; ".join(said) or f"apt-get ended with {done.returncode}"


def failures(apps: Iterable[Mapping[str, Any]], refuses: Refusal = refusal) -> list[str]:
    """What apps are to be told whose packages apt would not install, each with the fix.

    Args:
        apps: Of each, C(name), C(system_packages) and C(build_packages).
        refuses: Says why packages cannot be installed.
    """
    found = []
    for app in apps:
        wanted = {key: list(app.get(key) or []) for key in KEYS}
        together = list(dict.fromkeys(name for names in wanted.values() for name in names))
        reason = refuses(together) if together else ""
        if not reason:
            continue
        # Those that cannot be installed at all; without such a one they do not go together.
        single = {name: why for name in together if (why := refuses([name]))}
        bad = list(single) or together
        keys = [f"{key} has {', '.join(names)}" for key in KEYS if (names := [n for n in wanted[key] if n in bad])]
        found.append(
            f'app "{app["name"]}": {" and ".join(keys)}, which apt cannot install on this host '
            f"({'; '.join(single.values()) or reason}); correct the name, or add the archive that has it to the host"
        )
    return found
