# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules about a request's way to nginx: clocks, name, port and certificate."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.webops.wsgi.plugins.module_utils.explain.model import Certificate
from ansible_collections.webops.wsgi.plugins.plugin_utils.explain.case import Case, Finding, day, moment, span

CLOCK = 5.0  # seconds by which clocks may differ
EXPIRING = 0.2  # of a certificate's life, see renewals at a third


def clock(case: Case) -> t.Iterator[Finding]:
    """The host's clock says a time between that when it was asked and that when it had answered."""
    seen = case.seen
    difference = min(seen.when - seen.asked, 0.0) or max(seen.when - seen.answered, 0.0)
    if abs(difference) > CLOCK:
        way = "ahead of" if difference > 0 else "behind"
        text = f"the host's clock is {span(abs(difference))} {way} this machine's"
        yield Finding(
            "TLS",
            text,
            "set the clock that is wrong: timedatectl set-ntp true; certificates, logs and signed tokens depend on it",
            (f"host: {moment(seen.when)}", f"here: {moment(seen.answered)}"),
            breaks=False,
        )


def name(case: Case) -> t.Iterator[Finding]:
    """The name leads to the host, or to what passes requests on to it."""
    outside = case.outside
    if outside.unresolved:
        text = f"{case.request.domain} has no address, as this machine sees it ({outside.unresolved})"
        hosts = ", ".join(_public(case.seen.addresses))
        yield Finding("name", text, f"add an A or AAAA record that leads to the host ({hosts})")
        return
    if outside.address in case.seen.addresses or case.arrived or not case.nginx_serves:
        return
    hosts = ", ".join(_public(case.seen.addresses))
    fix = f"let the name's records lead to the host ({hosts}), or what is at that address pass requests on to it"
    leads = f"{case.request.domain} leads to {outside.address}, which is not the host's"
    if outside.unreachable:
        evidence = (f"{outside.address} port {case.request.port}: {outside.unreachable}",)
        yield Finding("name", f"{leads}, and no connection comes about", fix, evidence)
    elif outside.reply.status and case.seen.traffic.logged:
        evidence = (f"it answered {outside.reply.status}, and the request is not in the host's access log",)
        yield Finding("name", f"{leads}, and something else answers there", fix, evidence)
    elif error := outside.certificate.error or outside.reply.error:
        yield Finding("name", f"{leads}, and there is no answer", fix, (error,), certain=False)


def port(case: Case) -> t.Iterator[Finding]:
    """nginx has the port, and clients reach it."""
    outside, nginx, port = case.outside, case.seen.nginx, _inside_port(case)
    holder = nginx.ports.get(str(port), "")
    if nginx.active == "active" and holder.startswith("nginx") and not outside.unreachable:
        return
    refused = f"{outside.address} port {case.request.port}: {outside.unreachable}" if outside.unreachable else ""
    evidence = tuple(filter(None, [refused]))
    if holder and not holder.startswith("nginx"):
        fix = f"stop {holder}, and start nginx: systemctl start nginx"
        yield Finding("port", f"{holder} has port {port}, not nginx", fix, evidence)
    elif not case.deployed:
        return
    elif nginx.active != "active":
        reason = f": {nginx.test}" if nginx.test else ""
        fix = "correct that and start it: systemctl start nginx" if nginx.test else "start it: systemctl start nginx"
        text = f"nginx does not run ({nginx.active or 'unknown'}){reason}"
        yield Finding("port", text, f"{fix}; a run of site.yml does both", evidence)
    elif not holder:
        text = f"nothing listens on port {port} of the host"
        yield Finding("port", text, "reload nginx, or run site.yml", evidence)
    elif outside.unreachable and outside.address in case.seen.addresses:
        yield Finding(
            "port",
            f"port {case.request.port} is closed on the way: nginx listens on the host and answers there",
            f"open it in the firewall, security group or address translation in front of {outside.address}",
            evidence,
        )


def tls(case: Case) -> t.Iterator[Finding]:
    """The certificate is one for the name that clients trust, and the one on disk."""
    if case.request.scheme != "https" or case.seen.nginx.active != "active" or not case.deployed:
        return
    wire, disk, now = case.seen.on_wire, case.seen.on_disk, case.outside.when or time.time()
    shown = case.outside.certificate if case.outside.certificate.fingerprint else wire
    if not shown.fingerprint:
        if case.nginx_serves or case.outside.unreachable:
            return
        text = f"nginx shows no certificate for {case.request.domain}: {shown.error or wire.error}"
        yield Finding("TLS", text, "run site.yml")
        return
    if wire.fingerprint and shown.fingerprint != wire.fingerprint:
        text = f"the certificate shown to clients is another one than nginx has: {_of(shown)}"
        fix = "renew or replace it where TLS ends in front of the host, such as a CDN or a balancer"
        yield Finding("TLS", text, fix, (f"nginx has: {_of(wire)}",), breaks=_bad(shown, case, now))
        return
    yield from _own_certificate(case, wire, disk, now)


def _own_certificate(case: Case, wire: Certificate, disk: Certificate, now: float) -> t.Iterator[Finding]:
    renewed = disk.fingerprint and disk.fingerprint != wire.fingerprint
    evidence = (f"shown: {_of(wire)}", *((f"on disk: {_of(disk)}",) if renewed else ()))
    if renewed:
        text = "nginx shows another certificate than the one on disk: it was not reloaded"
        yield Finding("TLS", text, "systemctl reload nginx, or run site.yml", evidence, breaks=_bad(wire, case, now))
    elif wire.ends < now:
        text = f"the certificate expired on {day(wire.ends)}"
        yield Finding("TLS", text, _renewal(case), evidence)
    elif wire.begins > now:
        text = f"the certificate is not valid before {moment(wire.begins)}"
        yield Finding("TLS", text, "check the clocks of this machine, of the host and of who issued it", evidence)
    elif not _covers(wire, case.request.domain):
        text = f"the certificate is not for {case.request.domain}, but for {', '.join(wire.names) or 'no name'}"
        yield Finding("TLS", text, _renewal(case), evidence)
    elif wire.self_signed and case.app["tls"] == "letsencrypt":
        text = "the authority has not issued a certificate yet: nginx shows a placeholder"
        fix = "run site.yml, which says why; the names must lead to the host, and port 80 must be open"
        yield Finding("TLS", text, fix, evidence)
    elif case.outside.certificate.distrust and case.app["tls"] != "selfsigned":
        text = f"clients do not trust the certificate: {case.outside.certificate.distrust}"
        fix = "send the authorities between it and the root with it (certificate.cert), or have clients trust the root"
        # Of a private authority this machine need not know.
        yield Finding("TLS", text, fix, evidence, certain=False, breaks=case.app["tls"] == "provided")
    elif wire.ends - now < EXPIRING * (wire.ends - wire.begins):
        text = f"the certificate ends on {day(wire.ends)}, and was not renewed"
        yield Finding("TLS", text, _renewal(case), evidence, breaks=False)


def _bad(certificate: Certificate, case: Case, now: float) -> bool:
    return not certificate.begins <= now < certificate.ends or not _covers(certificate, case.request.domain)


def _renewal(case: Case) -> str:
    if case.app["tls"] == "letsencrypt":
        return "run site.yml, which asks for another one and says why when it gets none; certbot's log tells more"
    return "provide another one with certificate:, and run site.yml"


def _inside_port(case: Case) -> int:
    return int(case.app["nginx"][f"{case.request.scheme}_port"])


def _covers(certificate: Certificate, name: str) -> bool:
    parent = "*." + name.partition(".")[2]
    return name in certificate.names or parent in certificate.names


def _public(addresses: t.Iterable[str]) -> list[str]:
    return [address for address in addresses if not address.startswith(("127.", "::1", "fe80:"))]


def _of(certificate: Certificate) -> str:
    who = "itself" if certificate.self_signed else certificate.issuer
    return f"for {', '.join(certificate.names) or 'no name'}, by {who}, until {day(certificate.ends)}"
