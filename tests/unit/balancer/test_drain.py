"""Draining: what is refused, what is noted, what is waited for."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.balancer import drain, drained
from ansible_collections.webops.wsgi.plugins.module_utils.release.health import Health

SERVERS = [drain.Server(f"web{number}", f"10.0.0.2{number}", 80) for number in (1, 2, 3)]
API = drain.App("api", Health(), SERVERS)
ONCE = drain.App("once", Health(), SERVERS[1:])


def well(_server: drain.Server, _health: Health) -> str:
    return ""


def web3_is_dead(server: drain.Server, _health: Health) -> str:
    return "GET / got no answer" if server.host == "web3" else ""


def test_a_host_may_go_while_others_are_healthy():
    drain.check("web1", [API, ONCE], [], 1, well)


@pytest.mark.parametrize(
    ("host", "out", "least", "asked", "words"),
    [
        ("web2", [], 1, web3_is_dead, ['app "once"', "no host in service", "web3: GET / got no answer"]),
        ("web2", ["web3"], 1, well, ['app "once"', "no host"]),
        ("web1", [], 3, well, ['app "api"', "web2, web3", "balancer_min_hosts is 3"]),
    ],
)
def test_a_host_that_is_needed_is_not_drained(host, out, least, asked, words):
    with pytest.raises(drain.DrainError) as refused:
        drain.check(host, [API, ONCE], out, least, asked)
    assert all(word in str(refused.value) for word in words)


def test_what_a_person_has_drained_a_run_does_not_put_back(tmp_path):
    folder = tmp_path / "drained"
    assert drained.put("web1", drained.PERSON, folder)
    assert not drained.put("web1", drained.RUN, folder)
    assert drained.drained(folder) == {"web1": "person"}


def test_a_person_keeps_drained_what_a_run_had(tmp_path):
    assert drained.put("web1", drained.RUN, tmp_path)
    assert not drained.put("web1", drained.RUN, tmp_path)
    assert drained.put("web1", drained.PERSON, tmp_path)
    assert drained.take_back("web1", tmp_path)
    assert not drained.take_back("web1", tmp_path)


def test_check_mode_notes_nothing(tmp_path):
    assert drained.put("web1", drained.PERSON, tmp_path, dry=True)
    assert drained.drained(tmp_path) == {}


TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0B00000A:C350 1500000A:0050 01 00000000:00000000 00:00000000 00000000    33        0 1 1
   1: 0B00000A:C351 1600000A:0050 01 00000000:00000000 00:00000000 00000000    33        0 1 1
   2: 0B00000A:C352 1500000A:0050 06 00000000:00000000 00:00000000 00000000    33        0 1 1
"""


def test_connections_to_a_host_are_counted():
    assert drain.connections(SERVERS[:1], [TABLE]) == 1
    assert drain.connections(SERVERS, [TABLE]) == 2


def test_what_does_not_end_is_not_waited_for_for_ever():
    assert drain.wait(SERVERS[:1], 0.3, lambda: [TABLE]) == 1
    assert drain.wait(SERVERS[2:], 5, lambda: [TABLE]) == 0


def test_connections_that_are_open_are_seen():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = drain.Server("web1", *listener.getsockname())
        tables = [Path("/proc/net/tcp")]
        assert drain.connections([server], [table.read_text() for table in tables]) == 0
        with socket.create_connection(listener.getsockname()), listener.accept()[0]:
            assert drain.connections([server], [table.read_text() for table in tables]) == 1


def test_connections_over_ipv6_are_counted():
    # 2001:db8::21 as a little-endian machine has it.
    ours = "B80D0120000000000000000010000000:C001"
    theirs = "B80D0120000000000000000021000000:0050"
    table = f"  sl  local_address remote_address st\n   0: {ours} {theirs} 01 00000000:00000000\n"
    assert drain.connections([drain.Server("web1", "2001:db8::21", 80)], ["", table]) == 1
