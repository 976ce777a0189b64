"""Releases that are bad: the run fails in time and says why, and the old release never stops serving."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "shared"))

from troubles import GRACEFUL, TROUBLE

# What a host is asked for and does not have, likewise.
WISHES = {
    "a time that is none": (
        {"timers": [{"name": "tick", "command": "true", "on_calendar": "Fooday"}]},
        ['timers[0].on_calendar is "Fooday", which systemd does not take', "Mon..Fri 06:30"],
    ),
    "an address that is taken": ({"listen": "127.0.0.1:6379"}, ["listen is 127.0.0.1:6379", "has that port"]),
    "a Python that the host lacks": (
        {"python": {"version": "3.99"}},
        ['python.version is "3.99"', "this host does not have"],
    ),
}

# The runs on each host, and what is wrong there with which app. `api` has clients meanwhile.
RUNS = (
    {
        "d12": {"api": "ends after a while", "beta": "answers 500", "gamma": "boots too slowly"},
        "d13": {"api": "a worker that ends", "beta": "ends at once", "gamma": "a failing hook"},
    },
    {
        "d12": {"api": "never answers", "beta": "a hook without an end", "gamma": "cannot be imported"},
        "d13": {
            "api": "a failing hook afterwards",
            "beta": "a worker that is no program",
            "gamma": "imports too slowly",
        },
    },
)

# A process that is killed takes along what it is at: POSTs, which must not be sent twice, and answers half sent. The
# clients of the load have so many of those under way at most.
IN_FLIGHT = 4


@pytest.fixture
def deploy_bad(deploy_several):
    """Deploy apps to a host, each with what is wrong with it; the message must tell of each."""

    def deployed(host, troubles):
        run = deploy_several(host.name, {app: changes for app, (changes, _) in troubles.items()})
        assert run.code != 0, f"the run reports success:\n{run.output[-2000:]}"
        for app, (_, words) in troubles.items():
            for word in (text.replace("{app}", app) for text in ['app "{app}"', *words]):
                assert word in run.output, f"the message does not have {word!r}:\n{run.output[-6000:]}"
        return run

    return deployed


@pytest.mark.parametrize(
    "wrong", RUNS, ids=lambda run: ", ".join(name for troubles in run.values() for name in troubles.values())
)
def test_bad_releases(wrong, apps, on_all, client, deploy_bad, under_load, whole):
    def bad(host):
        troubles = {app: TROUBLE[name] for app, name in wrong[host.name].items()}
        before = {app: host.release(app) for app in apps}
        begin = host.run("date +%s")
        with under_load(host) as outcomes:
            started = time.monotonic()
            run = deploy_bad(host, troubles)
            seconds = time.monotonic() - started
        told = run.output.count("was not activated")
        assert told <= len(troubles), f"a message is shown twice:\n{run.output[-6000:]}"
        assert seconds < GRACEFUL, "the run waited for a release that nobody waits for"
        noticed = sum(count for outcome, count in outcomes.items() if outcome not in ("ok", "repeated"))
        kills = host.run(f"journalctl --since=@{begin} -u 'api@*' -o cat | grep -c 'Main process exited' || true")
        crashes = wrong[host.name]["api"] == "ends after a while"
        allowed = IN_FLIGHT * int(kills) if crashes else 0
        assert noticed <= allowed, f"clients noticed, while the server was killed {kills} times: {outcomes}"
        assert outcomes["ok"] > 100, outcomes
        assert {app: host.release(app) for app in apps} == before
        for app in ("beta", "gamma"):
            assert host.instance(app) == f"{app}@{before[app]}.service"
            assert client.get(host.url(app), "--insecure").json["release"] == before[app]
        whole(host)

    on_all(bad)


def test_what_a_host_does_not_have(hosts, deploy_bad, whole):
    """Each is told of in one run, and nothing is built."""
    host = hosts[0]
    before = host.run("ls /srv/api/builds")
    deploy_bad(host, dict(zip(("api", "beta", "gamma"), WISHES.values(), strict=True)))
    assert host.run("ls /srv/api/builds") == before
    whole(host)


def test_full_disk(on_all, deploy, whole):
    """Refused before anything is written, for a new build and for a new release alike."""
    on_all(lambda host: _full_disk(host, deploy, whole))


def _full_disk(host, deploy, whole):
    before = host.release("api")
    host.run("mkdir -p /root/keep && mv /srv/api /root/keep/ && mount -t tmpfs -o size=900m,mode=0755 tmpfs /srv")
    try:
        host.run(
            "cp -a /root/keep/api /srv/ && fallocate -l $(($(df -B1 --output=avail /srv | tail -1) - 20000000)) /srv/x"
        )
        for changes in ({"env": {"CHANGE": "disk"}}, {"python": {"packages": ["packaging==26.3"]}}):
            run = deploy(host.name, **changes)
            assert run.code != 0
            assert "/srv has " in run.output, run.output[-3000:]
            assert " MB free" in run.output, run.output[-3000:]
            whole(host)
    finally:
        host.run("umount --lazy /srv; mv /root/keep/api /srv/")
    assert host.release("api") == before
    whole(host)


def test_a_state_directory_that_cannot_be_written(on_all, deploy, whole):
    on_all(lambda host: _unwritable_state(host, deploy, whole))


def _unwritable_state(host, deploy, whole):
    before = host.release("api")
    host.run("mount --bind /var/lib/api /var/lib/api && mount -o remount,ro,bind /var/lib/api")
    try:
        run = deploy(host.name, env={"CHANGE": "state"})
        assert run.code != 0
        assert "Read-only file system" in run.output or "readonly" in run.output, run.output[-3000:]
    finally:
        host.run("umount /var/lib/api")
    assert host.release("api") == before
    whole(host)
