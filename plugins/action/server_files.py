# SPDX-License-Identifier: GPL-3.0-or-later
"""Action of webops.wsgi.server_files: what the servers of apps need, as one tree."""

from __future__ import annotations

from typing import Any

from ansible_collections.webops.wsgi.plugins.action import config_tree
from ansible_collections.webops.wsgi.plugins.plugin_utils.resolved_apps import resolved_apps
from ansible_collections.webops.wsgi.plugins.plugin_utils.servers.model import tree_files


class ActionModule(config_tree.ActionModule):
    """Asks each server for its files: in a playbook each of them would carry all apps through Ansible's templating."""

    def files(self) -> Any:
        apps = resolved_apps(self._task.args, self.variables)
        return tree_files([app for app in apps if app["state"] == "present"])
