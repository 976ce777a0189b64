"""Who is in a fleet, and which hosts a pattern means."""

from __future__ import annotations

import pytest
from ansible_collections.webops.wsgi.plugins.plugin_utils.fleet import members

GROUPS = {
    "all": ["lb1", "web1", "web2", "web3"],
    "balancers": ["lb1"],
    "wsgi": ["web1", "web2", "web3"],
    "big": ["web3"],
}


def variables(host: str) -> dict[str, object]:
    """What the hosts say of themselves."""
    return {"lb1": {"ansible_host": "10.0.0.1"}, "web2": {"balancer_address": "10.0.0.22", "balancer_weight": "2"}}.get(
        host, {"ansible_host": host}
    )


def test_without_balancers_there_is_no_fleet():
    fleet = members.read("web1", {"wsgi": ["web1"]}, variables)
    assert (fleet.role, fleet.present) == ("", False)


def test_a_balancer_knows_everybody():
    fleet = members.read("lb1", GROUPS, variables)
    assert fleet.role == "balancer"
    assert [(one.name, one.address, one.weight) for one in fleet.app_hosts] == [
        ("web1", "", 1),
        ("web2", "10.0.0.22", 2),
        ("web3", "", 1),
    ]
    assert fleet.member().address == "10.0.0.1"


def test_an_app_host_asks_of_balancers_and_itself_alone():
    """Or twenty hosts would be asked four hundred times."""
    asked = []
    fleet = members.read("web2", GROUPS, lambda host: asked.append(host) or variables(host))
    assert fleet.role == "app"
    assert asked == ["lb1", "web2"]


@pytest.mark.parametrize(
    ("pattern", "hosts"),
    [
        ("", ["web1", "web2", "web3"]),
        ("web3:web1", ["web1", "web3"]),
        ("big", ["web3"]),
        ("wsgi:!web1", ["web2", "web3"]),
        ("web*", ["web1", "web2", "web3"]),
        ("lb1", []),
        ("nobody", []),
    ],
)
def test_hosts_of_a_pattern(pattern, hosts):
    assert members.hosts_of(pattern, GROUPS) == hosts
