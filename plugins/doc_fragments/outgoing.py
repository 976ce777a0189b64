# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """Options of modules that download something."""

    DOCUMENTATION = r"""
options:
  proxy:
    description: HTTP proxy to get out by, V(none) for none; empty for that of the host's C(/etc/environment).
    type: str
    default: ""
  no_proxy:
    description: What is reached without it; empty for what the host says.
    type: list
    elements: str
    default: []
"""
