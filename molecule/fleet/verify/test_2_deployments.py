"""Deployments, under load at the floating address."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from fleet_clients import served, spread_by


def releases(webs) -> list[str]:
    """The release in service on each host."""
    return [host.release("api") for host in webs]


def test_a_rolling_deployment_loses_nothing(play, under_load, floating, webs, changed_app):
    before = releases(webs)
    with under_load(floating, pace=1.0) as load:
        ran = play(playbook="deploy", wsgi_apps=changed_app(env={"TROUBLE": "", "ROUND": str(time.time())}))
        time.sleep(1)
    assert ran.code == 0, ran.output
    assert all(now != old for now, old in zip(releases(webs), before, strict=True))
    assert load.failed() == {}


def test_a_broken_release_is_stopped_at_the_first_host(play, under_load, floating, webs, changed_app):
    before, kept = releases(webs), [host.run("ls /srv/api/releases") for host in webs[1:]]
    with under_load(floating) as load:
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


def test_a_drained_host_gets_nothing_new_and_finishes_what_it_has(play, under_load, floating, named):
    host = named["web2"]
    with under_load(floating) as load:
        ran = play("-e", "host=web2", playbook="drain")
        assert ran.code == 0, ran.output
        time.sleep(2)
        before = served(host)
        time.sleep(3)
        assert served(host) == before, "it got requests after it was drained"
        again = play("-e", "host=web2", playbook="drain")
        assert (again.code, again.changed) == (0, [])
        back = play("-e", "host=web2", playbook="undrain")
        assert back.code == 0, back.output
        time.sleep(3)
        assert served(host) > before
    # nginx of a balancer reloads, and closes connections that clients keep open; a POST may be on its way on one.
    assert set(load.failed()) <= ({"post reset"} if spread_by() == "nginx" else set())


def test_a_host_that_is_needed_is_not_drained(play):
    """The app of two hosts would have none."""
    assert play("-e", "host=web2", playbook="drain").code == 0
    refused = play("-e", "host=web3", playbook="drain")
    assert refused.code != 0
    assert 'app "once": without web3' in refused.output
    assert play("-e", "host=web2", playbook="undrain").code == 0


def test_a_host_that_an_interrupted_run_has_drained_is_put_back(play, balancers):
    for host in balancers:
        host.run("mkdir -p /var/lib/wsgi-balancer/drained && echo run >/var/lib/wsgi-balancer/drained/web3")
    ran = play(playbook="site")
    assert ran.code == 0, ran.output
    for host in balancers:
        assert host.run("ls /var/lib/wsgi-balancer/drained") == ""
        assert host.try_("grep -w down /etc/nginx/wsgi/sites/api.conf").returncode != 0


def test_hosts_follow_in_batches_and_all_go_back_when_one_fails(play, webs, named, changed_app):
    """What the last host cannot start, the others have no more either; the hook after the rollout has not run."""
    before = releases(webs)
    release = {"health_path": "/healthz", "health_status": [200], "look_after": 0, "start_timeout": 10}
    command = "test ! -e /var/lib/api/unlucky"
    last = named["web3"]
    last.run("touch /var/lib/api/unlucky")
    hooks = {"after_activate": command, "after_rollout": "touch $HOME/contracted"}
    apps = changed_app(
        env={"TROUBLE": "", "ROUND": str(time.time())},
        release={**release, **hooks, "all_or_nothing": True},
    )
    ran = play("-e", "release_batch=1", playbook="deploy", wsgi_apps=apps)
    assert ran.code != 0
    assert releases(webs) == before, ran.output
    assert "went back on web1, since it failed on web3" in ran.output
    assert all(host.try_("test -e /var/lib/api/contracted").returncode != 0 for host in webs)
    last.run("rm /var/lib/api/unlucky")
    again = play("-e", "release_batch=1", playbook="deploy", wsgi_apps=apps)
    assert again.code == 0, again.output
    assert [host.try_("test -e /var/lib/api/contracted").returncode for host in webs] == [0, 1, 1]
    once_more = play(playbook="deploy", wsgi_apps=apps)
    assert (once_more.code, once_more.changed) == (0, [])
