"""What one app finds of the others on its host, from inside its sandbox."""

from __future__ import annotations

import pytest
from testbed import labs


@pytest.mark.parametrize(
    "path",
    [
        "etc/wsgi",
        "etc/wsgi/below/gunicorn.conf.py",
        "etc/wsgi.d",
        "etc/nginx",
        "etc/nginx/wsgi/sites/below.conf",
        "etc/letsencrypt",
        "var/log/nginx",
        "var/log/nginx/below.access.log",
        "srv/below",
        "srv/below/history.jsonl",
        "srv/below/current/app/src",
    ],
)
def test_nothing_of_another_app(host, client, path):
    seen = client.get(host.url("probe", f"/looks/{path}")).json
    assert seen.get("error") in ("Permission denied", "No such file or directory"), seen


def test_of_srv_an_app_sees_its_own_directory(host, client):
    assert client.get(host.url("probe", "/looks/srv")).json == {"found": ["probe"]}
    assert "found" in client.get(host.url("probe", "/looks/srv/probe/current/app/src")).json


def test_what_others_may_read_without_a_sandbox(host):
    """A program of the app's user that runs outside of it, say by cron."""
    for path in ("/etc/wsgi/", "/etc/nginx/wsgi/", "/var/log/nginx/below.access.log"):
        done = host.try_(f"runuser -u probe -- cat {path} 2>&1; runuser -u probe -- ls {path} 2>&1 >/dev/null")
        assert "Permission denied" in done.stdout, f"{path}: {done.stdout}"


def test_logs_are_closed_from_their_first_line(host):
    modes = host.run("stat -c '%a %U %G %n' /var/log/nginx/*.log").splitlines()
    assert {" ".join(line.split()[:3]) for line in modes} == {"640 www-data adm"}, modes


def test_a_log_that_was_open_is_closed_by_the_next_run(play, hosts):
    for host in hosts:
        host.run("cd /var/log/nginx && chmod 644 below.access.log && cp below.access.log below.access.log.1")
    predicted = play("--check")
    run = play()
    assert (predicted.code, run.code) == (0, 0), run.output
    expected = [[host.name, "webops.wsgi.nginx_proxy : Configure nginx as one tree"] for host in hosts]
    assert sorted(predicted.changed) == sorted(run.changed) == expected
    for host in hosts:
        assert host.run("stat -c %a /var/log/nginx/below.access.log*").split() == ["640", "640"]
        host.run("rm /var/log/nginx/below.access.log.1")


def test_rotation_keeps_them_closed(host, client):
    host.run("logrotate --force /etc/logrotate.d/nginx")
    assert client.get(host.url("probe")).status == 200
    labs.wait_for(lambda: host.run("wc -l </var/log/nginx/probe.access.log") != "0", "a line in the new log")
    modes = host.run("stat -c %a /var/log/nginx/*.log /var/log/nginx/*.log.1").split()
    assert set(modes) == {"640"}
