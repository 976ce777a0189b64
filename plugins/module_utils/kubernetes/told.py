# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a release does not serve, as a person reads it."""

from __future__ import annotations

from ansible_collections.webops.wsgi.plugins.module_utils.failures.report import Failure, cause
from ansible_collections.webops.wsgi.plugins.module_utils.failures.server_log import ServerLog
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes import trouble
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.app import App
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.trouble import Trouble
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.watch import LATE, NotReadyError
from ansible_collections.webops.wsgi.plugins.module_utils.managers.model import Log

LOG_LINES = 200  # that are read of a container


def message(app: App, error: Exception) -> str:
    """The cause, with the app's name before it and what else is known below it."""
    first, *rest = told(app, error)
    return "\n".join([f'app "{app.name}": {first}', *(f"  {line}" for line in rest)])


def told(app: App, error: Exception) -> list[str]:
    """Why something failed: the cause, then what the container wrote last."""
    if not isinstance(error, NotReadyError):
        return [str(error)]
    found = error.trouble
    if not found.pod:
        return [found.reason]
    where = f"pod {found.pod} of namespace {app.namespace}"
    late = found.reason.startswith(LATE)
    noted = trouble.last_warning(app.cluster.events(app.namespace, found.pod)) if late else ""
    more = [noted] if noted else []
    log = _log(app, found)
    if not log:  # what the cluster says of a pod is no word of the app's, of which a fix may be known
        return [found.reason, *more, where]
    # As a traceback on a host names them.
    text = log.replace('"/wsgi/app/src/', f'"/srv/{app.name}/builds/image/src/')
    words = ServerLog(**(app.asked.get("log") or {}))
    first, *rest = cause(Failure(app.name, "", found.reason, Log(found.pod, text, ""), log=words))
    again = [] if first.startswith(found.reason) else [found.reason]
    return [first, *more, *rest, *again, where]


def _log(app: App, found: Trouble) -> str:
    """What a container wrote; it may have been started again since, or its log may be gone with it."""
    if not found.container:
        return ""
    asked = (found.pod, found.container, LOG_LINES)
    logs = (app.cluster.log(app.namespace, *asked, one) for one in (found.previous, not found.previous))
    return next(filter(None, logs), "")
