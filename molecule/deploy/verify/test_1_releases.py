"""What a release has beside its server, and how it changes over."""

from __future__ import annotations

import subprocess

from testbed import labs

CREDENTIAL = "planted-in-credentials"


def test_hooks_ran_in_the_release(host):
    number = host.release("api")
    assert number in host.run("cat /var/lib/api/activated").split()
    if host.name == "d12":  # the first of the play
        assert number in host.run("cat /var/lib/api/migrated").split()
    else:
        assert host.try_("test -e /var/lib/api/migrated").returncode != 0, "migrated on more than one host"
    assert host.run("stat -c %U /var/lib/api/activated") == "api"


def test_over_a_deployment_jobs_are_done_and_the_address_on_loopback_refuses_nothing(
    on_all, client, deploy, under_load, whole
):
    """A job that the old worker is at is finished by it, those after it are done by the new one."""

    def through(host):
        old = host.release("api")
        with under_load(host, "--port", "8000") as outcomes:
            client.get(host.url("api", "/job/long?seconds=4"), "-X", "POST")
            labs.wait_for(lambda: "celery" in host.run("systemctl list-units --plain 'api.celery@*'"), "the worker")
            run = deploy(host.name, env={"CHANGE": "jobs"})
            assert run.code == 0, run.output
        assert outcomes["ok"] > 100, outcomes
        assert set(outcomes) <= {"ok", "repeated"}, f"not all answered: {outcomes}"
        assert host.release("api") != old
        client.get(host.url("api", "/job/short"), "-X", "POST")
        both = "cd /var/lib/api && test -e job-short && test -e job-long"
        labs.wait_for(lambda: host.try_(both).returncode == 0, "the jobs before and after the deployment")
        assert host.run("cat /var/lib/api/job-short") == host.release("api")
        assert host.run("cat /var/lib/api/job-long") == old
        whole(host)

    on_all(through)


def test_timers_run_the_release_in_service(host):
    number = host.release("api")
    labs.wait_for(lambda: host.run("tail -n 1 /var/lib/api/ticks") == number, "the timer")


def test_credentials_reach_the_app_and_nobody_else(host, client):
    assert client.get(host.url("api", "/credential")).json == {"length": len(CREDENTIAL)}


def test_an_app_moves_to_another_server_and_back_without_losing_a_request(on_all, play, api, under_load, whole):
    """And back again: what a server leaves is that of its own release."""

    def through(host):
        moved = {key: value for key, value in api.items() if key != "gunicorn"} | {"server": "waitress"}
        with under_load(host) as outcomes:
            there = play("--limit", host.name, playbook="deploy", wsgi_apps=[moved])
            assert there.code == 0, there.output
            assert "waitress" in host.run("cat /srv/api/current/start /srv/api/current/etc/serve.py")
            whole(host)
            unit = host.instance("api")
            report = host.run(f"systemd-analyze security --no-pager {unit} | tail -n 1")
            assert float(report.split(":")[1].split()[0]) <= 1.5, report
            listening = host.run("ss -Hltnp")
            assert "python" not in listening, f"a server listens on TCP: {listening}"
            back = play("--limit", host.name, playbook="deploy", wsgi_apps=[api])
            assert back.code == 0, back.output
        assert outcomes["ok"] > 100, outcomes
        assert set(outcomes) <= {"ok", "repeated"}, f"not all answered: {outcomes}"
        whole(host)

    on_all(through)


def test_the_sandbox_is_as_tight_beside_the_server(host):
    number = host.release("api")
    for unit in (f"api.celery@{number}.service", f"api.tick@{number}.service", "api.listen.service"):
        report = host.run(f"systemd-analyze security --no-pager {unit} | tail -n 1")
        assert float(report.split(":")[1].split()[0]) <= 1.5, report


def test_a_second_deployment_at_the_same_time_says_who_is_at_it(on_all, deploy):
    def through(host):
        holder = subprocess.Popen(
            ["docker", "exec", "-i", host.container, "flock", "/srv/api/.lock", "cat"], stdin=subprocess.PIPE
        )
        try:
            held = "! flock --nonblock /srv/api/.lock true"
            labs.wait_for(lambda: host.try_(held).returncode == 0, "the lock to be held")
            run = deploy(host.name, env={"CHANGE": "lock"})
        finally:
            holder.communicate()
        assert run.code != 0
        for word in ('app "api" is being deployed by ', " since 20"):
            assert word in run.output, run.output[-3000:]

    on_all(through)


def test_a_release_that_is_short_of_memory_serves_and_going_back_brings_everything_back(
    on_all, play, client, deploy, whole
):
    """The kernel ends a process that eats more than the instance may have; the server starts another."""

    def through(host):
        before = host.release("api")
        deployed = deploy(host.name, env={"CHANGE": "back"}, workers=[], release={"memory_max": "160M"})
        assert deployed.code == 0, f"the lock of the test before, whose holder is gone, blocks? {deployed.output}"
        assert "api.celery" not in host.run("systemctl list-units --plain --no-legend 'api.*'")
        unit = host.instance("api")
        assert host.run(f"systemctl show -P MemoryMax {unit}") != "infinity", "the limit is not in force"
        main = host.run(f"systemctl show -P MainPID {unit}")
        client.get(host.url("api", "/eat?megabytes=600"), "-X", "POST")
        labs.wait_for(lambda: client.get(host.url("api")).status == 200, "an answer")
        assert host.run(f"systemctl show -P MainPID {unit}") == main, "the whole instance was restarted"
        back = play("--limit", host.name, "-e", "app=api", playbook="rollback")
        assert back.code == 0, back.output
        assert host.release("api") == before
        whole(host)
        assert (host.history("api")[-1]["action"], host.history("api")[-1]["outcome"]) == ("rollback", "ok")

    on_all(through)
