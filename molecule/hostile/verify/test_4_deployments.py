"""Deployments of an app that does not want to go, or only seems well."""

from __future__ import annotations

import time

import pytest

LONGEST = 75  # seconds of the run, both hosts at once


def changed(apps, **env):
    """The inventory, with other variables for mallory."""
    return [{**app, "env": {**app["env"], **env}} if app["name"] == "mallory" else app for app in apps.values()]


@pytest.fixture(scope="module")
def begun(on_all, mallories, attacks):
    """What is begun in the instance that is about to be replaced."""

    def begin(host):
        shell = mallories[host.name]
        shell.back()
        return {row["attack"]: shell.run(row["run"]) for row in attacks["stays"]}

    return on_all(begin)


def test_a_release_that_does_not_want_to_go_goes(on_all, begun, play, apps, attacks, hosts, client, held):
    started = time.monotonic()
    run = play(playbook="deploy", wsgi_apps=changed(apps, CHANGE="1"))
    took = time.monotonic() - started
    assert run.code == 0, run.output[-3000:]
    assert took < LONGEST, f"the app made the run take {took:.0f} s"
    for host in hosts:
        release = client.get(host.url("mallory")).json["release"]
        assert release == host.release("mallory") == "2", f"{host.name}: clients get release {release}"
        held(attacks["stays"], {name: {"code": 0, "output": ""} for name in begun[host.name]}, host)


def test_victim_is_unharmed_by_it(victim):
    victim.unharmed()
    victim.bystanders()


@pytest.fixture(scope="module")
def lied(play_once, hosts):
    """A run of a release that is well when asked first; on one host it ends soon after, on the other it fails."""
    assert {host.name for host in hosts} == {"d12", "d13"}

    def run(apps):
        lies = "{{ {'d12': 'dies', 'd13': 'fails'}[inventory_hostname] }}"
        return play_once(wsgi_apps=changed(apps, LIES=lies, CHANGE="2"))

    return run


def test_a_release_that_only_seems_well_is_told_of(lied, apps, hosts, client):
    run = lied(apps)
    assert run.code != 0, "the run reports ok for a release that ended, or failed, two seconds after its health check"
    assert "mallory" in run.output, run.output[-3000:]
    for sequence in ("\x1b]0;forged", "\x1b[2J"):
        assert sequence not in run.output, "what the app printed reaches the terminal of whoever deploys"
    for host in hosts:
        assert client.get(host.url("victim")).status == 200


def test_the_next_run_is_right(play, apps, hosts, client):
    run = play(wsgi_apps=changed(apps, CHANGE="3"))
    assert run.code == 0, run.output[-3000:]
    for host in hosts:
        answer = client.get(host.url("mallory"))
        assert answer.status == 200, f"{host.name}: {answer.status}"
        assert answer.json["release"] == host.release("mallory")


def test_victim_is_unharmed(victim):
    victim.unharmed()
    victim.bystanders()
