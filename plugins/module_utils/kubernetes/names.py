# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names that the controller writes into objects, and that are looked for where these are applied."""

from __future__ import annotations

MANAGER = "webops.wsgi"  # of fields
NAME = "app.kubernetes.io/name"
MANAGED = "app.kubernetes.io/managed-by"
COMPONENT = "app.kubernetes.io/component"
RELEASE = "webops.wsgi/release"
NUMBER = "webops.wsgi/number"
PROVED = "webops.wsgi/proved"
PODS = "webops.wsgi/pods"  # how many of a Deployment are wanted while its release serves
CLOSED = "webops.wsgi/closed"  # of pods: when the app was closed, or opened, last
WEB = "web"  # the component that serves


def maintenance(app: str) -> str:
    """Name of the ConfigMap that is there while an app is closed to clients."""
    return f"{app}-maintenance"
