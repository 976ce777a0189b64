# SPDX-License-Identifier: GPL-3.0-or-later
"""Action of webops.wsgi.nginx_files: all of nginx's configuration, as one tree."""

from __future__ import annotations

from typing import Any

from ansible_collections.webops.wsgi.plugins.action import config_tree
from ansible_collections.webops.wsgi.plugins.plugin_utils.nginx.tree import tree_files
from ansible_collections.webops.wsgi.plugins.plugin_utils.resolved_apps import resolved_apps


class ActionModule(config_tree.ActionModule):
    """Names the files itself: in a playbook each would carry all apps through Ansible's templating."""

    def files(self) -> Any:
        return tree_files(resolved_apps(self._task.args, self.variables))
