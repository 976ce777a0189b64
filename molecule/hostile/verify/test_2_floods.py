"""An app that takes all it can get, and lies: victim's clients notice nothing, the next run has nothing to do."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

SLOWEST = 10  # seconds for one answer of victim's; on a busy machine as many times what one takes beside the hosts
FLOOD = 7  # seconds
LIMITS = {"MemoryMax": "268435456", "TasksMax": "128", "LimitNOFILE": "65536"}


@pytest.fixture(scope="module")
def flooded(on_all, mallories, attacks, client):
    """How victim's clients fared meanwhile: statuses, seconds, and seconds of who is no host, by host."""

    def flood(host):
        shell = mallories[host.name]
        shell.start(*(row["run"] for row in attacks["floods"]))
        slow = [json.dumps({"seconds": FLOOD - 2})] * 30
        with ThreadPoolExecutor(4) as pool:
            answers = pool.submit(_ask_slowly, client, host, slow)
            seen = pool.submit(_watched, client, host)
            answers.result()
            told = seen.result()
        assert client.get(host.url("victim", "/log/line-after-the-flood"), "-X", "POST").status == 200
        shell.back()
        time.sleep(1)
        return told

    return on_all(flood)


def _ask_slowly(client, host, wanted):
    """Clients that wait for mallory, so that nginx holds as many connections."""
    url, token = host.url("mallory", "/answer"), "X-Token: only-its-attacker-knows"
    ask = 'curl -s -m 20 -o /dev/null --cacert "$ROOT" -H "$TOKEN" -H "X-Answer: $told" "$URL" &'
    script = f'for told in "$@"; do {ask} done; wait'
    client.shell(f'export ROOT={client.root} TOKEN=\'{token}\' URL={url}; set -- "$0" "$@"; {script}', *wanted)


def _watched(client, host):
    """Victim asked again and again, and the authority, which is not a host, in turn."""
    ask = 'curl -s -m 60 -o /dev/null --cacert "$1" -w "%{http_code} %{time_total} " "$0"'
    beside = "curl -s -o /dev/null --cacert /etc/pebble/acme.pem -w '%{time_total}\\n' https://localhost:14000/dir"
    script = f"end=$(($(date +%s) + $2)); while [ $(date +%s) -lt $end ]; do {ask}; {beside}; sleep 0.1; done"
    lines = client.shell(script, host.url("victim"), client.root, str(FLOOD)).splitlines()
    return [(status, float(seconds), float(quick)) for status, seconds, quick in map(str.split, lines)]


def test_victims_clients_notice_nothing(host, flooded):
    statuses, seconds, beside = zip(*flooded[host.name], strict=True)
    assert set(statuses) == {"200"}, f"{host.name}: victim answered {statuses}"
    assert max(seconds) < SLOWEST * max(1, *beside), f"{host.name}: victim was slow: {seconds}, beside it {beside}"


@pytest.mark.usefixtures("flooded")
def test_nothing_of_others_is_filled(host, attacks, held):
    held(attacks["floods"], {row["attack"]: {"code": 0, "output": ""} for row in attacks["floods"]}, host)


def test_limits_are_in_force(host):
    unit = host.instance("mallory")
    assert {name: host.run(f"systemctl show -P {name} {unit}") for name in LIMITS} == LIMITS


def test_lies_are_not_believed(host, mallory, attacks, held):
    done = {row["attack"]: mallory.run(row["run"]) for row in attacks["lies"]}
    time.sleep(1)
    held(attacks["lies"], done, host)


def test_a_forged_status_does_not_reach_the_terminal(play):
    run = play(playbook="status")
    assert run.code == 0, run.output[-3000:]
    assert "forged" not in run.output


def test_answers_reach_nothing(host, mallory, client, attacks):
    found = []
    for row in attacks["answered"]:
        answer = mallory.answer(**json.loads(row["told"]))
        if row["without"] in answer.body + str(answer.headers):
            found.append(f"{row['attack']}: reached {row['reach']}: {answer.body[:80]!r}")
    assert not found, f"{host.name}:\n" + "\n".join(found)
    assert client.get(host.url("victim", "/cached/open/x")).json["app"] == "victim"


def test_one_apps_name_does_not_lead_to_the_other(host, client, attacks):
    names = {"mallory": host.domain("mallory"), "victim": host.domain("victim")}
    found = []
    for row in attacks["asked"]:
        answer = client.get(*_words(row["ask"].format(**names)))
        if any(own in answer.body for own in ("planted-in-", '"victim"', "hello from victim")):
            found.append(f"{row['attack']}: reached {row['reach']}: {answer.status} {answer.body[:80]!r}")
    assert not found, f"{host.name}:\n" + "\n".join(found)


def _words(asked):
    """What C(client.get) takes: the URL first, then options; `-H Name:value` is one of them."""
    words = asked.split(" ")
    at = max(
        number
        for number, word in enumerate(words)
        if word.startswith("http") and words[number - 1] != "--request-target"
    )
    return [words[at], *words[:at], *words[at + 1 :]]


def test_victim_is_unharmed(victim):
    victim.unharmed()
    victim.bystanders()


def test_the_next_run_has_nothing_to_do(play_once, mallories):
    for shell in mallories.values():
        shell.run("rm -rf $HOME/many $HOME/sparse $HOME/held $HOME/multiplied $HOME/opened")
    run = play_once()
    assert run.code == 0, run.output[-3000:]
    assert run.changed == []
