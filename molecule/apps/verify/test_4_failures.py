"""Apps that cannot be deployed beside one that can: each is named, the others go live, and nothing else changes."""

from __future__ import annotations

import pytest

PUBLISHED = {"source": {"package": "httpbin", "version": "0.10.4"}, "entrypoint": "httpbin:app", "tls": "off"}
BROKEN = {
    "unimportable": ({"entrypoint": "httpbin:no_such_callable"}, "no_such_callable"),
    "nopackage": (
        {"system_packages": ["no-such-package-of-anyone"], "build_packages": ["make"]},
        "system_packages has no-such-package-of-anyone, which apt cannot install on this host (Unable to locate",
    ),
    "nocalendar": (
        {"timers": [{"name": "tick", "command": "true", "on_calendar": "Fooday"}]},
        'timers[0].on_calendar is "Fooday", which systemd does not take',
    ),
    "nopython": (
        {"python": {"version": "3.99"}},
        'python.version is "3.99", which this host does not have and uv could',
    ),
    "taken": ({"listen": "127.0.0.1:8199"}, "listen is 127.0.0.1:8199, and python3 has that port"),
    "foreign": ({}, "the host has the directory /srv/foreign, which is not this app's"),
}


@pytest.fixture
def d13(hosts):
    """A host where somebody else has an address and a directory."""
    host = next(host for host in hosts if host.name == "d13")
    host.run("systemd-run --quiet --unit=somebody python3 -m http.server --bind 127.0.0.1 8199")
    host.run("mkdir /srv/foreign && touch /srv/foreign/theirs")
    yield host
    host.run("systemctl stop somebody; rm -r /srv/foreign")


def test_every_app_that_fails_is_named_and_the_others_are_served(d13, apps, play, client):
    begin = play("--limit", "d13", playbook="deploy", wsgi_apps=[apps["shop"], apps["radicale"]])
    assert begin.code == 0, begin.output
    before = {name: d13.release(name) for name in ("shop", "radicale")}
    broken = [
        {**PUBLISHED, "name": name, "domains": [f"{name}.example.test"], **changes}
        for name, (changes, _words) in BROKEN.items()
    ]
    another = {
        **PUBLISHED, "name": "another", "domains": ["another.d13.example.test"], "system_packages": ["tree"],
    }  # fmt: skip
    run = play("--limit", "d13", wsgi_apps=[*broken, apps["shop"], apps["radicale"], another])
    assert run.code != 0
    for name, (_changes, words) in BROKEN.items():
        assert f'app "{name}": ' in run.output, run.output[-6000:]
        assert words in run.output, run.output[-6000:]
    assert client.get("http://another.d13.example.test/get").status == 200
    assert d13.run("tree --version")
    assert {name: d13.release(name) for name in before} == before
    assert d13.run("ls /srv/foreign") == "theirs"
    for name in BROKEN:
        assert d13.try_(f"readlink /srv/{name}/current").returncode != 0
