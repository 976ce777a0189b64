# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller's half of host_state: what the host cannot give to an app is that app's failure."""

from __future__ import annotations

from ansible_collections.webops.wsgi.plugins.plugin_utils.app_failures import FailuresOfApps


class ActionModule(FailuresOfApps):
    """Runs the module of the same name."""
