# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One screen: the request's way, where it breaks, what shows it, what to do."""

from __future__ import annotations

import textwrap
import typing as t
from dataclasses import asdict

from ansible_collections.webops.wsgi.plugins.plugin_utils.explain.case import STEPS, Case, Finding
from ansible_collections.webops.wsgi.plugins.plugin_utils.explain.verdict import verdict

WIDTH = 100  # columns
NOTES = 5


def screen(case: Case, found: t.Sequence[Finding]) -> str:
    """What a person reads of one host."""
    cause = verdict(found)
    title = f"GET {case.request.url} on {case.seen.host}"
    lines = [title, "=" * len(title), *_way(case, found, cause), ""]
    if cause:
        lines += _paragraph(_label(cause), f"{cause.cause}.")
        lines += [line for text in cause.evidence for line in _paragraph("", text)]
        lines += _paragraph("Fix", f"{cause.fix}.") if cause.fix else []
    else:
        lines += _paragraph("Cause", "none found: the request is answered as it should be.")
    notes = [finding for finding in found if finding is not cause]
    if notes:
        lines += ["", "Also worth knowing:"]
        lines += [line for note in notes[:NOTES] for line in _note(note)]
    return "\n".join(lines)


def _label(cause: Finding) -> str:
    if cause.recent:
        return "Lately"
    return "Cause" if cause.certain else "Likely"


def data(case: Case, found: t.Sequence[Finding]) -> dict[str, t.Any]:
    """The same for machines."""
    cause = verdict(found)
    return {
        "host": case.seen.host,
        "app": case.name,
        "url": case.request.url,
        "status": case.reply.status,
        "verdict": asdict(cause) if cause else None,
        "findings": [asdict(finding) for finding in found],
        "seen": asdict(case.seen),
        "outside": asdict(case.outside),
    }


def _way(case: Case, found: t.Sequence[Finding], cause: Finding | None) -> t.Iterator[str]:
    broken = STEPS.index(cause.step) if cause and cause.breaks and cause.certain else len(STEPS)
    for number, step in enumerate(STEPS):
        wrong = [finding for finding in found if finding.step == step and finding.breaks]
        unknown = wrong or number > broken or (step in ("port", "TLS", "nginx") and not case.deployed)
        mark = "FAULT" if wrong and number == broken else "?" if unknown else "ok"
        text = textwrap.shorten(_seen(case, step), WIDTH - 20, placeholder=" …")
        yield f"  {step:<10}{mark:<7}{text}"


def _seen(case: Case, step: str) -> str:
    """What was seen of a step."""
    seen, outside, nginx = case.seen, case.outside, case.seen.nginx
    reply, instance = case.reply, case.seen.instance
    shown = outside.certificate if outside.certificate.fingerprint else seen.on_wire
    health = f"health: {instance.health}" if instance.health else "healthy"
    takes = "takes" if instance.listens else "takes no"
    runs = f"release {instance.release} is {instance.state}, {takes} connections, {health}"
    tried = "not tried" if outside.unresolved else outside.unreachable or "open"
    return {
        "name": f"{case.request.domain} leads to {', '.join(outside.addresses) or outside.address or 'nowhere'}",
        "port": f"{case.request.port}: {tried}; on the host: "
        + (", ".join(f"{port} {program}" for port, program in nginx.ports.items() if program) or "nobody listens"),
        "TLS": _certificate(case, shown) if case.request.scheme == "https" else "not used",
        "nginx": f"{nginx.active}, generation {nginx.served or 'unknown'}"
        + (", answered by itself" if case.by_nginx else ""),
        "instance": runs if instance.release else "no release",
        "answer": f"{reply.status or reply.error} after {reply.seconds:.2f} s; the app asked directly: "
        + f"{seen.direct.status or seen.direct.error or 'not asked'} after {seen.direct.seconds:.2f} s",
    }[step]


def _certificate(case: Case, shown: t.Any) -> str:
    if not shown.fingerprint:
        return str(shown.error or "no certificate seen")
    days = (shown.ends - case.outside.when) / 86400
    return f"{', '.join(shown.names)}, by {'itself' if shown.self_signed else shown.issuer}, {days:.0f} days left"


def _paragraph(label: str, text: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=f"{label + ':' if label else '':<8}", subsequent_indent=" " * 8,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _note(note: Finding) -> list[str]:
    text = f"{note.step}: {note.cause}" + (f". Fix: {note.fix}" if note.fix else "")
    text = textwrap.shorten(text, 2 * WIDTH, placeholder=" …")
    return textwrap.wrap(text, WIDTH, initial_indent="- ", subsequent_indent="  ", break_long_words=False)
