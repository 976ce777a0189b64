# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps Ansible from running anything on a host, in words that name the fix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleActionFail


def check_terminal(result: Mapping[str, Any], host: str) -> None:
    """Tell a sudo that wants a terminal from a module that has failed.

    Ansible itself says no more than that the module's result cannot be read.

    Args:
        result: The result of a play's first module on the host.
        host: Its name in the inventory.

    Raises:
        AnsibleActionFail: The module has not run, since sudo wants a terminal.
    """
    if result.get("failed") and "you must have a tty" in str(result.get("module_stderr")):
        raise AnsibleActionFail(
            f"sudo on {host} wants a terminal (requiretty in sudoers), and with pipelining there is none; set "
            "ansible_ssh_pipelining: false for the host, or exempt the user in sudoers: Defaults:USER !requiretty"
        )
