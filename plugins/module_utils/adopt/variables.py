# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of environment variables, and which of their values may leave the host."""

from __future__ import annotations

import re
from collections.abc import Mapping

_LINE = re.compile(r"^[ \t]*(?:export[ \t]+)?([A-Za-z_]\w*)[ \t]*=[ \t]*(.*?)[ \t]*$", re.MULTILINE)
# Names whose values say how an app runs. Whatever else there is may be a secret, and stays where it is.
_HARMLESS = re.compile(
    r"(?:DEBUG|ENV|ENVIRONMENT|LANG|LC_\w+|TZ|PORT|HOST|WORKERS|WEB_CONCURRENCY|ALLOWED_HOSTS|PYTHON\w*|PATH"
    r"|(?:\w+_)?(?:LOG_?LEVEL|SETTINGS(?:_MODULE)?|CONFIG|ENV|DEBUG|APP|TIMEZONE|LOCALE|PORT|FEATURE\w*))"
)
_SECRET = re.compile(r"secret|passw|token|key|credential|private|salt|dsn", re.IGNORECASE)
_USER_IN_URL = re.compile(r"://[^/\s]*@")
_LONG = 100  # characters; what says how an app runs is short


def parse(text: str) -> dict[str, str]:
    """The variables of a file, as systemd's C(EnvironmentFile) and python-dotenv read it, without what they expand."""
    found = {}
    for name, value in _LINE.findall(re.sub(r"\\\n", "", text)):
        if value[:1] in ("'", '"') and value[-1:] == value[:1] and len(value) > 1:
            value = value[1:-1]
        elif " #" in value:
            value = value.partition(" #")[0].rstrip()
        found[name] = value
    return found


def may_leave(name: str, value: str) -> bool:
    """Whether a value is certainly none that must not be seen."""
    if _SECRET.search(name) or _USER_IN_URL.search(value) or len(value) > _LONG:
        return False
    return bool(_HARMLESS.fullmatch(name)) or value.lower() in ("true", "false", "yes", "no", "on", "off", "0", "1")


def divide(variables: Mapping[str, str], where: str) -> tuple[dict[str, str], dict[str, str]]:
    """Variables whose values may leave the host, and of the others the names, with the file that they are in."""
    shown = {name: value for name, value in variables.items() if may_leave(name, value)}
    return shown, {name: where for name in variables if name not in shown}
