"""A person's other verbs: deploy alone, go back, look."""

from __future__ import annotations

import json


def _releases(hosts):
    return {host.name: host.run("basename $(readlink /srv/api/current)").strip() for host in hosts}


def test_deploy_then_roll_back_then_look(play, apps, hosts, client):
    before = _releases(hosts)
    apps["api"]["env"] = {"GREETING": "of the new release"}
    deployed = play(playbook="deploy", wsgi_apps=list(apps.values()))
    assert deployed.code == 0, deployed.output
    after = _releases(hosts)
    assert all(int(after[name]) > int(before[name]) for name in before), f"{before} -> {after}"
    for host in hosts:
        assert client.get(host.url("api")).json["release"] == after[host.name]

    on_13 = "{{ (inventory_hostname == 'd13') | ternary('present', 'absent') }}"
    predicted = play("--check", "-e", "app=api", playbook="rollback", wsgi_apps=[{**apps["api"], "state": on_13}])
    assert predicted.code == 0, f"a host without the app fails the run: {predicted.output}"
    assert {host for host, _task in predicted.changed} == {"d13"}

    back = play("-e", "app=api", playbook="rollback")
    assert back.code == 0, back.output
    assert _releases(hosts) == before
    for host in hosts:
        assert client.get(host.url("api")).json["release"] == before[host.name]
        last = json.loads(host.run("tail -n 1 /srv/api/history.jsonl"))
        assert (last["action"], last["from"], last["to"], last["outcome"]) == (
            "rollback",
            after[host.name],
            before[host.name],
            "ok",
        )

    looked = play(playbook="status")
    assert looked.code == 0, looked.output
    for host in hosts:
        (row,) = [line for line in looked.output.splitlines() if line.split()[:2] == [host.name, "api"]]
        assert row.split()[2] == before[host.name], row
        assert " active " in row, row
        assert " good " in row, row


def test_roll_back_of_an_unknown_app_names_those_there_are(play):
    run = play("-e", "app=nope", playbook="rollback")
    assert run.code != 0
    said = 'app is "nope", which no host of this run has; write -e app=<name>, with one of api, httpbin'
    assert said in " ".join(run.output.split())
