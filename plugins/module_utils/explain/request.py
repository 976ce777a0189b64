# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One request over a connection, and what came back."""

from __future__ import annotations

import http.client
import time
from collections.abc import Mapping

from ansible_collections.webops.wsgi.plugins.module_utils.explain.model import Reply
from ansible_collections.webops.wsgi.plugins.module_utils.release.health import BODY_LIMIT, USER_AGENT


def ask(connection: http.client.HTTPConnection, path: str, headers: Mapping[str, str]) -> Reply:
    """Send a GET request, and close the connection."""
    started = time.monotonic()
    try:
        connection.request("GET", path, headers={**headers, "User-Agent": USER_AGENT, "Connection": "close"})
        answer = connection.getresponse()
        answer.read(BODY_LIMIT)
    except (OSError, ValueError, http.client.HTTPException) as error:
        return Reply(seconds=time.monotonic() - started, error=str(error) or type(error).__name__)
    finally:
        connection.close()
    return Reply(
        status=answer.status,
        seconds=time.monotonic() - started,
        location=answer.getheader("Location") or "",
        maintenance=answer.getheader("X-Maintenance") is not None,
    )
