# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of a request on one host, and what may be wrong with it."""

from __future__ import annotations

import time
import typing as t
from dataclasses import dataclass

from ansible_collections.webops.wsgi.plugins.module_utils.explain.model import Disk, Outside, Reply, Seen
from ansible_collections.webops.wsgi.plugins.plugin_utils.explain.request import App, Request

STEPS = ("name", "port", "TLS", "nginx", "instance", "answer")
# What nginx says in its error log of a request that it passed on in vain.
GONE, REFUSED, FULL, ENDED, TOO_BIG, LATE = (
    "(2: No such file or directory) while connecting",
    "(111: ",
    "(11: Resource temporarily unavailable)",
    "prematurely closed connection",
    "too big header",
    "timed out",
)


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        step: Where on the request's way, of :data:`STEPS`.
        cause: What is wrong.
        fix: What to do.
        evidence: Lines that show it, two or three.
        certain: Whether it is what breaks the request; else it may be.
        breaks: Whether it breaks the request at all, or is worth knowing alone.
        recent: When it broke a request like this one, which is answered well now, in seconds since 1970; 0 for no time.
    """

    step: str
    cause: str
    fix: str = ""
    evidence: tuple[str, ...] = ()
    certain: bool = True
    breaks: bool = True
    recent: float = 0.0


@dataclass(frozen=True)
class Case:
    """Everything that is known of a request on one host.

    Attributes:
        request: The request.
        app: The app that serves it.
        settings: nginx's settings of its location, as the app has them.
        outside: The look from the controller.
        seen: The look at the host.
        arrived: Whether its request arrived at any of the app's hosts.
    """

    request: Request
    app: App
    settings: t.Mapping[str, t.Any]
    outside: Outside
    seen: Seen
    arrived: bool

    @property
    def name(self) -> str:
        """The app's name."""
        return str(self.app["name"])

    @property
    def deployed(self) -> bool:
        """Whether anything of the app is on the host; where nothing is, it is no use to speak of nginx."""
        return bool(self.seen.instance.release or self.seen.nginx.site)

    @property
    def reply(self) -> Reply:
        """What a client gets: the answer from outside, or where none came, what nginx says to its own host."""
        answered = self.outside.reply.status or (self.arrived and self.outside.reply.error)
        return self.outside.reply if answered else self.seen.proxied

    @property
    def by_nginx(self) -> bool:
        """Whether nginx answered by itself, as its log says."""
        return self.arrived and self.seen.traffic.arrived and not self.seen.traffic.by_app

    @property
    def nginx_serves(self) -> bool:
        """Whether nginx answers this host, whatever it says."""
        return bool(self.seen.proxied.status)

    def logged(self, *texts: str) -> tuple[str, ...]:
        """The last line of nginx's error log about the request that has one of these texts."""
        lines = [line for line in self.seen.traffic.errors if any(text in line for text in texts)]
        return tuple(lines[-1:])


def split(words: t.Sequence[str]) -> tuple[list[str], str]:
    """What the app wrote, and the fix beside it."""
    fix = next((line.removeprefix("Fix: ") for line in words if line.startswith("Fix: ")), "")
    return [line for line in words if not line.startswith("Fix: ")], fix


def full_disk(disk: Disk) -> Finding:
    """A disk on which nothing can be written."""
    what = "no room for another file" if disk.free_files < 100 else f"{disk.free_bytes >> 20} MB are left"
    fix = (
        f"make room: du -xh {disk.path} | sort -h | tail; old logs and releases (release_keep) are the first to look at"
    )
    return Finding("answer", f"the disk of {disk.path} is full ({what})", fix)


def day(moment: float) -> str:
    """A day as people write it."""
    return time.strftime("%Y-%m-%d", time.gmtime(moment))


def moment(moment: float) -> str:
    """A moment as people write it."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(moment))


def span(seconds: float) -> str:
    """A span of time in its largest unit."""
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if round(seconds) >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"
