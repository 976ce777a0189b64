# Copyright (c) webops.wsgi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What stands around certbot on a host: its deploy hook, systemd's units, the timers, and the credentials for DNS."""

from __future__ import annotations

import glob
import os
import re
import stat
import typing as t
from dataclasses import dataclass

from ansible_collections.webops.wsgi.plugins.module_utils.certificates.model import App
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.store import Host, Outcome, read_text
from ansible_collections.webops.wsgi.plugins.module_utils.host.files import remove_tree, write_file

OURS = "Written by the role webops.wsgi.certbot"
"""Stands in every file that the role certbot has written."""


@dataclass(frozen=True)
class ManagedFile:
    """A small file around certbot (deploy hook, systemd unit); empty content means it must not exist.

    :param always: whether it is wanted on a host without certbot as well
    """

    path: str
    content: str
    mode: int = 0o644
    always: bool = False


def remove_earlier(program: str, folder: str = "/opt/wsgi") -> None:
    """Remove certbots in environments of their own that no unit names any more: all but the one that is a program."""
    own = os.path.dirname(os.path.dirname(program))
    if os.path.dirname(own) != folder or not os.path.exists(program):
        return
    for path in glob.glob(f"{folder}/certbot-*"):
        if path != own:
            remove_tree(path)


def settle_files(host: Host, files: t.Sequence[ManagedFile], check: bool, outcome: Outcome) -> None:
    """Bring the deploy hook and the systemd drop-in to what is wanted."""
    different = [wanted for wanted in files if not _as_wanted(wanted) and (wanted.content or _ours(wanted.path))]
    for wanted in different:
        before = read_text(wanted.path)
        outcome.change(
            f"{wanted.path} {'written' if wanted.content else 'removed'}",
            f"{wanted.path}:\n{before}" if before else "",
            f"{wanted.path}:\n{wanted.content}" if wanted.content else "",
        )
        if check:
            continue
        if wanted.content:
            write_file(wanted.path, wanted.content, wanted.mode)
        else:
            if wanted.path.endswith(".timer"):
                host.run([*host.systemctl, "disable", "--now", os.path.basename(wanted.path)], {})
            os.unlink(wanted.path)
    if any("/systemd/" in wanted.path for wanted in different) and not check:
        host.run([*host.systemctl, "daemon-reload"], {})


def hooks_in_the_way(host: Host) -> t.Iterator[str]:
    """Warn of what stops nginx before each renewal, as it was needed without a webroot."""
    for path in sorted(glob.glob(f"{glob.escape(host.letsencrypt)}/renewal-hooks/pre/*")):
        if re.search(r"stop.*nginx|nginx.*stop", read_text(path)):
            yield f"{path} stops nginx, which then cannot answer the authority: nothing is renewed; remove it"


def _ours(path: str) -> bool:
    """Return whether this role has written a file; a unit of the same name may be somebody's own."""
    return OURS in read_text(path)


def settle_credentials(host: Host, apps: t.Sequence[App], check: bool, outcome: Outcome) -> None:
    """Bring the files with which certbot changes DNS to what is wanted; nothing of them is shown."""
    for app in apps:
        wanted = ManagedFile(host.credentials(app.name), app.credentials if app.by_dns else "", 0o600)
        if _as_wanted(wanted):
            continue
        outcome.change(f"{app.name}: credentials for DNS {'written' if wanted.content else 'removed'}")
        if check:
            continue
        if wanted.content:
            os.makedirs(os.path.dirname(wanted.path), mode=0o700, exist_ok=True)
            write_file(wanted.path, wanted.content, wanted.mode)
        else:
            os.unlink(wanted.path)


def _as_wanted(wanted: ManagedFile) -> bool:
    """Return whether a file has the content and mode that are wanted, and nobody else may change it."""
    try:
        found = os.lstat(wanted.path)
    except (FileNotFoundError, NotADirectoryError):
        return not wanted.content
    ours = (found.st_uid, found.st_gid) == (os.geteuid(), os.getegid())
    same = stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) == wanted.mode
    return bool(wanted.content) and ours and same and read_text(wanted.path) == wanted.content


def settle_timer(host: Host, timer: str, check: bool, outcome: Outcome) -> None:
    """Have the renewal timer enabled and running."""
    shown = host.run([*host.systemctl, "show", "--property=LoadState,ActiveState,UnitFileState", timer], {})
    state = dict(line.split("=", 1) for line in shown.output.splitlines() if "=" in line)
    if state.get("ActiveState") == "active" and state.get("UnitFileState") == "enabled":
        return
    if state.get("LoadState") != "loaded":
        masked = state.get("LoadState") == "masked"
        found = f"masked: run systemctl unmask {timer}" if masked else "not there: is certbot installed?"
        if masked or not check:
            outcome.errors.append(f"no certificate would be looked after, since {timer} is {found}")
        return
    outcome.change(
        f"{timer} enabled",
        f"{timer}: {state.get('UnitFileState')}, {state.get('ActiveState')}",
        f"{timer}: enabled, active",
    )
    if not check:
        completed = host.run([*host.systemctl, "enable", "--now", timer], {})
        if completed.rc != 0:
            outcome.errors.append(
                f"{timer} could not be enabled, so no certificate would be renewed: {completed.output.strip()}"
            )
