# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases that an earlier version of the collection made, and that must start under the units of this one.

Their socket was in C(/run/<app>), which was the app's, and their units had systemd make nested state directories as
root, which followed what the app had put there.
"""

from __future__ import annotations

import re

# What the settings of a release lack: where its socket is now. Its own link follows when it is started so.
MOVED = """
[Unit]
Requires={app}.instance@%i.service
After={app}.instance@%i.service

[Service]
Environment=WSGI_SOCKET=/run/{app}/%i/sock
ReadWritePaths=/run/{app}/%i
ExecStartPost=+/usr/bin/ln -sfn /run/{app}/%i/sock /srv/{app}/releases/%i/socket
"""
_NESTED = re.compile(r"^(StateDirectory=\S+) .*$", re.MULTILINE)


def settings(app: str, text: str) -> str:
    """The settings of a release's server as they must be now."""
    text = unit(text)
    return text if "WSGI_SOCKET=" in text else text + MOVED.format(app=app)


def unit(text: str) -> str:
    """The text of a unit beside the server as it must be now."""
    return _NESTED.sub(r"\1", text)
