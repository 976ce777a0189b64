# SPDX-License-Identifier: GPL-3.0-or-later
"""The resolved apps as a play keeps them between tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import plain

FACT = "__wsgi_apps"  # which playbooks/tasks/apps.yml sets


def resolved_apps(arguments: Mapping[str, Any], variables: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The apps that a task is given or, without the option, those of the play.

    The latter are taken as they are: Ansible looks at each value of an option, which with fifty apps takes longer than
    what the task does with them.

    :raises AnsibleActionFail: there are neither
    """
    if "apps" in arguments:
        given: list[dict[str, Any]] = plain(arguments["apps"])
        return given
    if FACT not in variables:
        raise AnsibleActionFail(
            f"apps is required where no task before has set {FACT}, as playbooks/tasks/apps.yml does"
        )
    apps: list[dict[str, Any]] = plain(variables[FACT])
    return apps
