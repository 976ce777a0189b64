# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules about the answer: who gave it, nginx or the app, why, and what others got within the last hour."""

from __future__ import annotations

import typing as t

from ansible_collections.webops.wsgi.plugins.module_utils.explain.model import Reply
from ansible_collections.webops.wsgi.plugins.plugin_utils.explain.case import (
    ENDED,
    FULL,
    GONE,
    LATE,
    REFUSED,
    TOO_BIG,
    Case,
    Finding,
    full_disk,
    span,
    split,
)

SLOW = 5.0  # seconds after which an answer is called slow
_BUSY = "the app takes no more connections: all its workers are busy, and as many requests wait as may"
_BUSY_FIX = "give it more workers or threads, or let requests take less time"


def answer(case: Case) -> t.Iterator[Finding]:
    """The answer is a good one, and comes in time."""
    reply = case.reply
    if case.seen.closed and (reply.maintenance or reply.status == 503):
        fix = f"open it: ansible-playbook webops.wsgi.maintenance -e app={case.name} -e state=off"
        yield Finding("nginx", f'the app "{case.name}" is closed for maintenance', fix)
        return
    if not case.seen.instance.listens or case.seen.nginx.active != "active":
        return
    if reply.status in (0, 200, 204, 206, 304):
        yield from _slow(case)
        return
    found = _BY_STATUS.get(reply.status)
    if found and (made := found(case)):
        yield made
    elif 300 <= reply.status < 400:
        yield from _redirect(case)
    elif reply.status >= 500:
        yield _own_error(case)
    elif reply.status >= 400:
        yield _refused(case, reply.status)


def _slow(case: Case) -> t.Iterator[Finding]:
    took = max(case.reply.seconds, case.seen.direct.seconds)
    if took > SLOW:
        other = "" if case.seen.instance.health else ", while its health page is quick"
        text = f"the app takes {took:.1f} s for this path{other}"
        yield Finding("answer", text, "see what this path waits for: a query, a lock, another service")


def _redirect(case: Case) -> t.Iterator[Finding]:
    where = case.reply.location
    if where.rstrip("/") == case.request.url.rstrip("/"):
        text = f"the answer redirects to itself: {where}"
        fix = "name what is in front of the host, and speaks HTTP to it, in nginx_proxy_trusted_proxies"
        yield Finding("answer", text, fix, certain=False)


def _own_error(case: Case) -> Finding:
    words, fix = split(case.seen.words)
    if found := _no_space(case, words):
        return found
    text = f"the app itself answers {case.reply.status}{f': {words[0]}' if words else ''}"
    blind = "" if case.seen.instance.health else ", which its health page does not see"
    same = case.seen.direct.status == case.reply.status
    return Finding("answer", text, fix or f"correct it in the app{blind}", tuple(words[1:6]), certain=same)


def _no_space(case: Case, words: t.Sequence[str]) -> Finding | None:
    """A full disk, where the app says that it could not write."""
    full = next(iter(case.seen.disks), None)
    return full_disk(full) if full and any("No space left" in line for line in words) else None


def _bad_gateway(case: Case) -> Finding | None:
    if line := case.logged(TOO_BIG):
        return Finding(
            "answer",
            "the headers of the app's answer are larger than nginx takes: too many or too large cookies",
            f"raise it: nginx: {{response_buffer_size: 64k}} (now {case.settings['response_buffer_size']})",
            line,
        )
    if line := case.logged(ENDED, "reset by peer"):
        return _cut_off(case, line)
    if line := case.logged(FULL):
        return Finding("instance", _BUSY, _BUSY_FIX, line)
    if line := case.logged(GONE, REFUSED):
        return Finding("instance", "nothing took nginx's connection to the app", "run site.yml", line)
    return None


def _cut_off(case: Case, line: tuple[str, ...]) -> Finding:
    """A worker that ended, or closed the connection, in the middle of a request."""
    text = "the app closed the connection in the middle of the request"
    if case.seen.words:  # it did so again when it was asked directly
        words, fix = split(case.seen.words)
        evidence = (*words[1:4], *line)
        return _no_space(case, words) or Finding("answer", f"{text}: {words[0]}", fix, evidence)
    ended = [fault for fault in case.seen.instance.faults if " was ended by " in fault["text"]]
    why = f"; of late, {ended[0]['text']}" if ended else ""
    return Finding("answer", f"{text}{why}", ended[0]["fix"] if ended else "see its journal", line, certain=False)


def _timeout(case: Case) -> Finding | None:
    limit = case.settings["read_timeout"]
    if case.seen.direct.status == 504:
        return None
    return Finding(
        "answer",
        f"the app did not answer within {limit} s (nginx: read_timeout)",
        "make it answer sooner, do the work in one of its workers:, or raise read_timeout and the server's time limit",
        case.logged(LATE),
    )


def _unavailable(case: Case) -> Finding | None:
    if case.seen.direct.status == 503:
        return None
    line = case.logged(FULL)
    return Finding("instance", _BUSY, _BUSY_FIX, line) if line else None


def _not_found(case: Case) -> Finding | None:
    path = case.request.path.partition("?")[0]
    for prefix in case.app["nginx"]["static"]:
        if path.startswith(f"/{prefix.strip('/')}/"):
            text = f"there is no such file among the static files of release {case.seen.instance.release}"
            return Finding("answer", text, f"static has {prefix}: {case.app['nginx']['static'][prefix]}; look there")
    if case.by_nginx:
        return Finding("nginx", "nginx refuses the path, which is written in another way than the app would read it")
    return Finding("answer", "the app has nothing at this path", "check the URL and the app's routes")


def _refused(case: Case, status: int) -> Finding:
    """A request that was refused with one of the statuses below 500."""
    text, fix = _refusal(case, status)
    by_app = not case.by_nginx and case.seen.direct.status == status
    if by_app:
        return Finding("answer", f"the app itself answers {status}", "see the app's own rules for this path")
    if not text or case.seen.nginx.edited:
        return Finding("nginx", f"nginx answers {status} by itself", "see its server block", certain=False)
    return Finding("nginx", text, fix, case.logged(*_LOGGED.get(status, ())))


# Why nginx refuses requests, by status, and how to have it take them; what stands in braces are settings.
_REFUSALS = {
    400: ("the request is malformed, or longer than nginx reads", "see what the client sends"),
    401: ("this path wants a password (basic_auth)", "send one of its users, or remove basic_auth"),
    403: ("nginx does not let this client in", "see allow, deny and client_verify of this path"),
    405: ("this path takes {methods} only", "add the method: nginx: {{methods: [...]}}"),
    408: ("the client took too long to send its request", "see client_header_timeout and client_body_timeout"),
    413: (
        "the request's body is larger than {client_max_body_size}",
        "raise it for this path: nginx: {{client_max_body_size: 100m}}",
    ),
    414: (
        "the URL is longer than {client_max_uri_size}",
        "send it in the body, or raise nginx_proxy_client_max_uri_size",
    ),
    429: (
        "the client exceeded a limit of this path (limit_requests: {limit_requests}, connections: {limit_connections})",
        "raise it, or have the client wait as Retry-After says",
    ),
    431: (
        "a header, such as that of the cookies, is longer than {client_max_header_size}",
        "remove cookies, or raise nginx_proxy_client_max_header_size",
    ),
    499: (
        "the client left before the app had answered",
        "make the app answer sooner; clients and balancers have time limits of their own",
    ),
}
# What the error log has of requests that got a status.
_LOGGED = {
    401: ("user ", "no user/password"),
    403: ("access forbidden",),
    413: ("intended to send too large body",),
    429: ("limiting requests", "limiting connections"),
    502: (TOO_BIG, ENDED, GONE, REFUSED, FULL),
    504: (LATE,),
}


def _refusal(case: Case, status: int) -> tuple[str, str]:
    text, fix = _REFUSALS.get(status, ("", ""))
    shown = {**case.app["nginx"], **case.settings}
    shown["methods"] = ", ".join(case.settings["methods"]) or "some methods"
    return text.format(**shown), fix.format(**shown)


_BY_STATUS: dict[int, t.Callable[[Case], Finding | None]] = {
    404: _not_found,
    502: _bad_gateway,
    503: _unavailable,
    504: _timeout,
}


def recent(case: Case) -> t.Iterator[Finding]:
    """What went wrong on this path within the last hour, when it does not now."""
    traffic = case.seen.traffic
    for status, sample in sorted(traffic.samples.items()):
        number = int(status)
        if number == case.reply.status:
            continue
        text, fix = _refusal(case, number)
        if number >= 500:
            text, fix = _recent_failure(case, number)
        if number == 404 or not text:
            continue
        ago = span(max(0.0, case.seen.when - sample["when"]))
        last = f"the last one {ago} ago: {sample['method']} by {sample['client']}, {sample['seconds']:.1f} s"
        evidence = (last, *case.logged(*_LOGGED.get(number, ())))
        count = traffic.statuses[status]
        cause = f"{count} request{'s' * (count > 1)} of the last hour got {status}: {text}"
        recent = sample["when"] if _well(case.reply) else 0.0
        yield Finding("answer", cause, fix, evidence, breaks=False, recent=recent)


def _recent_failure(case: Case, status: int) -> tuple[str, str]:
    journal = f"see its log: {case.seen.instance.read}"
    found = {502: _bad_gateway, 503: _unavailable, 504: _timeout}.get(status, lambda _case: None)(case)
    if found:
        return found.cause, found.fix
    return {
        502: ("the app gave no answer", journal),
        503: ("the app was closed for maintenance, busy, or said so itself", journal),
    }.get(status, ("the app failed", journal))


def _well(reply: Reply) -> bool:
    return 200 <= reply.status < 400 and reply.seconds <= SLOW
