"""Several apps on one domain: one below a path of another."""

from __future__ import annotations

import time

import pytest
from testbed import labs


@pytest.fixture
def closed(host):
    """The app below the path is closed meanwhile."""
    host.run("mkdir -p /etc/nginx/maintenance && touch /etc/nginx/maintenance/below")
    yield
    host.run("rm /etc/nginx/maintenance/below")


def test_the_app_knows_its_path(host, client):
    assert client.get(host.url("probe", "/below/")).json["app"] == "below"
    page = client.get(host.url("probe", "/below/page"))
    assert 'href="/below/static/style.css"' in page.body, "url_for does not know the path"
    assert client.get(host.url("probe")).json["app"] == "probe"


def test_without_the_last_slash(host, client):
    answer = client.get(host.url("probe", "/below?a=b"), "-X", "POST", "--data", "x")
    assert (answer.status, answer.headers["location"]) == (308, host.url("probe", "/below/?a=b"))
    assert client.get(host.url("probe", "/belowx")).headers["content-security-policy"] == "default-src 'self'"


def test_settings_hold_below_the_path(host, client):
    assert client.get(host.url("probe", "/below/healthz"), "-X", "POST").status == 405
    first, second = (client.get(host.url("probe", "/below/whoami")) for _ in range(2))
    assert second.headers["x-cache"] in ("HIT", "STALE", "UPDATING"), first.headers
    assert first.headers["content-security-policy"] == "default-src 'none'"
    style = client.get(host.url("probe", "/below/static/style.css"))
    assert (style.status, style.headers["cache-control"]) == (200, "max-age=3600")
    assert client.get(host.url("probe", "/whoami")).status == 404


@pytest.mark.parametrize("header", ["SCRIPT_NAME: /forged", "Script-Name: /forged", "X-Forwarded-Prefix: /forged"])
def test_a_client_cannot_name_the_path(host, client, header):
    assert "forged" not in client.get(host.url("probe", "/below/page"), "-H", header).body
    assert client.get(host.url("probe", "/seen"), "-H", header).status == 200


@pytest.mark.parametrize("path", ["/b%65low/whoami", "//below/whoami", "/x/..//below/whoami"])
def test_another_way_to_write_the_path_does_not_reach_the_app(host, client, path):
    answer = client.get(host.url("probe", path), "--path-as-is")
    assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json")


def test_its_failures_are_its_own(host, client):
    mark = str(time.time_ns())
    host.run("systemctl stop below.target")
    try:
        answer = client.get(host.url("probe", f"/below/?{mark}"))
        other = client.get(host.url("probe"))
    finally:
        host.run("systemctl start below.target")
    assert (answer.status, answer.json["status"], other.status) == (502, 502, 200)
    look = f"cd /var/log/nginx && grep -l {mark} probe.access.log below.access.log"
    labs.wait_for(lambda: host.try_(look).returncode == 0, "the failure in a log")
    assert host.run(look) == "below.access.log", "a failure of one app counts against the other"
    tries = ["--retry", "120", "--retry-delay", "1", "--retry-all-errors", "--fail"]
    assert client.get(host.url("probe", "/below/"), *tries).status == 200


@pytest.mark.usefixtures("closed")
def test_it_closes_by_itself(host, client):
    answer = client.get(host.url("probe", "/below/"))
    assert (answer.status, answer.headers["retry-after"], answer.headers["x-maintenance"]) == (503, "11", "on")
    assert client.get(host.url("probe")).status == 200


def test_a_deployment_looks_through_nginx_and_another_path_needs_one_run(play, apps, hosts, client):
    (host,) = [host for host in hosts if host.name == "d13"]
    looks = """grep -c '"/below/healthz".*"webops.wsgi"' /var/log/nginx/below.access.log || true"""
    before = int(host.run(looks))
    apps["below"]["env"] = {"ANOTHER": "release"}
    run = play("--limit", host.name, wsgi_apps=list(apps.values()), playbook="deploy")
    assert run.code == 0, run.output
    labs.wait_for(lambda: int(host.run(looks)) >= before + 2, "the looks through nginx before and after the switch")

    release = host.release("below")
    apps["below"]["path"] = "/moved"
    run = play("--limit", host.name, wsgi_apps=list(apps.values()))
    assert run.code == 0, run.output
    # Its server is told the path, since what comes by an address of its own may not say it.
    assert int(host.release("below")) == int(release) + 1
    assert [host.name, "webops.wsgi.nginx_proxy : Configure nginx as one tree"] in run.changed
    page = client.get(host.url("probe", "/moved/page"))
    assert 'href="/moved/static/style.css"' in page.body
    assert client.get(host.url("probe", "/below/page")).status == 404


def test_what_the_inventory_no_longer_names_keeps_its_place(play, apps, hosts, client):
    """First the app above is named without the one below, then neither is."""
    (host,) = [host for host in hosts if host.name == "d13"]
    begin = play("--limit", host.name, wsgi_apps=list(apps.values()))
    assert begin.code == 0, begin.output
    for gone in (["below"], ["below", "probe"]):
        named = [app for name, app in apps.items() if name not in gone]
        run = play("--limit", host.name, wsgi_apps=[*named, {"name": "never-there", "state": "absent"}])
        assert run.code == 0, run.output
        assert client.get(host.url("probe", "/below/")).json["app"] == "below"
        assert client.get(host.url("probe")).json["app"] == "probe"
    back = play("--limit", host.name, wsgi_apps=list(apps.values()))
    assert back.code == 0, back.output
