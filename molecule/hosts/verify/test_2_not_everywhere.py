"""An app that the first host of the play lacks, and two people who deploy at the same time."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

LATER = str(Path(__file__).parents[1] / "later.ini")


@pytest.fixture
def deployed(play, apps):
    """Deploy the app to all hosts, each of which is asked to do something."""

    def deploy(asked_to: str) -> Any:
        some = {**apps["some"], "env": {"ASKED_TO": asked_to}}
        return play("-i", LATER, playbook="deploy", wsgi_apps=[apps["names"], some])

    return deploy


def releases(hosts, app: str = "some") -> dict[str, str]:
    """The release in service on each host that has the app."""
    return {host.name: host.release(app) for host in hosts if host.try_(f"test -e /srv/{app}").returncode == 0}


def test_a_migration_runs_on_the_first_host_that_has_the_app(hosts):
    migrated = {host.name: host.try_("cat /var/lib/some/migrated").stdout.split() for host in hosts}
    assert migrated == {"d12": [], "d13": ["1"], "e13": []}


def test_a_bad_release_is_tried_on_the_first_host_that_has_the_app_alone(hosts, deployed):
    before = releases(hosts)
    assert sorted(before) == ["d13", "e13"]
    untouched = hosts[-1].history("some")
    run = deployed("fail")
    assert run.code != 0
    assert "RuntimeError: as it was asked to" in run.output
    assert 'app "some": was not activated on e13, since it failed on d13, which goes first' in run.output
    assert (releases(hosts), hosts[-1].history("some")) == (before, untouched)
    tried = {host.name: host.run("ls /srv/some/releases").split() for host in hosts if host.name in before}
    assert {name: len(numbers) for name, numbers in tried.items()} == {"d13": 2, "e13": 1}


def test_all_go_back_that_have_the_app(hosts, play, deployed):
    before = releases(hosts)
    run = deployed("serve better")
    assert run.code == 0, run.output
    assert all(before[name] != number for name, number in releases(hosts).items())
    back = play("-i", LATER, "-e", "app=some", playbook="rollback")
    assert back.code == 0, back.output
    assert releases(hosts) == before
    again = play("-i", LATER, "-e", "app=some", playbook="rollback")
    assert again.code != 0
    assert "there is no earlier good release to go back to from 1" in again.output
    assert releases(hosts) == before


def test_of_two_runs_at_once_none_mixes_its_settings_with_the_other_s(hosts, command, apps):
    """A release has the server's settings and the environment of the same person, whoever was first."""

    def wanted(person: int) -> dict[str, Any]:
        return {**apps["names"], "env": {"ASKED_TO": f"serve {person}"}, "gunicorn": {"threads": person}}

    people = (11, 12)
    asked = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    host = hosts[0]
    runs = [subprocess.Popen(command("--limit", host.name, wsgi_apps=[wanted(person)]), **asked) for person in people]
    said = [run.communicate()[0] for run in runs]
    for run, output in zip(runs, said, strict=True):
        assert run.returncode == 0 or "is being deployed by" in output or "another run" in output, output
    made = host.run(
        "cd /srv/names/releases; for n in *; do grep -Ehs 'ASKED_TO|^threads' $n/etc/* | tr '\\n' ' '; echo; done"
    )
    assert "serve 11" in made or "serve 12" in made, f"neither of them has a release: {made}"
    for person, other in (people, people[::-1]):
        mixed = [line for line in made.splitlines() if f"serve {person}" in line and f"threads = {other}" in line]
        assert not mixed, f"settings of one person are in the release of the other: {mixed}"
