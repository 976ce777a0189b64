"""An app that leaves as much as it can: it goes all the same, first without its data, then with it."""

from __future__ import annotations

import pytest

TRACES = "/srv/mallory /run/mallory /etc/wsgi/mallory /etc/nginx/wsgi/sites/mallory.conf"
TRACES += " /var/cache/nginx-mallory /var/cache/private/wsgi-build/mallory"


@pytest.fixture(scope="module")
def removed(on_all, mallories, attacks, play_once):
    """The app was removed, after it had prepared for that; what a run without its data did."""

    def prepare(host):
        shell = mallories[host.name]
        shell.back()
        for row in attacks["left"]:
            shell.run(row["run"])

    def remove(apps, **how):
        return play_once(
            wsgi_apps=[{**app, "state": "absent", **how} if app["name"] == "mallory" else app for app in apps]
        )

    on_all(prepare)
    return remove


def test_it_goes_without_its_data(removed, apps, hosts):
    run = removed(apps.values())
    assert run.code == 0, run.output[-3000:]
    for host in hosts:
        _gone(host)
        kept = host.run("stat -c '%U %a' /var/lib/mallory")
        assert kept == "root 700", f"{host.name}: what is kept of its data is open to others: {kept}"


def test_it_goes_with_its_data(removed, apps, hosts):
    run = removed(apps.values(), purge=True)
    assert run.code == 0, run.output[-3000:]
    for host in hosts:
        _gone(host)
        assert host.try_("ls -d /var/lib/mallory").returncode, f"{host.name}: its data is still there"
        orphans = host.run("find / -xdev -path /var/cache/private -prune -o \\( -nouser -o -nogroup \\) -print -quit")
        assert orphans == "", f"{host.name}: {orphans} belongs to a user that is gone"


def test_the_run_after_has_nothing_to_do(removed, apps):
    run = removed(apps.values(), purge=True)
    assert run.code == 0, run.output[-3000:]
    assert run.changed == []


def test_victim_is_unharmed(victim):
    victim.unharmed()
    victim.bystanders()


def _gone(host):
    """Nothing of it runs, and root's part of it is not there any more."""
    left = host.run(f"ls -d {TRACES} /etc/systemd/system/*mallory* /run/systemd/system/*mallory* 2>/dev/null || true")
    assert left == "", f"{host.name}: left behind: {left}"
    running = host.run("ps -eo pid,user:20,args | grep -E '^ *[0-9]+ +mallory |/mallory/' | grep -v grep || true")
    assert running == "", f"{host.name}: still running: {running}"
    assert host.try_("id mallory").returncode != 0, f"{host.name}: its user is still there"
    mounted = host.run("grep /mallory /proc/self/mountinfo || true")
    assert mounted == "", f"{host.name}: still mounted: {mounted}"
