# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of what was seen. The faults themselves are made for real in the scenario ``explain``."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.explain.model import (
    Certificate,
    Disk,
    Instance,
    Nginx,
    Outside,
    Reply,
    Seen,
    Traffic,
    from_data,
)
from ansible_collections.webops.wsgi.plugins.plugin_utils.explain.case import Case, Finding
from ansible_collections.webops.wsgi.plugins.plugin_utils.explain.request import parse
from ansible_collections.webops.wsgi.plugins.plugin_utils.explain.screen import WIDTH, screen
from ansible_collections.webops.wsgi.plugins.plugin_utils.explain.verdict import findings, verdict
from render import app

NOW = 1_800_000_000.0
DAY = 86400.0
GOOD = Certificate(
    ("api.example.com",), "Let's Encrypt R11", NOW - DAY, NOW + 60 * DAY, fingerprint="f1"
)  # fmt: skip
SEEN = Seen(
    host="web1",
    when=NOW,
    asked=NOW - 1,
    answered=NOW + 2,
    addresses=("127.0.0.1", "192.0.2.10"),
    memory_free=1 << 30,
    nginx=Nginx("active", served="g1", live="g1", ports={"80": "nginx", "443": "nginx"}),
    on_disk=GOOD,
    on_wire=GOOD,
    instance=Instance("3", "api==1", "active", runs=True, unit="api@3.service", socket=True, listens=True),
    direct=Reply(200, 0.01),
    proxied=Reply(200, 0.01),
    traffic=Traffic(arrived=True, by_app=True),
)
OUTSIDE = Outside(NOW, "r1", ("192.0.2.10",), address="192.0.2.10", certificate=GOOD, reply=Reply(200, 0.02))


def case(
    seen: Seen = SEEN, outside: Outside = OUTSIDE, url: str = "https://api.example.com/items", **more: Any
) -> Case:
    api = app(**more)
    return Case(parse(url), api, api["nginx"], outside, seen, seen.traffic.arrived)


def cause(looked: Case) -> Finding:
    found = verdict(findings(looked))
    assert found, "nothing found"
    return found


def answered(status: int, by_app: bool = True, **more: Any) -> Case:
    """A case in which clients get a status, from the app or from nginx itself."""
    direct = Reply(status if by_app else 200, 0.01)
    seen = replace(SEEN, direct=direct, proxied=Reply(status), traffic=Traffic(arrived=True, by_app=by_app), **more)
    return case(seen, replace(OUTSIDE, reply=Reply(status, 0.02)))


def test_nothing_is_wrong() -> None:
    assert findings(case()) == []
    assert "none found" in screen(case(), [])


NOTHING = replace(
    SEEN,
    nginx=Nginx("inactive", test="nginx is not installed", site=False),
    instance=Instance(),
    direct=Reply(error="refused"),
    proxied=Reply(error="refused"),
    on_disk=Certificate(),
    on_wire=Certificate(),
    traffic=Traffic(),
)


@pytest.mark.parametrize("nginx", [NOTHING.nginx, Nginx("active", site=False, ports={"80": "nginx"})])
def test_a_host_to_which_nothing_has_been_deployed(nginx: Nginx) -> None:
    """Debian's own nginx or none: neither is what is wrong, and nobody has changed files by hand."""
    refused = replace(OUTSIDE, unreachable="Connection refused", reply=Reply(), certificate=Certificate())
    looked = case(replace(NOTHING, nginx=nginx), refused)
    (found,) = findings(looked)
    assert (found.cause, found.fix) == ('the app "api" is not deployed on this host', "run site.yml")
    assert "healthy" not in screen(looked, [found])
    assert "port      ?      443: Connection refused" in screen(looked, [found])


def test_an_app_whose_first_deployment_failed() -> None:
    failure = (
        "KeyError: 'DATABASE_URL'\n  app.py:3 in <module>\nFix: write it into env\napi@1.service exited unexpectedly"
    )
    looked = case(replace(NOTHING, instance=Instance(failed_after="1", failure=failure, read="journalctl -u api@1")))
    found = cause(looked)
    assert found.cause == 'the app "api" is not deployed on this host: release 1 failed'
    assert (found.evidence[0], found.fix) == ("KeyError: 'DATABASE_URL'", "write it into env")
    unknown = replace(looked.seen.instance, failure="api@1.service exited unexpectedly")
    fix = cause(case(replace(NOTHING, instance=unknown))).fix
    assert fix == "correct the app and run site.yml; see why: journalctl -u api@1"


def test_another_program_on_the_port_is_spoken_of_before_the_first_deployment() -> None:
    looked = case(replace(NOTHING, nginx=Nginx("inactive", site=False, ports={"443": "apache2"})), OUTSIDE)
    assert cause(looked).cause == "apache2 has port 443, not nginx"


def test_a_port_is_not_said_to_be_open_where_the_name_leads_nowhere() -> None:
    looked = case(NOTHING, Outside(NOW, unresolved="Name or service not known"))
    assert "443: not tried" in screen(looked, findings(looked))


def test_what_was_seen_survives_its_way_as_json() -> None:
    seen = replace(SEEN, disks=(Disk("/srv", 0, 5),), words=("a", "b"))
    assert from_data(Seen, json.loads(json.dumps(asdict(seen)))) == seen


def test_address_behind_which_the_host_is_told_from_another_machine() -> None:
    translated = replace(OUTSIDE, address="198.51.100.1", addresses=("198.51.100.1",))
    assert findings(case(outside=translated)) == []  # its request has arrived
    lost = case(replace(SEEN, traffic=Traffic(arrived=False)), translated)
    assert "something else answers there" in cause(lost).cause
    sampled = case(replace(SEEN, traffic=Traffic(arrived=False, logged=False)), translated)
    assert verdict(findings(sampled)) is None  # whether it has arrived is not known


def test_closed_port_of_an_address_that_is_not_the_hosts_is_no_firewall_of_the_host() -> None:
    closed = replace(OUTSIDE, address="198.51.100.1", unreachable="timed out", reply=Reply(), certificate=Certificate())
    looked = case(replace(SEEN, traffic=Traffic()), closed)
    assert cause(looked).step == "name"
    own = case(replace(SEEN, traffic=Traffic()), replace(closed, address="192.0.2.10"))
    assert "port 443 is closed on the way" in cause(own).cause


def test_clock_is_worth_knowing_but_breaks_nothing_alone() -> None:
    assert findings(case(replace(SEEN, asked=NOW - 600, answered=NOW + 600))) == []  # a slow look says nothing
    (found,) = findings(case(replace(SEEN, when=NOW + 7202)))
    assert found.cause == "the host's clock is 2 hours ahead of this machine's"
    assert not found.breaks


def test_certificate_of_something_in_front_of_the_host() -> None:
    front = Certificate(("api.example.com",), "a CDN", NOW - DAY, NOW + DAY, fingerprint="f2")
    (found,) = findings(case(outside=replace(OUTSIDE, certificate=front)))
    assert not found.breaks
    expired = replace(front, ends=NOW - 1)
    assert cause(case(outside=replace(OUTSIDE, certificate=expired))).breaks


def test_private_authority_is_no_fault_of_the_app() -> None:
    shown = replace(GOOD, distrust="unable to get local issuer certificate")
    (found,) = findings(case(outside=replace(OUTSIDE, certificate=shown)))
    assert not found.breaks
    assert cause(case(outside=replace(OUTSIDE, certificate=shown), tls="provided")).certain is False


@pytest.mark.parametrize("status", [401, 403, 405, 413, 414, 429, 431])
def test_refusal_of_nginx_is_told_from_the_apps_own(status: int) -> None:
    own, nginx = cause(answered(status)), cause(answered(status, by_app=False))
    assert own.cause == f"the app itself answers {status}"
    assert nginx.step == "nginx"
    assert nginx.cause != own.cause


def test_disk_is_the_cause_only_where_the_app_says_so() -> None:
    full = (Disk("/var/lib", 0, 1000),)
    words = ("OSError: [Errno 28] No space left on device", "app.py:3 in save: file.write(data)")
    assert "the disk of /var/lib is full" in cause(answered(500, disks=full, words=words)).cause
    other = cause(answered(500, disks=full, words=("KeyError: 'name'",)))
    assert other.cause == "the app itself answers 500: KeyError: 'name'"


def test_crash_whose_reason_may_be_another_is_not_certain() -> None:
    line = "upstream prematurely closed connection while reading response header from upstream"
    fault = {"text": "a worker was ended by SIGKILL", "fix": "raise release_memory_max", "count": 1}
    instance = replace(SEEN.instance, faults=(fault,))
    looked = answered(502, by_app=False, instance=instance)
    looked = replace(looked, seen=replace(looked.seen, traffic=replace(looked.seen.traffic, errors=(line,))))
    found = cause(looked)
    assert "of late, a worker was ended by SIGKILL" in found.cause
    assert not found.certain


def test_what_went_wrong_lately_does_not_hide_what_is_wrong_now() -> None:
    sample = {"413": {"when": NOW - 60, "client": "192.0.2.7", "method": "POST", "seconds": 0.1}}
    traffic = Traffic(True, True, statuses={"413": 3}, samples=sample)
    well = cause(case(replace(SEEN, traffic=traffic)))
    assert well.cause.startswith("3 requests of the last hour got 413")
    assert well.recent
    looked = answered(500, words=("KeyError: 'name'",))
    looked = replace(looked, seen=replace(looked.seen, traffic=traffic))
    assert cause(looked).cause == "the app itself answers 500: KeyError: 'name'"


def test_screen_is_narrow_and_names_the_step() -> None:
    looked = answered(500, words=("ValueError: " + "long " * 100, "app.py:3 in save: x"))
    shown = screen(looked, findings(looked)).splitlines()
    assert max(map(len, shown)) <= WIDTH
    assert [line.split()[:2] for line in shown[2:8]] == [
        ["name", "ok"],
        ["port", "ok"],
        ["TLS", "ok"],
        ["nginx", "ok"],
        ["instance", "ok"],
        ["answer", "FAULT"],
    ]


def test_server_block_edited_by_hand_may_be_why_nginx_answers_by_itself() -> None:
    edited = replace(SEEN.nginx, edited=True)
    found = cause(answered(410, by_app=False, nginx=edited))
    assert (found.cause, found.certain) == ("files of /etc/nginx/wsgi were changed by hand", False)
    assert cause(answered(410, nginx=edited)).cause == "the app itself answers 410"
    assert cause(answered(410, by_app=False)).cause == "nginx answers 410 by itself"
