"""nginx of both tiers of a fleet: what balancers do, and what the hosts behind them do."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webops.wsgi.plugins.plugin_utils.fleet import haproxy, members, tiers
from nginx import Config
from render import app, defaults, render, renderer

GROUPS = {"balancers": ["lb1", "lb2"], "wsgi": ["web1", "web2", "web3"]}
ADDRESSES = {"lb1": "10.0.0.11", "lb2": "10.0.0.12", "web1": "10.0.0.21", "web2": "10.0.0.22", "web3": "10.0.0.23"}
SETTINGS: dict[str, Any] = {
    "limit_requests": "5r/s",
    "basic_auth": {"ann": "$6$salt$hash"},
    "static": {"/static/": "app/static"},
    "client_ca": "ca.pem",
}


def config(
    tmp_path: Path, host: str, drained: tuple[str, ...] = (), given: dict[str, Any] | None = None, **settings: Any
) -> Config:
    """nginx's configuration of a host of the fleet with one app."""

    def variables(name: str) -> dict[str, Any]:
        return {"balancer_address": ADDRESSES[name], "balancer_weight": 2 if name == "web3" else 1}

    fleet = members.read(host, GROUPS, variables)
    whole = app("api", nginx=SETTINGS, balancer={**defaults("balancer"), **settings}, hosts="")
    apps = tiers.divide(fleet, [whole], {"api": GROUPS["wsgi"]})
    told = {"__wsgi_fleet": tiers.facts(fleet), "inventory_hostname": host, **(given or {})}
    return Config(tmp_path, apps, {"drained": dict.fromkeys(drained, "person")}, told)


def upstreams(found: Config) -> dict[str, dict[str, str]]:
    """Parameters of each server of each upstream."""
    return {
        block.args[0]: {args[0]: " ".join(args[1:]) for args in block.all("server")}
        for block in found.http.blocks("upstream")
    }


def test_a_balancer_has_tls_limits_and_logins_and_asks_all_app_hosts(tmp_path: Path) -> None:
    found = config(tmp_path, "lb1", drained=("web2",))
    server = found.server("api.example.com", "443")
    location = server.location("/")
    assert location.all("limit_req")
    assert location.all("auth_basic_user_file")
    assert location.one("proxy_pass") == "http://wsgi-api$wsgi_once"
    assert location.one("proxy_next_upstream") == "error timeout invalid_header"
    for name, fails in {"wsgi-api": 10, "wsgi-api-once": 1}.items():
        failing = f"max_fails={fails} fail_timeout=10s"
        expected = {"10.0.0.21:80": failing, "10.0.0.22:80": f"{failing} down", "10.0.0.23:80": f"weight=2 {failing}"}
        assert upstreams(found)[name] == expected


def test_what_must_not_be_repeated_has_a_connection_of_its_own(tmp_path: Path) -> None:
    """An app host that reloads closes those that stay open, also one on which a request is on its way."""
    blocks = {block.args[0]: block for block in config(tmp_path, "lb1").http.blocks("upstream")}
    assert blocks["wsgi-api"].all("keepalive") == [["32"]]
    assert blocks["wsgi-api-once"].all("keepalive") == []


def test_the_other_balancer_answers_the_authority_as_well(tmp_path: Path) -> None:
    found = config(tmp_path, "lb1")
    assert upstreams(found)["wsgi-challenges"] == {"10.0.0.12:80": "max_fails=0"}
    server = found.server("api.example.com", "80")
    assert server.location("^~", "/.well-known/acme-challenge/").one("try_files") == "$uri @wsgi_challenge"


def test_balancers_behind_one_that_speaks_the_proxy_protocol_ask_each_other_at_a_port_without(tmp_path: Path) -> None:
    found = config(
        tmp_path, "lb1", given={"nginx_proxy_proxy_protocol": True, "nginx_proxy_trusted_proxies": ["10.0.0.1"]}
    )
    assert upstreams(found)["wsgi-challenges"] == {"10.0.0.12:8403": "max_fails=0"}
    (between,) = [block for block in found.servers if ["10.0.0.11:8403"] in block.all("listen")]
    assert between.location("/.well-known/acme-challenge/").one("root") == "/var/www/acme"
    assert between.location("/").one("return") == "404"


def test_static_files_come_from_app_hosts_behind_the_same_guard(tmp_path: Path) -> None:
    location = config(tmp_path, "lb1").server("api.example.com", "443").location("^~", "/static/")
    assert location.one("proxy_pass") == "http://wsgi-api$wsgi_once"
    assert location.all("auth_basic_user_file")
    assert not location.all("proxy_cache")


def test_static_files_are_kept_by_balancers_when_a_person_says_so(tmp_path: Path) -> None:
    """Behind the same guard; only a file whose name has a digest is not looked for again at once."""
    found = config(tmp_path, "lb1", static="balancers")
    location = found.server("api.example.com", "443").location("^~", "/static/")
    assert location.one("proxy_cache") == "api-cache"
    assert location.one("proxy_cache_valid") == "200 1s"
    assert location.one("proxy_buffering") == "on"
    assert location.all("auth_basic_user_file")
    (lasting,) = location.blocks("location")
    assert lasting.one("proxy_cache_valid") == "200 30d"
    assert lasting.one("proxy_pass") == location.one("proxy_pass")
    (kept,) = found.http.all("proxy_cache_path")
    assert "keys_zone=api-cache:10m" in kept


def test_an_app_host_serves_balancers_and_whom_a_person_names(tmp_path: Path) -> None:
    found = config(tmp_path, "web1", given={"balancer_allow": ["10.0.0.5"]})
    server = found.server("api.example.com", "10.0.0.21:80")
    assert [["443"]] not in [other.all("listen") for other in found.servers]
    assert not any("ssl" in args for other in found.servers for args in other.all("listen"))
    assert sorted(args[0] for args in found.http.all("set_real_ip_from")) == ["10.0.0.11", "10.0.0.12"]
    assert found.http.one("real_ip_header") == "X-Forwarded-For"
    (stranger,) = [block for block in server.blocks("if") if block.args == ["$wsgi_stranger"]]
    assert stranger.one("return") == "444"
    (known,) = [block for block in found.http.blocks("geo") if block.args[-1] == "$wsgi_stranger"]
    known_ones = {"127.0.0.0/8": "0", "::1/128": "0", "10.0.0.11": "0", "10.0.0.12": "0", "10.0.0.5": "0"}
    assert {line["directive"]: line["args"][0] for line in known.directives} == {"default": "1", **known_ones}
    assert server.all("set") == [["$wsgi_scheme", "https"]]
    location = server.location("/")
    assert not location.all("limit_req")
    assert not location.all("auth_basic_user_file")
    assert location.headers()["X-Client-Cert-Verify"] == "$http_x_client_cert_verify"
    assert server.location("^~", "/static/").one("alias") == "/srv/api/current/app/src/app/static/"


def test_an_app_host_that_has_no_running_app_hangs_up_so_that_a_balancer_asks_another_one(tmp_path: Path) -> None:
    """With an answer of 502 it would be the fastest of all hosts; without one it is asked again after a while."""
    found = config(tmp_path, "web1")
    server = found.server("api.example.com", "10.0.0.21:80")
    assert ["502", "/__wsgi/gone"] in server.all("error_page")
    location = server.location("=", "/__wsgi/gone")
    (gone,) = location.blocks("if")
    assert (gone.args, gone.one("return")) == (["$wsgi_gone"], "444")
    assert location.one("rewrite") == "^ /__wsgi/$wsgi_error last"
    (known,) = [block for block in found.http.blocks("map") if block.args[-1] == "$wsgi_gone"]
    assert known.args[0] == "$wsgi_local:$upstream_connect_time"
    (tmp_path / "balancer").mkdir()
    balancer = config(tmp_path / "balancer", "lb1").server("api.example.com", "443")
    assert all("502" in args for args in balancer.all("error_page") if "504" in args)


def test_methods(tmp_path: Path) -> None:
    for method, directive in {"random_two": "random", "hash": "hash"}.items():
        folder = tmp_path / method
        folder.mkdir()
        found = config(folder, "lb1", method=method, hash_key="cookie:sid")
        (block,) = [block for block in found.http.blocks("upstream") if block.args == ["wsgi-api"]]
        assert block.one(directive) in ("two least_conn", "$cookie_sid consistent")


def test_a_client_stays_with_its_host_by_a_cookie(tmp_path: Path) -> None:
    found = config(tmp_path, "lb1", drained=("web2",), sticky="cookie", sticky_cookie="fleet")
    marks = [name for name in upstreams(found) if name.startswith("wsgi-api-") and len(name) == len("wsgi-api-") + 12]
    assert len(marks) == 2, "each host in service has an upstream of its own"
    for mark in marks:
        assert sorted(upstreams(found)[mark].values()) == ["backup", "max_fails=10 fail_timeout=10s"]
    server = found.server("api.example.com", "443")
    assert server.location("/").one("proxy_pass") == "http://wsgi-api$wsgi_once$wsgi_api_place"
    assert ["Set-Cookie", "$wsgi_api_cookie", "always"] in server.all("add_header")


def test_keepalived_has_different_priorities_and_no_preemption() -> None:
    found = {}
    for host in GROUPS["balancers"]:
        fleet = members.read(host, GROUPS, lambda name: {"balancer_address": ADDRESSES[name]})
        found[host] = render(
            "balancer",
            "keepalived.conf.j2",
            __wsgi_fleet=tiers.facts(fleet),
            __wsgi_host={"interface": "eth0"},
            inventory_hostname=host,
            balancer_floating_addresses=[
                {"address": "10.0.0.100/24", "vrrp_id": 51},
                {"address": "10.0.0.101/24", "vrrp_id": 52, "interface": "eth1"},
            ],
        )
    priorities = {
        host: [line.split()[1] for line in text.splitlines() if "priority " in line and "garp" not in line]
        for host, text in found.items()
    }
    assert priorities == {"lb1": ["120", "110"], "lb2": ["110", "120"]}
    assert all(text.count("nopreempt") == text.count("state BACKUP") == 2 for text in found.values())
    assert "unicast_src_ip 10.0.0.12" in found["lb2"]
    assert "        10.0.0.11\n" in found["lb2"]


@pytest.mark.parametrize(("program", "ports"), [("nginx", ["80"]), ("haproxy", ["80", "8404"])])
def test_an_address_is_given_up_when_a_program_that_serves_does_not_answer(program: str, ports: list[str]) -> None:
    fleet = members.read("lb1", GROUPS, lambda name: {"balancer_address": ADDRESSES[name]})
    told = tiers.facts(replace(fleet, program=program))
    text = render("balancer", "serves.j2", __wsgi_fleet=told, nginx_proxy_http_port=80)
    assert re.findall(r"\banswers (\d+)", text) == ports


def test_the_packet_filter_admits_balancers_and_whom_a_person_names() -> None:
    fleet = members.read("web1", GROUPS, lambda name: {"balancer_address": ADDRESSES[name]})
    text = render(
        "balancer",
        "firewall.nft.j2",
        __wsgi_fleet=tiers.facts(fleet),
        inventory_hostname="web1",
        nginx_proxy_http_port=80,
        balancer_allow=["10.0.0.5", "fd00::/64"],
    )
    assert "ip saddr { 10.0.0.11, 10.0.0.12, 10.0.0.5 } accept" in text
    assert [line.strip() for line in text.splitlines() if "drop" in line] == ["tcp dport 80 counter drop"]
    assert "ip6 saddr { fd00::/64 } accept" in text


def test_a_packet_filter_that_is_no_longer_wanted_is_gone() -> None:
    text = render("balancer", "firewall.nft.j2", nginx_proxy_http_port=80)
    assert [line for line in text.splitlines() if not line.startswith("#")] == [
        "table inet wsgi_fleet",
        "delete table inet wsgi_fleet",
    ]


def test_haproxy_has_the_same_servers_and_asks_them_for_their_health(tmp_path: Path) -> None:
    fleet = replace(members.read("lb1", GROUPS, lambda name: {"balancer_address": ADDRESSES[name]}), program="haproxy")
    settings = {**defaults("balancer"), "method": "hash", "hash_key": "cookie:sid", "retries": 2}
    health = {"health_path": "/healthz", "health_status": [200, "204-299"], "health_headers": {"X-Probe": "it's"}}
    whole = app("api", nginx=SETTINGS, balancer=settings, release=health, hosts="")
    (divided,) = tiers.divide(fleet, [whole], {"api": ["web1", "web2"]})
    text = render(
        "balancer",
        "haproxy-app.cfg.j2",
        app=divided,
        __wsgi_host={"drained": {"web2": "person"}},
    )
    lines = [line.strip() for line in text.splitlines()]
    assert "balance hash req.cook(sid)" in lines
    check = "http-check send meth GET uri /healthz ver HTTP/1.1 hdr Host api.example.com hdr User-Agent webops.wsgi"
    assert f"{check} hdr X-Probe 'it'\\''s'" in lines
    assert "http-check expect status 200,204-299" in lines
    assert "server web1 10.0.0.21:80 check weight 1" in lines
    assert "server web2 10.0.0.22:80 check weight 0" in lines
    assert "option allbackups" in lines, "all of them, as nginx has it"
    given = {"__wsgi_fleet": tiers.facts(fleet), "inventory_hostname": "lb1"}
    beside = upstreams(Config(tmp_path, [divided], {"drained": {}}, given))
    assert beside["wsgi-api"] == beside["wsgi-api-once"] == {"unix:/run/haproxy/wsgi-api.sock": "max_fails=0"}


def test_haproxy_keeps_clients_with_a_cookie_from_a_drained_host() -> None:
    """One that has only lost its weight would go on getting them."""
    fleet = replace(members.read("lb1", GROUPS, lambda name: {"balancer_address": ADDRESSES[name]}), program="haproxy")
    settings = {**defaults("balancer"), "sticky": "cookie", "sticky_cookie": "fleet"}
    (divided,) = tiers.divide(fleet, [app("api", balancer=settings, hosts="")], {"api": ["web1", "web2"]})
    found = haproxy.backend(divided, ["web2"])
    assert [(server["weight"], server["disabled"]) for server in found["servers"]] == [(1, False), (1, True)]


def test_haproxy_leads_nobody_by_an_answer_that_balancers_keep() -> None:
    fleet = replace(members.read("lb1", GROUPS, lambda name: {"balancer_address": ADDRESSES[name]}), program="haproxy")
    settings = {**defaults("balancer"), "sticky": "cookie", "sticky_cookie": "fleet", "static": "balancers"}
    (divided,) = tiers.divide(fleet, [app("api", nginx=SETTINGS, balancer=settings, hosts="")], {"api": ["web1"]})
    text = render("balancer", "haproxy-app.cfg.j2", app=divided, __wsgi_host={"drained": {}})
    assert "    ignore-persist if { path_beg '/static/' }\n" in text


def test_certificates_are_looked_for_under_the_names_of_their_apps() -> None:
    apps = [
        {"name": "api", "state": "present", "tls": "letsencrypt"},
        {"name": "own", "state": "present", "tls": "off"},
    ]
    found = renderer("balancer", __wsgi_apps=apps)
    assert found.value("__balancer_lineages") == ["/etc/letsencrypt/renewal/api.conf"]
