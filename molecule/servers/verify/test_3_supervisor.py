"""A host whose apps Supervisor runs: what is not the same there, and the way to systemd and back."""

from __future__ import annotations

import re
from typing import Any

import pytest
from testbed import labs

ENOUGH = 1_000  # requests, on the fastest machine
KINDS = "get,get,get-new,post,post-new,slow,stream,upload"
# What systemd and Supervisor must hand on as it is.
VALUES = {
    "PERCENT": "%n %(x)s 100%",
    "SEMICOLON": "a ; b;c",
    "QUOTES": "\"double\" 'single' `id` $HOME",
    "BACKSLASHES": "\\n at the end \\",
    "LINES": '-----BEGIN-----\nNAME="x"\n-----END-----\n',
    "SPACE": " lead and trail ",
}
UNITS = "systemctl list-units --plain --no-legend --state=active 'front@*'"
LEFT = "ls /etc/systemd/system /etc/systemd/system/*.wants | grep -F front || true"


@pytest.fixture
def host(hosts: list[Any]) -> Any:
    return next(host for host in hosts if host.supervised)


@pytest.fixture
def front(apps) -> dict[str, Any]:
    return apps["front"]


def test_values_arrive_as_they_are_and_are_in_no_list_of_processes(host, play, front):
    wanted = {**front, "secrets": VALUES}
    try:
        run = play("--limit", host.name, playbook="deploy", wsgi_apps=[wanted])
        assert run.code == 0, run.output[-6000:]
        program = host.instance("front")
        environment = host.run(f"cat /proc/$(supervisorctl pid {program})/environ | tr '\\0' '\\1'")
        found = dict(variable.split("=", 1) for variable in environment.split("\1") if "=" in variable)
        assert {name: found.get(name) for name in VALUES} == VALUES
        places = "/etc/supervisor /var/log/wsgi /var/log/supervisor /run/wsgi-supervisor /run/front"
        assert not host.try_(f"grep -rlF 'BEGIN-----' {places}").stdout
        assert "BEGIN" not in host.run("ps -eo args").replace("grep", "")
        assert host.run("stat -c '%a %U' /srv/front/current/etc/environment") == "600 root"
    finally:
        play("--limit", host.name, playbook="deploy", wsgi_apps=[front])


def test_workers_and_hooks_run_and_what_fails_is_told_with_its_last_words(host, play, front):
    release = front["release"]
    wanted = {
        **front,
        "workers": [{"name": "queue", "command": "sleep 1000", "replicas": 2}],
        "release": {**release, "before_activate": "echo migrated as $(id -un)"},
    }
    run = play("--limit", host.name, playbook="deploy", wsgi_apps=[wanted])
    assert run.code == 0, run.output[-6000:]
    number = host.release("front")
    programs = host.try_("supervisorctl status").stdout
    for program in (f"front.queue.1@{number}", f"front.queue.2@{number}"):
        assert re.search(rf"^{re.escape(program)} +RUNNING", programs, re.MULTILINE), programs
    assert host.run(f"cat /var/log/wsgi/front/front.before-activate@{number}.log") == "migrated as front"
    broken = {**wanted, "release": {**release, "before_activate": "echo no such table; exit 3"}}
    run = play("--limit", host.name, playbook="deploy", wsgi_apps=[broken])
    assert run.code != 0
    assert 'app "front": before_activate failed' in run.output
    assert "no such table" in run.output
    assert host.instance("front") == f"front@{number}"
    run = play("--limit", host.name, playbook="deploy", wsgi_apps=[front])
    assert run.code == 0, run.output[-6000:]
    assert "front.queue" not in host.try_("supervisorctl status").stdout


def test_a_host_goes_to_systemd_and_back_without_a_lost_request(host, play, front, under_load, nothing_failed):
    asked = ("--name", host.domain("front"), "--ca", "/root/ca.pem", "--clients", KINDS, "--pace", "0.6")
    with under_load(host, *asked) as outcomes:
        for manager in ("systemd", "supervisor"):
            run = play("--limit", host.name, playbook="deploy", wsgi_apps=[front], release_manager=manager)
            assert run.code == 0, f"to {manager}: {run.output[-6000:]}"
            number = host.release("front")
            program = host.try_("supervisorctl status").stdout
            units = host.run(UNITS)
            if manager == "systemd":
                assert "front@" not in program
                assert units.startswith(f"front@{number}.service")
            else:
                assert f"front@{number}" in program
                assert (units, host.run(LEFT)) == ("", "")
    print(outcomes)
    assert nothing_failed({"front": outcomes}) >= ENOUGH, outcomes


def test_a_release_goes_back_to_the_manager_it_was_made_for(host, play, front):
    run = play("--limit", host.name, playbook="deploy", wsgi_apps=[front], release_manager="systemd")
    assert run.code == 0, run.output[-6000:]
    of_systemd = host.release("front")
    run = play("--limit", host.name, playbook="deploy", wsgi_apps=[front])
    assert run.code == 0, run.output[-6000:]
    asked = ("--limit", host.name, "-e", "app=front", "-e", f"release={of_systemd}")
    run = play(*asked, playbook="rollback", wsgi_apps=[front])
    assert run.code == 0, run.output[-6000:]
    assert host.run(UNITS).startswith(f"front@{of_systemd}.service")
    assert "front@" not in host.try_("supervisorctl status").stdout
    run = play("--limit", host.name, playbook="deploy", wsgi_apps=[front])
    assert run.code == 0, run.output[-6000:]
    assert (host.run(LEFT), host.instance("front")) == ("", f"front@{host.release('front')}")


def test_a_supervisord_that_is_killed_ends_nothing_and_the_next_run_brings_it_back(host, play, front, ask):
    before = host.run("pgrep -o -u front")
    host.run("systemctl kill --kill-whom=main --signal=KILL supervisor; systemctl stop supervisor")
    assert ask(host, "front").status == 200
    assert host.run("pgrep -o -u front") == before
    run = play("--limit", host.name, playbook="deploy", wsgi_apps=[front])
    assert run.code == 0, run.output[-6000:]
    labs.wait_for(lambda: ask(host, "front").status == 200, "an answer of front")
    assert host.instance("front") == f"front@{host.release('front')}"
    assert host.run("pgrep -o -u front") != before, "what it left goes on without a log"
    run = play("--limit", host.name, playbook="deploy", wsgi_apps=[front])
    assert (run.code, run.changed) == (0, []), run.output[-6000:]


def test_what_supervisor_does_not_have_is_refused_before_the_host_is_touched(host, play, front):
    wanted = {**front, "credentials": {"key": "x"}, "listen": "127.0.0.1:8123"}
    run = play("--limit", host.name, playbook="deploy", wsgi_apps=[wanted])
    assert run.code != 0
    for words in ('app "front": credentials is set, and Supervisor', 'app "front": listen is set, and Supervisor'):
        assert words in run.output
    assert "no host was touched" in run.output


def test_an_app_that_is_absent_leaves_nothing(host, play, apps):
    place = {"name": "passing", "below": "front", "path": "/passing"}
    extra = {**{key: value for key, value in apps["front"].items() if key != "domains"}, **place}
    run = play("--limit", host.name, wsgi_apps=[*apps.values(), extra])
    assert run.code == 0, run.output[-6000:]
    assert host.instance("passing") == "passing@1"
    gone = {"name": "passing", "state": "absent", "purge": True}
    run = play("--limit", host.name, wsgi_apps=[*apps.values(), gone])
    assert run.code == 0, run.output[-6000:]
    assert "passing" not in host.try_("supervisorctl status").stdout
    # A configuration tree keeps its generation before.
    kept = "-path /etc/wsgi.d -prune -o -path /etc/nginx/wsgi.d -prune"
    assert not host.run(f"find /srv /etc /var /run -xdev {kept} -o -name '*passing*' -print || true")
    assert not host.run("find /etc/wsgi/ /etc/nginx/wsgi/ -name '*passing*'")
