# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller's half of app_packages: packages that cannot be installed are the failure of the app that wants them."""

from __future__ import annotations

from ansible_collections.webops.wsgi.plugins.plugin_utils.app_failures import FailuresOfApps


class ActionModule(FailuresOfApps):
    """Runs the module of the same name."""
