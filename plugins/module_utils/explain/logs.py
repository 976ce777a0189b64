# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nginx has noted of requests: its access log in both formats, and its error log."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

# As roles/nginx_proxy/templates/nginx.conf.j2 writes it in log_format wsgi.
_LINE = re.compile(
    r'(?P<client>\S+) - .*? \[(?P<when>[^\]]+)\] "(?P<request>(?:[^"\\]|\\.)*)" (?P<status>\d{3}) (?P<size>\d+) '
    r'"(?:[^"\\]|\\.)*" "(?P<agent>(?:[^"\\]|\\.)*)" host=(?P<host>\S*) id=(?P<id>\S*) '
    r"time=(?P<seconds>[\d.]+) app_time=(?P<app_seconds>[^m]*?) maintenance=(?P<maintenance>.*)$"
)
_ERROR = re.compile(r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[\w+\] \d+#\d+: (?:\*\d+ )?(?P<text>.*)")
_REQUEST = re.compile(r', request: "\S+ (?P<path>[^ ?"]*)')


@dataclass(frozen=True)
class Entry:
    """One request of the access log.

    Attributes:
        when: When it was answered, in seconds since 1970.
        client: Address of the client.
        method: Its method.
        path: Its path, without the query.
        status: What the client got; 499 when it had gone.
        seconds: From its first byte to the last one of the answer.
        by_app: Whether the app was asked, or nginx answered by itself.
        identity: Its X-Request-ID.
        agent: Its User-Agent.
        maintenance: Whether it was refused for maintenance.
    """

    when: float
    client: str
    method: str
    path: str
    status: int
    seconds: float
    by_app: bool
    identity: str
    agent: str = ""
    maintenance: bool = False


@dataclass(frozen=True)
class ErrorLine:
    """One line of the error log.

    Attributes:
        text: What went wrong, without what follows.
        path: The path of the request it is about, without the query; empty when it is about none.
    """

    text: str
    path: str = ""


def entries(lines: Iterable[str]) -> Iterator[Entry]:
    """The requests of an access log, without lines that are not one, such as the first of a part of a file."""
    for line in lines:
        found = _json(line) if line.lstrip().startswith("{") else _plain(line)
        if found:
            yield found


def _plain(line: str) -> Entry | None:
    found = _LINE.search(line)
    if not found:
        return None
    method, _space, rest = found["request"].partition(" ")
    try:
        when = datetime.datetime.strptime(found["when"], "%d/%b/%Y:%H:%M:%S %z").timestamp()
    except ValueError:
        return None
    return Entry(
        when=when,
        client=found["client"],
        method=method,
        path=rest.rpartition(" ")[0].partition("?")[0],
        status=int(found["status"]),
        seconds=float(found["seconds"]),
        by_app=found["app_seconds"].strip() not in ("", "-"),
        identity=found["id"],
        agent=found["agent"],
        maintenance=found["maintenance"].strip() == "on",
    )


def _json(line: str) -> Entry | None:
    try:
        values = json.loads(line[line.index("{") :])
        return Entry(
            when=datetime.datetime.fromisoformat(values["@timestamp"]).timestamp(),
            client=values["client.ip"],
            method=values["http.request.method"],
            path=values["url.original"].partition("?")[0],
            status=int(values["http.response.status_code"]),
            seconds=float(values["nginx.request.time"]),
            by_app=values["nginx.upstream.time"] not in ("", "-"),
            identity=values["http.request.id"],
            agent=values["user_agent.original"],
            maintenance=values["nginx.maintenance"] == "on",
        )
    except (ValueError, KeyError, TypeError):
        return None


def errors(lines: Iterable[str]) -> Iterator[ErrorLine]:
    """The lines of an error log."""
    for found in filter(None, map(_ERROR.match, lines)):
        about = _REQUEST.search(found["text"])
        yield ErrorLine(found["text"].partition(", client: ")[0], about["path"] if about else "")
