"""What keeps working when parts of it stop."""

from __future__ import annotations

import subprocess
import time

from testbed import labs

APPS = ("api", "httpbin")


def test_static_files_need_no_app(host, client):
    host.run("systemctl stop api.target")
    try:
        static = client.get(host.url("api", "/static/style.css"))
        assert static.status == 200, f"with the app stopped, /static/style.css answered {static.status}"
        dynamic = client.get(host.url("api"))
        assert dynamic.status in (502, 503), f"with the app stopped, / answered {dynamic.status}"
    finally:
        host.run("systemctl start api.target")
    answer = client.get(host.url("api"))
    assert answer.status == 200, f"started again, / answered {answer.status}"


def test_a_killed_app_comes_back(host, client):
    host.run(f"systemctl kill --signal=KILL {host.instance('api')}")
    status = _status_within(client, host.url("api"), seconds=60)
    assert status == 200, f"a minute after kill -9, / answered {status}"


def test_renewed_certificate_is_served(host, client):
    before = client.certificate(host.domain("api"))
    environment = host.run("systemctl show --property=Environment --value certbot.service")  # as the timer renews
    host.run(f"{environment} certbot renew -q --force-renewal --no-random-sleep-on-renew --cert-name api")
    deadline = time.monotonic() + 10  # workers with the old one take connections for a moment more
    while client.certificate(host.domain("api")) == before:
        assert time.monotonic() < deadline, "the renewed certificate is on disk but nginx still serves the old one"
        time.sleep(0.2)
    assert client.get(host.url("api")).status == 200


def test_everything_serves_again_after_a_reboot(hosts, client):
    subprocess.run(["docker", "restart", *(host.container for host in hosts)], check=True, capture_output=True)
    for host in hosts:
        labs.wait_booted(host.container)
        for app in APPS:
            status = _status_within(client, host.url(app), seconds=60)
            assert status == 200, f"after a reboot {host.url(app)} answered {status}"


def _status_within(client, url, seconds):
    """Ask until the answer is 200 or the time is over; return the last status."""
    deadline = time.monotonic() + seconds
    status = client.get(url).status
    while status != 200 and time.monotonic() < deadline:
        time.sleep(0.2)
        status = client.get(url).status
    return status
