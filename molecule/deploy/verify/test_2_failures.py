"""Releases that are bad: the run fails in time and says why, and the old release never stops serving."""

from __future__ import annotations

import time

import pytest

GRACEFUL = (
    180  # seconds that gunicorn gives its workers when it is asked to end: more than a run takes on a busy machine
)

# what is wrong: the change, words of the message
TROUBLE = {
    "cannot be imported": ({"env": {"TROUBLE": "import"}}, ["No module named 'no_such_module'", "app's requirements"]),
    "boots too slowly": (
        {"env": {"TROUBLE": "slow boot"}, "release": {"start_timeout": 3}, "gunicorn": {"preload": True}},
        ["timeout was exceeded"],
    ),
    "imports too slowly": (
        {"env": {"TROUBLE": "slow boot"}, "release": {"health_timeout": 4}},
        ["not healthy within 4 s"],
    ),
    "ends at once": ({"env": {"TROUBLE": "exits"}}, ["api@"]),
    "answers 500": (
        {"env": {"TROUBLE": "500"}, "release": {"health_timeout": 4}},
        ["not healthy within 4 s", "answered 500"],
    ),
    "never answers": (
        {
            "env": {"TROUBLE": "mute"},
            "release": {"health_timeout": 3},
            "gunicorn": {"graceful_timeout": GRACEFUL},
        },
        ["not healthy within 3 s"],
    ),
    "ends after a while": (
        {"env": {"TROUBLE": "crash"}, "release": {"bake": 6, "restart_sec": 1}},
        ["ended by itself"],
    ),
    "a failing hook": (
        {"release": {"before_activate": "echo no such table; false"}},
        ["before_activate failed", "no such table"],
    ),
    "a hook without an end": (
        {"release": {"before_activate": "sleep 600", "hook_timeout": 2}},
        ["before_activate failed", "timeout"],
    ),
    "a failing hook afterwards": (
        {"release": {"after_activate": "printf 'caf\\351: cache is cold\\n'; false"}},  # a byte that is no UTF-8
        ["after_activate failed", "cache is cold"],
    ),
    "a worker that ends": (
        # On a busy machine it takes some time to find that out.
        {
            "workers": [{"name": "celery", "command": "celery --app no_such_module worker"}],
            "release": {"worker_settle": 20},
        },
        ["api.celery@", "ended by itself", "no_such_module"],
    ),
    "a worker that is no program": (
        {"workers": [{"name": "celery", "command": "no-such-program"}]},
        ["api.celery@", "ended by itself", "no-such-program: not found"],
    ),
    "a time that is none": (
        {"timers": [{"name": "tick", "command": "true", "on_calendar": "Fooday"}]},
        ['timers[0].on_calendar is "Fooday", which systemd does not take', "Mon..Fri 06:30"],
    ),
    "an address that is taken": ({"listen": "127.0.0.1:6379"}, ["listen is 127.0.0.1:6379", "has that port"]),
    "a package that does not exist": (
        {"python": {"packages": ["no-such-package-of-anyone==1.0"]}},
        ["no-such-package-of-anyone"],
    ),
    "a Python that the host lacks": (
        {"python": {"version": "3.99"}},
        ['python.version is "3.99"', "this host does not have"],
    ),
}

# A process that is killed takes along what it is at: POSTs, which must not be sent twice, and answers half sent. The
# clients of the load have so many of those under way at most, and this one is killed twice.
IN_FLIGHT = 2 * 4


@pytest.mark.parametrize("names", zip(list(TROUBLE)[::2], list(TROUBLE)[1::2], strict=True), ids=", ".join)
def test_bad_releases(names, hosts, on_all, deploy, under_load, whole):
    """One on each host, at the same time."""

    def bad(host):
        name = names[hosts.index(host)]
        changes, words = TROUBLE[name]
        before = host.release("api")
        with under_load(host) as outcomes:
            started = time.monotonic()
            run = deploy(host.name, **changes)
        assert run.code != 0, f"the run reports success:\n{run.output[-2000:]}"
        for word in ['app "api"', *words]:
            assert word in run.output, f"the message does not have {word!r}:\n{run.output[-4000:]}"
        assert run.output.count("was not activated") <= 1, f"the message is shown twice:\n{run.output[-4000:]}"
        if name == "never answers":
            assert time.monotonic() - started < GRACEFUL, "the run waited for a release that nobody waits for"
        noticed = sum(count for outcome, count in outcomes.items() if outcome not in ("ok", "repeated"))
        assert noticed <= (IN_FLIGHT if name == "ends after a while" else 0), f"clients noticed: {outcomes}"
        assert outcomes["ok"] > 100, outcomes
        assert host.release("api") == before
        whole(host)

    on_all(bad)


def test_full_disk(host, deploy, whole):
    """Refused before anything is written, for a new build and for a new release alike."""
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


def test_a_state_directory_that_cannot_be_written(host, deploy, whole):
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


def test_a_release_that_fails_on_the_first_host_touches_no_other(hosts, play, api, whole):
    before = {host.name: (host.release("api"), host.run("ls /srv/api/releases"), host.history("api")) for host in hosts}
    api["env"] = {"TROUBLE": "500"}
    api["release"] |= {"health_timeout": 4}
    run = play(playbook="deploy", wsgi_apps=[api])
    assert run.code != 0
    assert "was not activated" in run.output
    first, second = hosts
    assert first.release("api") == before[first.name][0]
    after = (second.release("api"), second.run("ls /srv/api/releases"), second.history("api"))
    assert after == before[second.name], "the second host was touched"
    for host in hosts:
        whole(host)


def test_the_next_good_release_goes_live(hosts, play, api, whole):
    api["env"] = {"CHANGE": "good again"}
    run = play(playbook="deploy", wsgi_apps=[api])
    assert run.code == 0, run.output
    for host in hosts:
        whole(host)
