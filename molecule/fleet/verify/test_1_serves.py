"""What clients get from a fleet, and what is closed to them."""

from __future__ import annotations

import json
import time

import pytest
from fleet_clients import DOMAIN, served

URL = f"https://{DOMAIN}"


def test_requests_are_spread_evenly(client, webs):
    time.sleep(1.5)  # logs are written once a second
    before = {host.name: served(host) for host in webs}
    client.shell(f"for i in $(seq 300); do curl -s -o /dev/null --cacert {client.root} {URL}/; done")
    time.sleep(1.5)
    share = {host.name: served(host) - before[host.name] for host in webs}
    print(f"of 300 requests: {share}")
    assert all(90 <= count <= 110 for count in share.values()), share


def test_the_app_knows_its_client(client):
    forged = ["-H", "X-Forwarded-For: 203.0.113.9", "-H", "X-Real-IP: 203.0.113.9", "-H", "X-Forwarded-Proto: http"]
    told = client.get(f"{URL}/whoami", *forged).json
    assert told["client"] == client.ipv4
    assert told["scheme"] == "https"
    assert "203.0.113.9" not in json.dumps(told)


def test_static_files_are_those_of_the_app_hosts(client):
    answer = client.get(f"{URL}/static/style.css")
    assert answer.status == 200
    again = client.get(f"{URL}/static/style.css", "-H", f"If-None-Match: {answer.headers['etag']}")
    assert again.status == 304


def test_http_leads_to_https(client):
    answer = client.get(f"http://{DOMAIN}/x?y=1")
    assert (answer.status, answer.headers["location"]) == (308, f"{URL}/x?y=1")


def test_an_app_of_two_hosts_is_on_those_alone(client, webs):
    assert client.get("https://once.example.test/").json["app"] == "once"
    assert [host.try_("test -e /srv/once/current").returncode == 0 for host in webs] == [False, True, True]


def test_clients_cannot_reach_the_app_hosts(client, webs):
    for host in webs:
        answer = client.get(f"http://{host.ipv4}/", "-H", f"Host: {DOMAIN}", "--max-time", "2")
        assert answer.exit == 28, f"{host.name} answered {answer.status} {answer.error}"


def test_nor_without_the_packet_filter(client, webs):
    host = webs[0]
    host.run("systemctl stop wsgi-firewall.service")
    try:
        answer = client.get(f"http://{host.ipv4}/", "-H", f"Host: {DOMAIN}")
        assert answer.status == 0
    finally:
        host.run("systemctl start wsgi-firewall.service")


def test_other_rules_of_the_packet_filter_stay(webs):
    host = webs[0]
    host.run("nft add table inet mine && nft add chain inet mine input '{ type filter hook input priority 0; }'")
    host.run("systemctl restart wsgi-firewall.service")
    assert "mine" in host.run("nft list tables")
    host.run("nft delete table inet mine")


@pytest.mark.parametrize("path", ["/generation", "/status"])
def test_what_a_balancer_says_of_itself_is_closed(client, balancers, path):
    for host in balancers:
        answer = client.get(f"http://{host.ipv4}{path}", "-H", "Host: generation.wsgi.internal")
        assert answer.status == 0


def test_all_balancers_have_the_same_certificate(client, balancers):
    shown = {client.certificate(DOMAIN, host.ipv4) for host in balancers}
    assert len(shown) == 1
    assert "Pebble" in shown.pop()


def test_a_challenge_is_answered_by_whichever_balancer_the_authority_meets(client, balancers):
    for one, other in (balancers, balancers[::-1]):
        one.run(
            "mkdir -p /var/www/acme/.well-known/acme-challenge && echo yes >/var/www/acme/.well-known/acme-challenge/t"
        )
        url = f"http://{other.ipv4}/.well-known/acme-challenge"
        assert client.get(f"{url}/t", "-H", f"Host: {DOMAIN}").body == "yes\n"
        assert client.get(f"{url}/none", "-H", f"Host: {DOMAIN}").status == 404
        one.run("rm /var/www/acme/.well-known/acme-challenge/t")


def test_a_balancer_renews_by_itself(balancers, holder):
    """Also the one that does not have the address."""
    (idle,) = [host for host in balancers if host not in holder()]
    before = idle.run("readlink /etc/letsencrypt/live/api/cert.pem")
    asked = "certbot renew --quiet --force-renewal --no-random-sleep-on-renew --cert-name api"
    idle.run(f"REQUESTS_CA_BUNDLE=/etc/ssl/acme-ca.pem {asked}")
    assert idle.run("readlink /etc/letsencrypt/live/api/cert.pem") != before
