"""An app is closed and opened again."""

from __future__ import annotations

import json


def test_closed_through_a_run_and_open_again(play, hosts, client):
    closed = play("-e", "app=probe", "-e", "state=on", playbook="maintenance")
    assert closed.code == 0, closed.output
    assert play("-e", "app=probe", "-e", "state=on", playbook="maintenance").changed == []
    try:
        _look(hosts, client)
        told = play("-e", "format=json", playbook="status").output
        rows = json.loads(told[told.index("[\n  {") : told.rindex("\n]") + 2])
        closed_there = {(row["host"], row["app"]): row["maintenance"] for row in rows}
        assert closed_there == {(host.name, app): app == "probe" for host in hosts for app in ("probe", "below")}
        assert {row["url"] for row in rows if row["host"] == "d13"} == {
            hosts[1].url("probe"),
            hosts[1].url("probe", "/below/"),
        }
        site = play()
        assert site.code == 0, f"a run fails while the app is closed:\n{site.output[-3000:]}"
        assert site.changed == []
        _look(hosts, client)
    finally:
        opened = play("-e", "app=probe", "-e", "state=off", playbook="maintenance")
    assert opened.code == 0, opened.output
    for host in hosts:
        answer = client.get(host.url("probe"))
        assert answer.status == 200
        assert "x-maintenance" not in answer.headers


def _look(hosts, client):
    for host in hosts:
        answer = client.get(host.url("probe"), "-X", "POST")
        assert answer.status == 503
        assert answer.headers["x-maintenance"] == "on"
        assert answer.headers["retry-after"] == "77"
        assert answer.json["status"] == 503
        large = client.get(host.url("probe", "/upload"), "--data-binary", "@/usr/bin/openssl")
        assert (large.status, large.headers["x-maintenance"]) == (503, "on")
        page = client.get(host.url("probe"), "-H", "Accept: text/html")
        assert (page.status, page.headers["x-maintenance"]) == (503, "on")
        assert "Closed for a while" in page.body
        assert client.get(host.url("probe", "/static/style.css")).status == 200
        inside = f"curl -sk -o /dev/null -w '%{{http_code}}' --resolve {host.domain('probe')}:443:127.0.0.1"
        assert host.run(f"{inside} {host.url('probe')}") == "200", "the host itself does not get through"


def test_says_what_it_wants(play):
    run = play("-e", "app=probe", playbook="maintenance")
    assert run.code != 0
    assert "write -e state=on to close the app, or -e state=off to open it" in " ".join(run.output.split())
