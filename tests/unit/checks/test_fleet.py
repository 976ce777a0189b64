"""Bad input of a fleet: a row for each thing a person may get wrong, with words the message must have."""

from __future__ import annotations

import dataclasses
import pathlib
import typing as t

import pytest
from ansible_collections.webops.wsgi.plugins.plugin_utils.checks import run
from ansible_collections.webops.wsgi.plugins.plugin_utils.fleet import members
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory import settings

SCHEMA = settings.load_schema()
ADDRESSES = {"lb1": "10.0.0.11", "lb2": "10.0.0.12", "web1": "10.0.0.21", "web2": "10.0.0.22"}
GROUPS = {"balancers": ["lb1", "lb2"], "wsgi": ["web1", "web2"]}


@pytest.fixture(name="base")
def fixture_base(tmp_path: pathlib.Path) -> pathlib.Path:
    """Directory of an inventory, with a source tree beside it."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "app.py").write_text("app = None\n")
    return tmp_path


def examined(
    base: pathlib.Path,
    host: str = "lb1",
    app: dict[str, t.Any] | None = None,
    groups: dict[str, list[str]] | None = None,
    addresses: dict[str, str] | None = None,
    backup: tuple[str, ...] = (),
    **inventory: t.Any,
) -> run.Findings:
    """What is found of a host of a fleet with one app."""
    groups = GROUPS if groups is None else groups
    known = {**ADDRESSES, **(addresses or {})}
    fleet = members.read(
        host, groups, lambda name: {"balancer_address": known[name], "balancer_backup": name in backup}
    )
    fleet = dataclasses.replace(fleet, program=inventory.get("wsgi_balancer", members.NGINX))
    entry = {
        "name": "api",
        "source": {"path": "tree"},
        "entrypoint": "app:app",
        "domains": ["api.example.com"],
        "tls": "selfsigned",
        **(app or {}),
    }
    return run.examine(SCHEMA, inventory, inventory, [entry], [str(base)], fleet=fleet, groups=groups)


FLOATING = {"address": "10.0.0.100/24", "vrrp_id": 51}
ROWS: list[tuple[dict[str, t.Any], list[str]]] = [
    ({"groups": {"balancers": [], "wsgi": ["web1"]}, "host": "web1"}, ["balancers has no hosts", "remove the group"]),
    ({"groups": {"balancers": ["lb1"], "wsgi": []}}, ["wsgi has none", "write the hosts that run the apps"]),
    ({"groups": {"balancers": ["lb1"]}}, ["wsgi has none"]),
    ({"groups": {"balancers": ["lb1", "web1"], "wsgi": ["web1"]}}, ["web1 is in both groups", "leave it in one"]),
    ({"addresses": {"web2": "10.0.1.22"}, "balancer_subnet": "10.0.0.0/24"}, ["web2", "10.0.1.22", "outside"]),
    ({"addresses": {"web2": ""}}, ["balancer_address of web2 is missing"]),
    ({"addresses": {"web2": "web2.example.com"}}, ["web2.example.com", "not an address"]),
    ({"addresses": {"web2": "10.0.0.21"}}, ["web1 and web2", "10.0.0.21"]),
    ({"balancer_subnet": "10.0.0.1/24"}, ["balancer_subnet", "not a network"]),
    ({"balancer_allow": ["monitor"]}, ["balancer_allow", "monitor"]),
    ({"balancer_floating_addresses": [FLOATING, {**FLOATING, "address": "10.0.0.101/24"}]}, ["vrrp_id 51 2 times"]),
    ({"balancer_floating_addresses": [{**FLOATING, "vrrp_id": 300}]}, ["[0].vrrp_id is 300", "1 to 255"]),
    ({"balancer_floating_addresses": [{**FLOATING, "address": "10.0.0.21/24"}]}, ["the balancer_address of web1"]),
    ({"balancer_floating_addresses": [{**FLOATING, "address": "10.0.0.100"}]}, ["without its network"]),
    (
        {"balancer_floating_addresses": [{**FLOATING, "address": "10.9.0.100"}], "balancer_subnet": "10.0.0.0/24"},
        ["10.9.0.100", "outside balancer_subnet"],
    ),
    ({"balancer_floating_addresses": [{**FLOATING, "address": "vip"}]}, ['"vip"', "not an address"]),
    ({"app": {"hosts": "web9"}}, ["hosts is", "web9", "no host of the group wsgi"]),
    ({"app": {"balancer": {"method": "leastconn"}}}, ["balancer.method", "leastconn", "least_conn"]),
    ({"balancer_method": "fastest"}, ["balancer_method", "fastest"]),
    ({"app": {"balancer": {"sticky": "cookie"}}}, ["sticky_cookie is missing", "fleet"]),
    ({"app": {"balancer": {"sticky": "cookie", "sticky_cookie": "a-b"}}}, ["a-b", "not a name"]),
    (
        {"app": {"balancer": {"sticky": "cookie", "sticky_cookie": "f", "method": "hash"}}},
        ["sticky", "hash", "choose one"],
    ),
    ({"app": {"balancer": {"method": "hash", "hash_key": "session"}}}, ["hash_key", "session", "cookie:"]),
    ({"groups": {"wsgi": ["web1"]}, "host": "web1", "app": {"balancer": {"method": "hash"}}}, ["no group balancers"]),
    (
        {"groups": {"wsgi": ["web1"], "loadbalancers": ["lb1"]}, "host": "web1", "balancer_address": "10.0.0.21"},
        ["balancer_address is given", "no group balancers", "rename the group loadbalancers"],
    ),
    ({"groups": {"wsgi": ["web1"]}, "host": "web1", "wsgi_balancer": "haproxy"}, ["wsgi_balancer", "add a group"]),
    ({"backup": ["web2"], "balancer_method": "hash"}, ["method is hash", "web2 as a backup", "least_conn"]),
    ({"backup": ["web2"], "app": {"balancer": {"method": "random_two"}}}, ["balancer.method is random_two", "web2"]),
]


@pytest.mark.parametrize(("given", "words"), ROWS)
def test_bad_input(base, given, words):
    (line,) = run.lines(examined(base, **given).problems)
    assert all(word in line for word in words), line


def test_apps_that_balancers_do_not_know_are_to_be_written_for_both_groups():
    fleet = members.read("lb1", GROUPS, lambda name: {"balancer_address": ADDRESSES[name]})
    found = run.examine(SCHEMA, {}, {}, None, [], fleet=fleet, groups=GROUPS)
    (line,) = run.lines(found.problems)
    assert "wsgi_apps is not defined" in line
    assert "for a group that balancers and wsgi are both in" in line


def test_haproxy_knows_backup_servers_with_each_method(base):
    assert examined(base, backup=("web2",), balancer_method="hash", wsgi_balancer="haproxy").problems == []


def test_an_app_on_backup_servers_alone_has_them(base):
    (app,) = examined(base, backup=("web2",), balancer_method="hash", app={"hosts": "web2"}).apps
    assert [server["backup"] for server in app["servers"]] == [False]


def test_a_balancer_has_the_app_with_its_servers(base):
    findings = examined(base, app={"hosts": "web2"})
    assert findings.problems == []
    (app,) = findings.apps
    assert app["tls"] == "selfsigned"
    assert [server["at"] for server in app["servers"]] == ["10.0.0.22:80"]


def test_an_app_host_serves_plain_http_to_clients_of_https(base):
    nginx = {"limit_requests": "5r/s", "locations": {"/x": {"limit_requests": "1r/s", "read_timeout": 200}}}
    findings = examined(base, host="web1", app={"nginx": nginx, "gunicorn": {"timeout": 100}})
    assert findings.problems == []
    (app,) = findings.apps
    assert (app["tls"], app["scheme"], app["nginx"]["limit_requests"]) == ("off", "https", "")
    assert app["nginx"]["locations"] == {"/x": {"limit_requests": "", "read_timeout": 200}}


def test_an_app_is_on_its_hosts_alone(base):
    elsewhere = examined(base, host="web1", app={"hosts": "web2"})
    assert (elsewhere.apps, elsewhere.elsewhere) == ([], ["api"])
    assert examined(base, host="web2", app={"hosts": "web2"}).elsewhere == []
    alone = examined(base, host="web1", groups={"wsgi": ["web1", "web2"]}, app={"hosts": "web2"})
    assert (alone.problems, alone.apps) == ([], [])
