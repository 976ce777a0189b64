# SPDX-License-Identifier: GPL-3.0-or-later
"""By which HTTP proxy programs of the host get out: the one of the inventory, or the host's own."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

HOST_WIDE = Path("/etc/environment")  # what every session of the host gets, see pam_env(8)
NONE = "none"
# Of modules that download something, see the documentation fragment of this name.
OPTIONS: dict[str, dict[str, t.Any]] = {
    "proxy": {"type": "str", "default": ""},
    "no_proxy": {"type": "list", "elements": "str", "default": []},
}
ALWAYS_DIRECT = ("localhost", "127.0.0.1", "::1")


class Outgoing(t.NamedTuple):
    """The proxies, with credentials if they take any; empty for none.

    Attributes:
        http: For plain HTTP.
        https: For HTTPS.
        direct: Names and networks that are reached without them.
    """

    http: str = ""
    https: str = ""
    direct: tuple[str, ...] = ()

    @property
    def secrets(self) -> set[str]:
        """Those with credentials."""
        return {proxy for proxy in (self.http, self.https) if "@" in proxy}

    def variables(self) -> dict[str, str]:
        """The environment variables that say so, in both spellings that programs read."""
        given = {"http_proxy": self.http, "https_proxy": self.https}
        found = {name: value for name, value in given.items() if value}
        if found:
            found["no_proxy"] = ",".join(dict.fromkeys((*ALWAYS_DIRECT, *self.direct)))
        return found | {name.upper(): value for name, value in found.items()}


def outgoing(proxy: str, no_proxy: t.Iterable[str], file: Path = HOST_WIDE) -> Outgoing:
    """Return how to get out.

    Args:
        proxy: A URL, C(none), or nothing for what the host's own sessions use.
        no_proxy: What is reached directly; nothing for what the host says.
        file: Where the host says it.
    """
    own = _assignments(file)
    direct = tuple(no_proxy) or tuple(filter(None, re.split(r"[,\s]+", own.get("no_proxy", ""))))
    if proxy == NONE:
        return Outgoing()
    if proxy:
        return Outgoing(proxy, proxy, direct)
    http, https = (_url(own.get(f"{scheme}_proxy", "")) for scheme in ("http", "https"))
    return Outgoing(http, https, direct)


def _url(written: str) -> str:
    """A proxy as programs take it: some are content with a name and a port."""
    return f"http://{written}" if written and "://" not in written else written


def _assignments(file: Path) -> dict[str, str]:
    """The variables of a file of pam_env's, by their names in small letters; those written so win."""
    try:
        text = file.read_text(errors="replace")
    except OSError:
        return {}
    found = re.findall(r"^\s*(?:export\s+)?(\w+)=(.*?)\s*$", text, re.MULTILINE)
    found.sort(key=lambda pair: pair[0].islower())
    return {name.lower(): value.strip("\"'") for name, value in found}
