"""Hosts that leave and come back, under load at the floating address."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import time

from fleet_clients import DOMAIN, SAFE, last_begun, served, spread_by, took_over

DRAINED = "/var/lib/wsgi-balancer/drained"


def may_fail() -> set[str]:
    """What clients may see when balancers reload: nginx closes connections that clients keep open, and a POST may be on
    its way on one."""
    return {"post reset"} if spread_by() == "nginx" else set()


def test_a_drained_host_gets_nothing_new_and_finishes_what_it_has_and_the_last_one_is_not_drained(
    play, client, under_load, floating, named, balancers, measured
):
    """Nor does a client come that its cookie leads there."""
    host = named["web2"]
    stays = f"curl -sf -o /dev/null --cacert {client.root} -b fleet={mark(host)} https://once.example.test/"
    processes = since(balancers)
    with under_load(floating) as load:
        client.shell(stays)
        try:
            ran = play("-e", "host=web2", playbook="drain")
            assert ran.code == 0, ran.output
            known = max(map(took_over, balancers))
            # Uploads that balancers were receiving take three seconds, and the log is written once a second.
            time.sleep(max(0, known + 4.5 - time.time()))
            before, cookies = served(host), served(host, "once")
            client.shell(f"for i in $(seq 5); do {stays}; done")
            time.sleep(3)
            assert served(host) == before, "it got requests after it was drained"
            assert served(host, "once") == cookies >= 1
            late = last_begun(host) - known
            measured(f"the last request began {late:.1f} s after the last balancer knew that the host was drained")
            assert late <= 1
            again = play("-e", "host=web2", playbook="drain")
            assert (again.code, again.changed) == (0, [])
            shown = play(playbook="status")
            assert shown.code == 0, shown.output
            assert re.search(r"web2.* drained", shown.output), shown.output
            needed = play("-e", "host=web3", playbook="drain")
            assert needed.code != 0, "the app of two hosts would have none"
            assert 'app "once": without web3' in needed.output
        finally:
            back = play("-e", "host=web2", playbook="undrain")
        assert back.code == 0, back.output
        time.sleep(3)
        assert served(host) > before
    assert set(load.failed()) <= may_fail()
    assert since(balancers) == processes, "HAProxy was reloaded"


def test_a_run_without_a_balancer_does_not_touch_a_host_that_it_could_not_drain(play):
    for options, playbook in ((["-e", "host=web2"], "drain"), ([], "reboot"), ([], "upgrade")):
        ran = play("--limit", "lb1:web2", *options, playbook=playbook)
        assert ran.code != 0
        assert ran.changed == []
        assert "--limit leaves out lb2" in ran.output


def mark(host) -> str:
    """What a client's cookie says of a host."""
    return hashlib.sha256(host.name.encode()).hexdigest()[:12]


def since(balancers) -> list[str]:
    """When HAProxy's process on each balancer began, where there is one."""
    asked = "curl -s http://127.0.0.1:8404/metrics | grep ^haproxy_process_start_time_seconds || true"
    return [host.run(asked) for host in balancers]


def test_a_host_that_an_interrupted_run_has_drained_is_put_back(play, command, client, balancers, named):
    """The run is killed as soon as the first balancer has noted it."""
    asked = command("--limit", "balancers:web3", playbook="upgrade")
    run = subprocess.Popen(
        asked, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    ends = time.monotonic() + 60
    while balancers[0].try_(f"test -e {DRAINED}/web3").returncode and time.monotonic() < ends:
        time.sleep(0.1)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert balancers[0].run(f"cat {DRAINED}/web3") == "run"
    ran = play(playbook="site")
    assert ran.code == 0, ran.output
    for host in balancers:
        assert host.run(f"ls {DRAINED}") == ""
        files = "/etc/nginx/wsgi/sites/api.conf /etc/haproxy/wsgi/conf/*.cfg"
        assert host.try_(f"grep -sE ' down|weight 0' {files}").stdout == ""
    before = served(named["web3"])
    client.shell(f"for i in $(seq 30); do curl -s -o /dev/null --cacert {client.root} https://{DOMAIN}/; done")
    time.sleep(1.5)
    assert served(named["web3"]) > before


def etag(balancer, host) -> str:
    """What an app host says of a static file."""
    asked = f"curl -sf -o /dev/null -D - -H 'Host: {DOMAIN}' http://{host.ipv4}/static/style.css"
    return balancer.run(f"{asked} | grep -i ^etag:")


def test_a_host_leaves_the_fleet_and_another_one_joins(
    play, under_load, floating, named, webs, without, tmp_path, monkeypatch
):
    """As a person does it: out of the group and back into it, `site.yml` each time.

    The other one is added from a controller that has not sent the source before; ETags of static files do not show it.
    """
    host = named["web3"]
    with under_load(floating) as load:
        left = play(inventory=without("web3"))
        assert left.code == 0, left.output
        time.sleep(2.5)
        before = served(host)
        time.sleep(2)
        assert served(host) == before, "it got requests after it had left"
        host.run("systemctl stop nginx 'api@*' 'once@*'; rm -r /srv/api /srv/once")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        joined = play()
        assert joined.code == 0, joined.output
        time.sleep(3)
        assert served(host) > before
    assert set(load.failed()) <= may_fail()
    assert len({etag(named["lb1"], one) for one in webs}) == 1


def test_updates_of_debian_lose_nothing(play, under_load, floating, named):
    """One of the hosts says that it takes a reboot."""
    host = named["web2"]
    boot = host.run("cat /proc/sys/kernel/random/boot_id")
    host.run("touch /run/reboot-required")
    with under_load(floating) as load:
        ran = play("--limit", "balancers:web2", playbook="upgrade")
        time.sleep(1)
    assert ran.code == 0, ran.output
    assert host.run("cat /proc/sys/kernel/random/boot_id") != boot
    assert load.failed(*SAFE[:2]) == {}


def test_hosts_reboot_one_after_the_other(play, under_load, floating, hosts, balancers, measured):
    """What clients lose is what a balancer had in progress when its address moved."""
    boots = [host.run("cat /proc/sys/kernel/random/boot_id") for host in hosts]
    began = time.monotonic()
    with under_load(floating) as load:
        ran = play(playbook="reboot")
        time.sleep(1)
    assert ran.code == 0, ran.output
    measured(f"five hosts rebooted in {time.monotonic() - began:.0f} s")
    now = [host.run("cat /proc/sys/kernel/random/boot_id") for host in hosts]
    assert all(after != before for after, before in zip(now, boots, strict=True))
    assert [host.run(f"ls {DRAINED}") for host in balancers] == ["", ""]
    assert load.gap() <= 2
    assert sum(load.failed().values()) <= 30, load.failed()
