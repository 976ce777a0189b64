# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which hosts a balancer sends no new requests to.

A host is drained while a file of its name lies in a directory of the balancer's, whatever is reloaded or restarted.
What is in the file says whose doing it is: a person's, who will take it back, or that of a run which puts the host
back itself, and whose work the next run finishes when it was killed.
"""

from __future__ import annotations

from pathlib import Path

from ansible_collections.webops.wsgi.plugins.module_utils.host.files import write_file

FOLDER = Path("/var/lib/wsgi-balancer/drained")
PERSON, RUN = "person", "run"


def drained(folder: Path = FOLDER) -> dict[str, str]:
    """Hosts that are drained, and by whom."""
    return {path.name: path.read_text().strip() or PERSON for path in sorted(folder.glob("*"))}


def put(host: str, who: str, folder: Path = FOLDER, dry: bool = False) -> bool:
    """Note that a host is drained; whether that is new. A person's wish is not made a run's."""
    now = drained(folder).get(host)
    if now in (who, PERSON):
        return False
    if not dry:
        folder.mkdir(parents=True, exist_ok=True)
        write_file(str(folder / host), f"{who}\n", 0o644)
    return True


def take_back(host: str, folder: Path = FOLDER, dry: bool = False) -> bool:
    """Note that a host is in service again; whether that is new."""
    if host not in drained(folder):
        return False
    if not dry:
        (folder / host).unlink()
    return True
