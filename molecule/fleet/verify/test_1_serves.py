"""What clients get from a fleet, and what is closed to them."""

from __future__ import annotations

import json
import time

import pytest
from fleet_clients import DOMAIN, served, spread_by

URL = f"https://{DOMAIN}"


# What a client may claim to be, by headers that proxies, content networks and older apps go by.
FORGED = ("X-Forwarded-For", "X-Real-IP", "X-Client-IP", "True-Client-IP", "CF-Connecting-IP", "X-Forwarded-Host")


def shares(client, webs) -> dict[str, int]:
    """How many of 300 requests each host gets."""
    time.sleep(1.5)  # logs are written once a second
    before = {host.name: served(host) for host in webs}
    client.shell(f"for i in $(seq 300); do curl -sf -o /dev/null --cacert {client.root} {URL}/; done")
    time.sleep(1.5)
    return {host.name: served(host) - before[host.name] for host in webs}


def test_requests_are_spread_evenly(client, webs, measured):
    share = shares(client, webs)
    measured(f"of 300 requests: {share}")
    assert all(90 <= count <= 110 for count in share.values()), share


def test_a_weight_of_a_half_is_a_half_and_a_backup_gets_nothing(play, client, webs, measured):
    """In turns, since with least_conn HAProxy goes by requests in progress. Check mode knows what the run changes."""
    asked = {"weights": {"web1": 2}, "backups": ["web3"], "balancer_method": "round_robin"}
    predicted = play("--check", "--limit", "balancers", **asked)
    ran = play("--limit", "balancers", **asked)
    assert (predicted.code, ran.code) == (0, 0), predicted.output + ran.output
    assert ran.changed
    assert predicted.changed == ran.changed
    share = shares(client, webs)
    assert play("--limit", "balancers").code == 0
    measured(f"of 300 requests, with weights 2 and 1 and a backup: {share}")
    assert 190 <= share["web1"] <= 210, share
    assert 90 <= share["web2"] <= 110, share
    assert share["web3"] == 0


@pytest.mark.parametrize(
    "balancer",
    [
        {"method": "random_two"},
        {"method": "hash", "hash_key": "header:X-Key"},
        {"method": "hash", "hash_key": "cookie:sid"},
        {"method": "hash", "hash_key": "uri"},
    ],
)
def test_the_program_takes_every_method(play, changed_app, balancer):
    """That of either Debian: check mode has it judge the whole configuration."""
    ran = play("--check", "--limit", "balancers", wsgi_apps=changed_app(balancer=balancer))
    assert ran.code == 0, ran.output
    assert {host for host, _task in ran.changed} == {"lb1", "lb2"}


def test_bad_input_is_refused_before_a_host_is_touched(play):
    address = {"address": "10.0.0.100/24", "vrrp_id": 51}
    bad = {"balancer_sticky": "cookie", "balancer_subnet": "192.0.2.0/24", "balancer_allow": ["monitor"]}
    ran = play(balancer_floating_addresses=[address, {**address, "address": "10.0.0.101/24"}], **bad)
    assert ran.code != 0
    assert ran.changed == []
    assert {task for _host, task in ran.failed} == {"Check every app"}
    for words in ("vrrp_id 51 2 times", "outside balancer_subnet 192.0.2.0/24", "sticky_cookie is missing", "monitor"):
        assert words in ran.output, f"{words}: {ran.output}"
    unknown = play(balancer_method="fastest")
    assert {task for _host, task in unknown.failed} == {"Check every app"}
    assert "fastest" in unknown.output


def test_check_mode_changes_nothing_where_there_is_nothing_to_do(play):
    ran = play("--check")
    assert (ran.code, ran.changed) == (0, []), ran.output


def test_the_app_knows_its_client(client):
    claims = [f"{name}: 203.0.113.9" for name in FORGED]
    claims += ["X-Forwarded-Proto: http", "Forwarded: for=203.0.113.9"]
    told = client.get(f"{URL}/whoami", *(word for claim in claims for word in ("-H", claim))).json
    assert told["client"] == client.ipv4
    assert (told["scheme"], told["host"]) == ("https", DOMAIN)
    assert "203.0.113.9" not in json.dumps(told)


def test_static_files_are_those_of_the_app_hosts(client):
    answer = client.get(f"{URL}/static/style.css")
    assert answer.status == 200
    again = client.get(f"{URL}/static/style.css", "-H", f"If-None-Match: {answer.headers['etag']}")
    assert again.status == 304


def test_static_files_are_kept_by_balancers_where_a_person_says_so(client, webs):
    """They are looked for again after a second."""
    url = "https://once.example.test/static/style.css"

    def asked(count: int) -> int:
        before = sum(served(host, "once") for host in webs)
        client.shell(f"for i in $(seq {count}); do curl -sf -o /dev/null --cacert {client.root} {url}; done")
        time.sleep(1.5)
        return sum(served(host, "once") for host in webs) - before

    assert asked(1) == 1
    assert asked(40) < 10, "of 40 requests in a row most are not for the hosts"
    assert asked(1) == 1
    for host in webs:
        host.run("systemctl stop nginx")
    try:
        assert client.get(url).status == 200
    finally:
        for host in webs:
            host.run("systemctl start nginx")


def test_http_leads_to_https(client):
    answer = client.get(f"http://{DOMAIN}/x?y=1")
    assert (answer.status, answer.headers["location"]) == (308, f"{URL}/x?y=1")


def test_an_app_of_two_hosts_is_on_those_alone(client, webs):
    assert client.get("https://once.example.test/").json["app"] == "once"
    assert [host.try_("test -e /srv/once/current").returncode == 0 for host in webs] == [False, True, True]


def test_a_client_stays_with_its_host_by_a_cookie(client, webs):
    asked = f"curl -sf -o /dev/null --cacert {client.root} https://once.example.test/"
    time.sleep(1.5)
    before = [served(host, "once") for host in webs]
    client.shell(f"rm -f /root/jar; for i in $(seq 20); do {asked} -b /root/jar -c /root/jar; done")
    time.sleep(1.5)
    with_cookie = [served(host, "once") for host in webs]
    assert sorted(now - then for now, then in zip(with_cookie, before, strict=True)) == [0, 0, 20]
    client.shell(f"for i in $(seq 20); do {asked}; done")
    time.sleep(1.5)
    assert sum(served(host, "once") > then for host, then in zip(webs, with_cookie, strict=True)) == 2


def test_clients_cannot_reach_the_app_hosts(client, webs):
    for host in webs:
        answer = client.get(f"http://{host.ipv4}/", "-H", f"Host: {DOMAIN}", "--max-time", "2")
        assert answer.exit == 28, f"{host.name} answered {answer.status} {answer.error}"


def test_nor_without_the_packet_filter(play, client, named):
    host = named["web1"]
    ran = play("--limit", host.name, balancer_firewall=False)
    answer = client.get(f"http://{host.ipv4}/", "-H", f"Host: {DOMAIN}", "--max-time", "5")
    back = play("--limit", host.name)
    assert (ran.code, back.code) == (0, 0), ran.output + back.output
    assert answer.exit in (52, 56), "nginx hangs up"
    assert "wsgi_fleet" in host.run("nft list tables")


def test_whom_a_person_names_may_ask_an_app_host(play, client, named):
    """What it says of a client is not believed."""
    host = named["web1"]
    ran = play("--limit", host.name, balancer_allow=[client.ipv4])
    asked = ["-H", f"Host: {DOMAIN}", "-H", "X-Forwarded-For: 203.0.113.9", "--max-time", "5"]
    answer = client.get(f"http://{host.ipv4}/whoami", *asked)
    assert play("--limit", host.name).code == 0
    assert ran.code == 0, ran.output
    assert answer.json["client"] == client.ipv4


def test_balancers_may_stand_behind_one_that_speaks_the_proxy_protocol(play, client, balancers):
    told = ["--haproxy-clientip", "203.0.113.8"]
    asked = {"nginx_proxy_proxy_protocol": True, "nginx_proxy_trusted_proxies": [client.ipv4]}
    ran = play("--limit", "balancers", **asked)
    try:
        assert ran.code == 0, ran.output
        assert client.get(f"{URL}/whoami", *told).json["client"] == "203.0.113.8"
        assert client.get(f"{URL}/whoami").exit != 0
        answers_challenges(client, balancers, *told)
    finally:
        assert play("--limit", "balancers").code == 0
    assert client.get(f"{URL}/whoami").json["client"] == client.ipv4


def test_nothing_but_the_port_of_nginx_is_closed(client, webs):
    """Such as answers of a name server, which come over UDP."""
    query = r"\0\1\1\0\0\1\0\0\0\0\0\0\3api\7example\4test\0\0\1\0\1"
    program = (
        "import socket; asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); asking.settimeout(3); "
        f"asking.sendto(b'{query}', ('{client.ipv4}', 8053)); print(len(asking.recv(512)))"
    )
    for host in webs:
        assert int(host.run(f'python3 -c "{program}"')) > len("api.example.test")


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


@pytest.mark.parametrize("path", ["/stats", "/metrics", "/generation"])
def test_statistics_of_haproxy_are_for_the_balancer_alone(client, balancers, path):
    for host in balancers:
        assert client.get(f"http://{host.ipv4}:8404{path}").exit == 7, "refused"
        assert client.get(f"https://{DOMAIN}{path}", "--connect-to", f"::{host.ipv4}:").status == 404
        if spread_by() == "haproxy":
            assert host.run(f"curl -sf -o /dev/null -w '%{{http_code}}' http://127.0.0.1:8404{path}") == "200"


def test_all_balancers_have_the_same_certificate(client, balancers):
    shown = {client.certificate(DOMAIN, host.ipv4) for host in balancers}
    assert len(shown) == 1
    assert "Pebble" in shown.pop()


def test_a_challenge_is_answered_by_whichever_balancer_the_authority_meets(client, balancers):
    answers_challenges(client, balancers)


def answers_challenges(client, balancers, *options: str) -> None:
    """Fail unless each balancer answers what the authority asks of the other."""
    for one, other in (balancers, balancers[::-1]):
        one.run(
            "mkdir -p /var/www/acme/.well-known/acme-challenge && echo yes >/var/www/acme/.well-known/acme-challenge/t"
        )
        url = f"http://{other.ipv4}/.well-known/acme-challenge"
        assert client.get(f"{url}/t", "-H", f"Host: {DOMAIN}", *options).body == "yes\n"
        assert client.get(f"{url}/none", "-H", f"Host: {DOMAIN}", *options).status == 404
        one.run("rm /var/www/acme/.well-known/acme-challenge/t")


def test_a_balancer_renews_by_itself(balancers, holder):
    """Also the one that does not have the address."""
    (idle,) = [host for host in balancers if host not in holder()]
    before = idle.run("readlink /etc/letsencrypt/live/api/cert.pem")
    asked = "certbot renew --quiet --force-renewal --no-random-sleep-on-renew --cert-name api"
    idle.run(f"REQUESTS_CA_BUNDLE=/etc/ssl/acme-ca.pem {asked}")
    assert idle.run("readlink /etc/letsencrypt/live/api/cert.pem") != before
