"""Deployments of an app that does not want to go, or only seems well."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
LONGEST = 1200  # seconds of a run on the busiest machine; what does not want to end would hold it for ever


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


@pytest.fixture
def deployed(command, apps):
    """Deploys mallory with a changed variable; ends the run when it takes too long."""

    def run(change):
        asked = command(playbook="deploy", wsgi_apps=changed(apps, CHANGE=change))
        environment = {**os.environ, "MOLECULE_PROJECT_DIRECTORY": str(ROOT)}
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        with subprocess.Popen(asked, env=environment, start_new_session=True, text=True, **quiet) as process:
            try:
                output = process.communicate(timeout=LONGEST)[0]
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                pytest.fail(f"the app made the run take more than {LONGEST} s")
        return process.returncode, output

    return run


def test_a_release_that_does_not_want_to_go_goes(begun, deployed, attacks, hosts, client, held):
    code, output = deployed("1")
    assert code == 0, output[-3000:]
    for host in hosts:
        release = client.get(host.url("mallory")).json["release"]
        assert release == host.release("mallory"), f"{host.name}: clients get release {release}"
        held(attacks["stays"], begun[host.name], host)


def test_a_run_that_is_raced_follows_nothing(on_all, mallories, deployed, attacks, hosts, held):
    done = on_all(lambda host: {row["attack"]: mallories[host.name].run(row["run"]) for row in attacks["races"]})
    code, output = deployed("2")
    assert code == 0 or "mallory" in output, output[-3000:]
    for host in hosts:
        held(attacks["races"], done[host.name], host)
        mallories[host.name].afresh()


def test_victim_is_unharmed_by_it(victim):
    victim.unharmed()
    victim.bystanders()


@pytest.fixture(scope="module")
def lied(play_once, hosts):
    """A run of a release that is well when asked first; on one host it ends soon after, on the other it fails."""
    assert {host.name for host in hosts} == {"d12", "d13"}

    def run(apps):
        lies = "{{ {'d12': 'dies', 'd13': 'fails'}[inventory_hostname] }}"
        return play_once(wsgi_apps=changed(apps, LIES=lies, CHANGE="3"))

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
    run = play(wsgi_apps=changed(apps, CHANGE="4"))
    assert run.code == 0, run.output[-3000:]
    for host in hosts:
        answer = client.get(host.url("mallory"))
        assert answer.status == 200, f"{host.name}: {answer.status}"
        assert answer.json["release"] == host.release("mallory")


def test_victim_is_unharmed(victim):
    victim.unharmed()
    victim.bystanders()
