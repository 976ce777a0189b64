"""Hosts that fail, under load at the floating address."""

from __future__ import annotations

import subprocess
import time
from contextlib import suppress

import pytest
from fleet_clients import DOMAIN, SAFE, spread_by

# Seconds after which a host that answers nothing has been given up: HAProxy asks three times, and waits each time;
# nginx waits as long as its requests may take, here 12 seconds.
KNOWN = 13


def docker(*arguments: str) -> None:
    subprocess.run(["docker", *arguments], check=True, capture_output=True)


def wait_until(condition, seconds: float = 60) -> float:
    """Wait until a condition holds; how long it took."""
    began = time.monotonic()
    while time.monotonic() < began + seconds:
        with suppress(AssertionError):
            if condition():
                return time.monotonic() - began
        time.sleep(0.1)
    raise AssertionError(f"waited {seconds} s in vain")


def booted(host) -> bool:
    state = host.try_("systemctl is-system-running").stdout.strip()
    return state in ("running", "degraded")


def test_a_host_is_killed(under_load, floating, named, measured):
    host = named["web3"]
    with under_load(floating) as load:
        killed = time.time()
        docker("kill", host.container)
        time.sleep(8)
        docker("start", host.container)
        wait_until(lambda: booted(host))
        time.sleep(3)
    assert load.failed(*SAFE[:2], after=killed + 3) == {}, "safe requests failed after the host was known to be dead"
    measured(f"failed in all: {dict(load.failed())}")
    assert sum(load.failed().values()) <= 20, load.failed()


def test_the_app_of_a_host_ends(under_load, floating, named, measured):
    """Its nginx, which could be the fastest of all with an error, does not answer for it."""
    host = named["web3"]
    unit = host.instance("api")
    with under_load(floating) as load:
        host.run(f"systemctl stop {unit}")
        time.sleep(6)
        host.run(f"systemctl start {unit}")
        time.sleep(3)
    measured(f"failed in all: {dict(load.failed())}")
    assert load.failed(*SAFE[:2]) == {}


def test_the_link_to_a_host_is_cut(under_load, floating, named, measured):
    host = named["web2"]
    with under_load(floating) as load:
        cut = time.time()
        host.run(
            "nft add table inet cut; nft add chain inet cut i '{ type filter hook input priority -10; policy drop; }'"
        )
        time.sleep(8)
        host.run("nft delete table inet cut")
        time.sleep(3)
    assert load.failed(after=cut + 5) == {}
    before, slow = load.percentile(0.99, 0, cut), load.percentile(0.99, cut + 4, cut + 8)
    measured(f"p99 {before:.0f} ms before, {slow:.0f} ms from 4 s after the cut")
    assert slow < max(1000, 3 * before)


def test_the_balancer_with_the_address_is_killed(under_load, floating, holder, measured):
    (active,) = holder()
    with under_load(floating, "get-new", "get-new", "post-new", pace=1.0) as load:
        docker("kill", active.container)
        took = wait_until(lambda: holder() and active not in holder(), 10)
        time.sleep(2)
        docker("start", active.container)
        wait_until(lambda: booted(active))
        time.sleep(3)
    measured(f"the address moved in {took:.2f} s, clients were without answers for {load.gap():.2f} s")
    assert took <= 2
    assert load.gap() <= 2
    assert len(holder()) == 1, "the one that came back did not take the address"
    assert holder() != [active]


# Fails unless a balancer's program is known to have loaded what is on disk.
LOADED = {
    "haproxy": "cat /etc/haproxy/wsgi/conf/*.cfg | cmp - /run/haproxy/wsgi-loaded",
    "nginx": "curl -s -H 'Host: generation.wsgi.internal' http://127.0.0.1/generation"
    " | grep -x $(basename $(readlink -f /etc/nginx/wsgi))",
}


def test_after_a_boot_it_is_known_what_a_balancer_has_loaded(balancers):
    """Or the first drain would restart HAProxy, and a run reload nginx."""
    for host in balancers:
        host.run(LOADED[spread_by()])


@pytest.mark.parametrize("program", sorted({"nginx", spread_by()}))
def test_a_program_of_the_balancer_with_the_address_fails(holder, measured, program):
    (active,) = holder()
    active.run(f"systemctl stop {program}")
    took = wait_until(lambda: active not in holder() and len(holder()) == 1, 10)
    measured(f"the address moved in {took:.2f} s")
    active.run(f"systemctl start {program}")
    time.sleep(3)
    assert len(holder()) == 1


def test_keepalived_restarts(balancers, holder):
    """However it is restarted, one balancer has the address in the end."""
    for host in balancers:
        host.run("systemctl restart keepalived")
        time.sleep(3)
        assert len(holder()) == 1
    for host in balancers:
        host.run("systemctl reload keepalived")
    time.sleep(3)
    assert len(holder()) == 1


def test_an_address_that_is_no_longer_wanted_is_given_up(play, holder):
    ran = play("--limit", "balancers", balancer_floating_addresses=[])
    left = holder()
    back = play("--limit", "balancers")
    assert (ran.code, back.code) == (0, 0), ran.output + back.output
    assert left == []
    wait_until(lambda: len(holder()) == 1, 10)


def test_a_deployment_leaves_a_host_behind_that_cannot_be_reached_and_the_next_one_does_not(
    play, without, named, webs, changed_app
):
    lost = named["web3"]
    old = lost.release("api")
    docker("kill", lost.container)
    apps = changed_app(env={"TROUBLE": "", "ROUND": str(time.time())})
    try:
        ran = play(playbook="deploy", inventory=without(lost.name, named=True), wsgi_apps=apps)
        reached = [host.release("api") for host in webs if host is not lost]
    finally:
        docker("start", lost.container)
        wait_until(lambda: booted(lost))
    assert ran.code != 0
    assert old not in reached, ran.output
    assert lost.release("api") == old
    again = play(playbook="deploy", wsgi_apps=apps)
    assert again.code == 0, again.output
    assert {host for host, _task in again.changed} == {lost.name}
    assert lost.release("api") != old


def test_the_balancer_that_asks_for_certificates_is_lost(play, without, client, balancers, changed_app):
    """The other one gets a new name's from then on, and gives it to the first when that is back."""
    first, other = balancers
    also = f"also.{DOMAIN.partition('.')[2]}"
    apps = changed_app(domains=[DOMAIN, also])
    docker("kill", first.container)
    try:
        ran = play(inventory=without(first.name, named=True), wsgi_apps=apps)
        answer = client.get(f"https://{also}/")
    finally:
        docker("start", first.container)
        wait_until(lambda: booted(first))
    assert answer.status == 200, ran.output
    back = play(wsgi_apps=apps)
    assert back.code == 0, back.output
    shown = {client.certificate(also, host.ipv4) for host in (first, other)}
    assert len(shown) == 1
    assert also in shown.pop()


def test_balancers_that_did_not_hear_of_each_other_agree_again(balancers, holder):
    one, other = balancers
    # VRRP by its number: not every host has /etc/protocols.
    rule = "nft add table inet split; nft add chain inet split i '{ type filter hook input priority -10; }'"
    for host in balancers:
        host.run(f"{rule}; nft add rule inet split i ip protocol 112 drop")
    wait_until(lambda: len(holder()) == 2, 10)
    for host in balancers:
        host.run("nft delete table inet split")
    wait_until(lambda: len(holder()) == 1, 10)
    assert one is not other


def test_a_host_is_frozen(under_load, floating, named, measured):
    """It takes connections and answers nothing: HAProxy finds out by asking, nginx alone by requests that it leaves."""
    host = named["web3"]
    with under_load(floating) as load:
        frozen = time.time()
        docker("pause", host.container)
        time.sleep(20)
        docker("unpause", host.container)
        time.sleep(5)
    measured(f"failed in all: {dict(load.failed())}; of safe requests {dict(load.failed(*SAFE))}")
    before, after = load.percentile(0.99, 0, frozen), load.percentile(0.99, frozen + KNOWN, frozen + 20)
    measured(f"p99 {before:.0f} ms before, {after:.0f} ms from {KNOWN} s after it was frozen")
    assert load.failed("get", "get-new") == {}
    if spread_by() == "haproxy":
        assert load.failed(after=frozen + KNOWN) == {}
    assert after < max(1000, 3 * before)
