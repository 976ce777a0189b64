"""Packages with compiled parts under the sandbox as it is by default, and what a person is told of those it stops."""

from __future__ import annotations

import re

import pytest

EXPOSURE_LIMIT = 1.5  # of `systemd-analyze security`: 0 is best, 10 worst
WORKS = {
    "cryptography": "secret",
    "fork": [1, 4, 9],
    "forkserver": [1, 4, 9],
    "gevent": [1024],
    "grpcio": "cba",
    "lxml": "1",
    "matplotlib": "\x89PNG",
    "numpy": 31249875000.0,
    "pandas": 4,
    "pillow": [32, 24],
    "psycopg": "binary: True",
    "pyarrow": 6,
    "readline": "help",
    "spawn": [1, 4, 9],
}
MACHINE_CODE = {"cffi": 49, "numba": 499500}


def test_the_entry_point_has_its_argument(host, client):
    assert client.get(host.url("packages")).body == "it's größer than $HOME"


@pytest.mark.parametrize("package", WORKS)
def test_package_works(host, client, package):
    answer = client.get(host.url("packages", f"/{package}"))
    assert answer.status == 200, f"{package} answered {answer.status}; the journal:\n{_journal(host)}"
    assert answer.json["result"] == WORKS[package]


def test_the_sandbox_is_tight_all_the_same(host):
    report = host.run(f"systemd-analyze security --no-pager {host.instance('packages')}")
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", report)
    assert found, report
    assert float(found[1]) <= EXPOSURE_LIMIT


def test_the_journal_has_the_app_s_name(host):
    written = host.run(f"journalctl --identifier packages --unit {host.instance('packages')} --output cat")
    assert "Starting gunicorn" in written


def test_what_the_sandbox_stops_and_what_crashes_after_the_switch_is_in_the_status(hosts, client, play):
    for host in hosts:
        assert client.get(host.url("packages", "/crash")).status == 502
        for package in MACHINE_CODE:
            assert client.get(host.url("packages", f"/{package}")).status == 500
    shown = play(playbook="status").output
    for host in hosts:
        told = [line for line in shown.splitlines() if line.startswith(f"{host.name}, packages, release ")]
        assert len(told) == 3, shown
        assert "a worker was ended by SIGSEGV" in told[0]
        for line in told[1:]:
            assert "executable memory" in line or "write+execute memory" in line
            assert "set release_memory_deny_write_execute to false" in line


def test_what_is_stopped_before_the_switch_is_the_first_line_of_the_message(hosts, apps, play):
    before = [host.release("packages") for host in hosts]
    app = apps["packages"] | {"entrypoint": 'packages:create_app("x", first="numba")'}
    run = play(playbook="deploy", wsgi_apps=[app])
    assert run.code != 0
    lines = run.output.splitlines()
    (first,) = (number for number, line in enumerate(lines) if "cannot allocate executable memory" in line)
    assert 'app "packages": PermissionError: ' in lines[first], run.output
    assert lines[first + 1].startswith("  packages.py:"), run.output
    message = "\n".join(lines[first : first + 8])
    for words in ("release_memory_deny_write_execute to false", "was not activated", "still serves"):
        assert words in message, run.output
    assert re.search(r"Read the rest on d1[23]: journalctl -u packages@\d+ -n 200", message), run.output
    assert [host.release("packages") for host in hosts] == before


def test_the_variable_that_the_message_names_opens_it(hosts, apps, play, client):
    app = apps["packages"] | {"release": {"memory_deny_write_execute": False}}
    run = play(playbook="deploy", wsgi_apps=[app])
    assert run.code == 0, run.output[-3000:]
    for host in hosts:
        for package, result in MACHINE_CODE.items():
            assert client.get(host.url("packages", f"/{package}")).json == {"result": result}


def _journal(host):
    return host.run(f"journalctl --unit {host.instance('packages')} --output cat --lines 40")
