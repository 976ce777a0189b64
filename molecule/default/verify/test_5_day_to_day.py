"""A person's other verbs: deploy alone, go back, look."""

from __future__ import annotations

import html
import json
import re
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


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


def test_the_page_has_what_was_asked_of_each_host(play, hosts, client, tmp_path):
    for host in hosts:
        failing = 'for _ in $(seq 40); do curl -s --cacert "$1" "$0"; done'
        client.shell(failing, host.url("httpbin", "/status/503"), client.root)
    time.sleep(2)  # until nginx has written what it has logged, see access_log's flush
    looked = play("-e", "format=html", "-e", f"output={tmp_path}", playbook="status")
    assert looked.code == 0, looked.output
    assert not looked.changed
    assert "RELEASE" not in looked.output
    text = html.unescape((tmp_path / "index.html").read_text(encoding="utf-8"))
    for host in hosts:
        found = re.search(
            rf"<b>httpbin</b> on {host.name}</a> failed ([\d,]+) of [^<]*GET /status/503 503 \((\d+) times\)", text
        )
        assert found, text[text.index("<main>") :][:2000]
        assert int(found[1].replace(",", "")) >= int(found[2]) >= 40
        assert re.search(rf'<b>api</b> <span class="quiet">{host.name}</span>', text)
    assert "No plots" not in text


def test_the_page_needs_a_place(play):
    run = play("-e", "format=html", playbook="status")
    assert run.code != 0
    assert "write -e output=DIR" in " ".join(run.output.split())


def test_roll_back_of_an_unknown_app_names_those_there_are(play):
    run = play("-e", "app=nope", playbook="rollback")
    assert run.code != 0
    said = 'app is "nope", which no host of this run has; write -e app=<name>, with one of api, httpbin'
    assert said in " ".join(run.output.split())


def test_the_commands_of_the_page_on_backups(hosts, client):
    """As they stand there, on a host whose app then loses its data."""
    page = (ROOT / "docs" / "tasks" / "backups.md").read_text(encoding="utf-8")
    copy, pack, restore, _new_host = re.findall(r"^```console\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    host = hosts[0]
    for _ in range(3):
        assert client.get(host.url("api", "/page")).status == 200
    visits = (
        'runuser -u api -- python3 -c \'import sqlite3; print(*sqlite3.connect("/var/lib/api/api.sqlite3").execute('
    )
    visits += '"SELECT page, count FROM visits").fetchall())\''
    before = host.run(visits)
    host.run(commands(copy))
    host.run(commands(pack))
    host.run("rm /var/lib/api/api.sqlite3 && truncate -s 0 /var/lib/api/backup.sqlite3")
    host.run(commands(restore))
    assert host.run(visits) == before
    answer = client.get(host.url("api", "/page"), "--retry", "30", "--retry-delay", "1", "--retry-all-errors")
    assert answer.status == 200, answer.error
    assert host.run(visits) != before
    host.run("rm /root/api.tar.gz")


def commands(block):
    """The commands of a block, as a script that ends with the first one that fails."""
    return "\n".join(["set -e", *(line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ "))])
