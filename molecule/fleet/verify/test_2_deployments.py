"""Deployments, under load at the floating address."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

LEAST = 30_000  # requests while releases change
RELEASE = {"health_path": "/healthz", "health_status": [200], "look_after": 0}


def releases(webs) -> list[str]:
    """The release in service on each host."""
    return [host.release("api") for host in webs]


def test_a_rolling_deployment_loses_nothing_and_the_others_wait_until_the_first_has_been_watched(
    play, under_load, floating, webs, changed_app
):
    before = releases(webs)
    apps = changed_app(env={"TROUBLE": "", "ROUND": str(time.time())}, release={**RELEASE, "bake": 5})
    with under_load(floating, pace=1.0) as load:
        ran = play(playbook="deploy", wsgi_apps=apps)
        time.sleep(1)
    assert ran.code == 0, ran.output
    assert all(now != old for now, old in zip(releases(webs), before, strict=True))
    first, *others = (float(host.run("stat --format %.3Y /srv/api/current")) for host in webs)
    assert min(others) - first >= 5
    assert load.failed() == {}


def test_a_broken_release_is_stopped_at_the_first_host(play, under_load, floating, webs, changed_app):
    before, kept = releases(webs), [host.run("ls /srv/api/releases") for host in webs[1:]]
    with under_load(floating, pace=0.5) as load:
        ran = play(playbook="deploy", wsgi_apps=changed_app(entrypoint="app:no_such_factory()"))
    assert ran.code != 0
    assert releases(webs) == before
    assert [host.run("ls /srv/api/releases") for host in webs[1:]] == kept, "others were touched"
    assert load.failed() == {}


def test_nginx_of_app_hosts_may_reload(under_load, floating, webs):
    """All at once, as in a run that changes their configuration, and again."""
    with under_load(floating) as load:
        for _ in range(3):
            with ThreadPoolExecutor(len(webs)) as pool:
                list(pool.map(lambda host: host.run("systemctl reload nginx"), webs))
            time.sleep(3)
    assert load.failed() == {}


def test_hosts_follow_in_batches_and_all_go_back_when_one_fails(play, under_load, floating, webs, named, changed_app):
    """What the last host cannot start, the others have no more either.

    The database is expanded once, by the first host, and contracted there once all hosts have the release.
    """
    before = releases(webs)
    command = "test ! -e /var/lib/api/unlucky"
    last = named["web3"]
    for host in webs:
        host.run("rm -f /var/lib/api/expanded /var/lib/api/contracted")
    last.run("touch /var/lib/api/unlucky")
    hooks = {"before_activate": "echo >>$HOME/expanded", "after_rollout": "touch $HOME/contracted"}
    apps = changed_app(
        env={"TROUBLE": "", "ROUND": str(time.time())},
        release={**RELEASE, **hooks, "start_timeout": 10, "after_activate": command, "all_or_nothing": True},
    )
    with under_load(floating, pace=0.6) as load:
        ran = play("-e", "release_batch=1", playbook="deploy", wsgi_apps=apps)
        assert ran.code != 0
        assert releases(webs) == before, ran.output
        assert "went back on web1, since it failed on web3" in ran.output
        assert all(host.try_("test -e /var/lib/api/contracted").returncode != 0 for host in webs)
        assert expanded(webs) == [1, 0, 0]
        last.run("rm /var/lib/api/unlucky")
        again = play("-e", "release_batch=1", playbook="deploy", wsgi_apps=apps)
    assert again.code == 0, again.output
    assert expanded(webs)[1:] == [0, 0], "others than the first have expanded"
    assert [host.try_("test -e /var/lib/api/contracted").returncode for host in webs] == [0, 1, 1]
    assert load.failed() == {}
    once_more = play(playbook="deploy", wsgi_apps=apps)
    assert (once_more.code, once_more.changed) == (0, [])


def expanded(webs) -> list[int]:
    """How often each host has run the hook before a release is activated."""
    return [int(host.run("cat /var/lib/api/expanded 2>/dev/null | wc -l")) for host in webs]


def test_all_of_this_was_under_load(sent, measured):
    count = sum(sent.values())
    measured(f"{count} requests while releases changed and nginx of app hosts reloaded, none of them failed")
    assert count >= LEAST
