"""What keeps working when parts of it stop."""

from __future__ import annotations

import subprocess

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
    labs.wait_for(lambda: client.get(host.url("api")).status == 200, "an answer of the app that was started again")


def test_a_killed_app_comes_back(host, client):
    host.run(f"systemctl kill --signal=KILL {host.instance('api')}")
    labs.wait_for(lambda: client.get(host.url("api")).status == 200, "an answer after kill -9")


def test_renewed_certificate_is_served(host, client):
    before = client.certificate(host.domain("api"))
    environment = host.run("systemctl show --property=Environment --value certbot.service")  # as the timer renews
    host.run(f"{environment} certbot renew -q --force-renewal --no-random-sleep-on-renew --cert-name api")
    # Workers with the old one take connections for a moment more.
    labs.wait_for(lambda: client.certificate(host.domain("api")) != before, "nginx to serve the renewed certificate")
    assert client.get(host.url("api")).status == 200


def test_everything_serves_again_after_a_reboot(hosts, client):
    subprocess.run(["docker", "restart", *(host.container for host in hosts)], check=True, capture_output=True)
    for host in hosts:
        labs.wait_booted(host.container)
        for app in APPS:
            url = host.url(app)
            labs.wait_for(lambda url=url: client.get(url).status == 200, f"an answer of {url} after a reboot")
