"""Links and races in the directories that an app may write to, where nginx, systemd and runs come by as others."""

from __future__ import annotations

import pytest

CLEAN = "rm -rf $UPLOADS/x $UPLOADS/y $HOME/z; [ ! -d $ASIDE ] || { rm -f $UPLOADS; mv $ASIDE $UPLOADS; }"
NAMES = "UPLOADS=$HOME/uploads ASIDE=$HOME/uploads.aside"
RACE = 5  # seconds


def test_nginx_serves_nothing_but_uploads(host, mallory, client, attacks):
    cached = host.run("find /var/cache/nginx-victim -type f | head -n 1")
    passwords = host.run("find /etc/nginx/wsgi/passwords/victim/ -type f | head -n 1")
    assert cached, "nothing is kept of victim's answers"
    found = []
    for row in attacks["served"]:
        done = mallory.run(f"{NAMES}; {row['run']}")
        assert done["code"] == 0, f"{row['attack']}: {done['output']}"
        answer = client.get(host.url("mallory", row["ask"].format(cached=cached, passwords=passwords)), "-m", "5")
        if answer.status == 200 or answer.exit == 28:
            found.append(
                f"{row['attack']}: reached {row['reach']}: {answer.status} {answer.error} {answer.body[:80]!r}"
            )
        mallory.run(f"{NAMES}; {CLEAN}")
    assert not found, f"{host.name}:\n" + "\n".join(found)
    assert client.get(host.url("mallory", "/uploads/own.txt")).body == "an ordinary upload\n"


def test_nginx_cannot_be_raced(host, mallory, client):
    mallory.start(f"python -m tricks swap uploads / {RACE}")
    script = "end=$(($(date +%s) + $2)); while [ $(date +%s) -lt $end ]; do"
    script += ' curl -s --cacert "$1" $(yes "$0" | head -n 300); done | grep -ac root:x:0 || true'
    got = client.shell(script, host.url("mallory", "/uploads/etc/passwd"), client.root, str(RACE))
    assert got == "0", f"{host.name}: nginx served /etc/passwd {got} times while uploads was by turns a link"
    mallory.run(f"{NAMES}; {CLEAN}; ls -A $HOME")


@pytest.fixture(scope="module")
def trapped(on_all, mallories, attacks):
    """Traps are laid, and the server has ended and been started again."""

    def lay(host):
        shell = mallories[host.name]
        done = shell.all({row["attack"]: row["run"] for row in attacks["traps"]})
        shell.die()
        return done

    return on_all(lay)


@pytest.fixture(scope="module")
def run_into_traps(trapped, play_once):
    """The run that follows."""
    assert trapped
    return play_once()


def test_systemd_does_not_follow(host, attacks, trapped, held):
    held(attacks["traps"], trapped[host.name], host)


def test_a_run_does_not_follow(host, attacks, trapped, run_into_traps, held):
    assert run_into_traps
    held(attacks["traps"], trapped[host.name], host)


def test_the_run_tells_the_truth(run_into_traps, truth):
    truth.of(run_into_traps)


@pytest.mark.usefixtures("run_into_traps")
def test_victim_is_unharmed(victim):
    victim.unharmed()
    victim.bystanders()


def test_the_next_run_is_right(hosts, mallories, play_once):
    for host in hosts:
        mallories[host.name].afresh()
    run = play_once()
    assert run.code == 0, run.output[-3000:]
    for shell in mallories.values():
        shell.back()
