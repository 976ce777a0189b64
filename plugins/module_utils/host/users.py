# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""System users of apps, made by systemd-sysusers: all of them in one call."""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.webops.wsgi.plugins.module_utils.host.marks import USER_MARK
from ansible_collections.webops.wsgi.plugins.module_utils.managers.systemd import Systemd, SystemdError


class UsersError(Exception):
    """A user could not be made; the message names the users and what systemd-sysusers said."""


def declaration(app: str) -> str:
    """The line of sysusers.d(5) that declares an app's user and its group."""
    return f'u {app} - "{USER_MARK}" /var/lib/{app} /usr/sbin/nologin'


def create(apps: Sequence[str], root: str = "/") -> None:
    """Make the system users of apps; one that exists is left as it is.

    Args:
        apps: The apps' names, which are those of the users.
        root: Top of the file system whose C(/etc/passwd) gets them.

    Raises:
        UsersError: systemd-sysusers failed.
    """
    try:
        Systemd().create_users(map(declaration, apps), root)
    except SystemdError as error:
        raise UsersError(f"the users of {', '.join(apps)} cannot be created: {error}") from None
