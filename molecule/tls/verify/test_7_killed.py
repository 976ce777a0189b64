"""Killed in the middle, or with a DNS that fails at times: what was served is served, nginx could start.

The next run goes on.
"""

from __future__ import annotations

import datetime
import random
import re
from concurrent.futures import ThreadPoolExecutor

# Instead of a program that the deploy hook starts: ends the hook and the certbot that has started it.
KILLER = """#!/bin/sh
pid=$PPID
while [ "$pid" -gt 1 ]; do
    name=$(cat /proc/$pid/comm)
    pid=$(cut -d ' ' -f 4 /proc/$pid/stat; kill -KILL $pid)
    [ "$name" = certbot ] && break
done
"""
# What the hook starts, the last ones first.
STEPS = {"d12": ("nginx", "openssl"), "d13": ("systemctl", "sed")}

# The effects before which a run is killed: two rounds, a host each.
ROUNDS = (
    {
        "d12": r"^os.rename \S+/live/keyed /",  # of one issued aside, half is adopted
        "d13": r"^os.rename \S+/renewal/\.moved\.conf\.partial ",  # of one taken over, the files are there
    },
    {
        "d12": r"^os.rename \S+/tls/\.grow\.partial ",  # between placeholder and certificate
        "d13": r"^subprocess.Popen .*reload-or-restart",  # nginx has not been told
    },
)

SEED = 7

# Every app has a placeholder and no certificate; what `moved` had is there under another name.
BEGINNING = """set -e; cd /etc/letsencrypt
while pgrep -f '[c]ertbot certonly' >/dev/null; do sleep 0.2; done
if [ ! -e renewal/before.conf ]; then
    cp -a archive/moved archive/before; cp -a live/moved live/before
    for part in cert chain fullchain privkey; do
        ln -sfn "../../archive/before/$(basename "$(readlink live/moved/$part.pem)")" live/before/$part.pem
    done
    sed 's#/moved\\b#/before#' renewal/moved.conf >renewal/before.conf
fi
for app in grow keyed moved; do
    pair=/etc/nginx/tls.d/$app/placeholder-000000000000
    rm -rf /etc/nginx/tls.d/$app renewal/$app.conf; mkdir -p -m 700 /etc/nginx/tls.d/$app $pair
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 90 -subj /CN=$app \
        -addext "subjectAltName=DNS:$app.$0.example.test" -keyout $pair/privkey.pem -out $pair/fullchain.pem 2>/dev/null
    chmod 600 $pair/*; ln -sfn $pair /etc/nginx/tls/$app; rm -rf live/$app archive/$app
done
nginx -t -q; systemctl reload nginx"""


def _on_wire(client, host, app):
    return re.search(r"serial=(\w+)", client.certificate(host.domain(app)))[1]


def _on_disk(host, app):
    text = host.run(f"openssl x509 -noout -serial -in /etc/nginx/tls/{app}/fullchain.pem")
    return text.removeprefix("serial=")


def _serves(client, host, *names):
    """nginx could start, and the apps answer, be it on a placeholder."""
    host.run("nginx -t -q")
    for name in names:
        answer = client.get(host.url(name), "--insecure")
        assert (answer.status, answer.body) == (200, "hello\n"), f"{host.name}, {name}: {answer}"


def _renew_and_die(host, step):
    """Run what the timer runs, until the hook starts one of its programs."""
    host.run(f"mkdir -p /root/fault; cat >/root/fault/{step} <<'K'\n{KILLER}K\nchmod 755 /root/fault/{step}")
    shown = host.run("systemctl show certbot.service --property=Environment --value")
    host.run("sed -i 's/^renew_before_expiry.*/renew_before_expiry = 90 days/' /etc/letsencrypt/renewal/grow.conf")
    command = "certbot -q renew --cert-name grow --no-random-sleep-on-renew"
    done = host.try_(f"{shown} PATH=/root/fault:$PATH {command}")
    host.run("rm -r /root/fault")
    return done


def _begin(hosts):
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda host: host.run(f"sh -c '{_quoted(BEGINNING)}' {host.name}"), hosts))


def test_killed_in_the_deploy_hook(play, hosts, client):
    served = {host: _on_disk(host, "grow") for host in hosts}
    for number in range(2):
        before = {host: _on_disk(host, "grow") for host in hosts}
        with ThreadPoolExecutor() as pool:
            done = list(pool.map(lambda host, n=number: _renew_and_die(host, STEPS[host.name][n]), hosts))
        for host, killed in zip(hosts, done, strict=True):
            step = STEPS[host.name][number]
            assert killed.returncode == 137, f"{host.name}: not killed at {step}: {killed.stderr}{killed.stdout}"
            assert _on_disk(host, "grow") != before[host], "killed before the certificate was there"
            assert _on_wire(client, host, "grow") == served[host], f"killed at {step}, nginx was reloaded all the same"
            _serves(client, host, "grow", "keyed")
    run = play(playbook="../molecule/tls/certificates")
    assert run.code == 0, run.output[-3000:]
    for host in hosts:
        assert _on_wire(client, host, "grow") == _on_disk(host, "grow"), "the next run has not made it good"
        told = host.run("grep -h renew_before_expiry /etc/letsencrypt/renewal/grow.conf")
        assert re.fullmatch(r"renew_before_expiry = \d{7} seconds", told)


def test_killed_from_placeholder_to_certificate(play, hosts, client, traps):
    """Two certificates are issued side by side and adopted, a third one is taken over from another name."""
    names = ("grow", "keyed", "moved")

    def whole():
        run = play(playbook="../molecule/tls/certificates")
        assert run.code == 0, run.output[-3000:]
        for host in hosts:
            for name in names:
                answer = client.get(host.url(name))
                assert answer.status == 200, f"{host.name}, {name}: {answer.error}"
            assert host.run("ls -A /etc/nginx/tls.d") == "_ca\nca.pem\nown"

    for trap in traps.values():
        trap.lay("certificates.issue")
    for points in ROUNDS:
        _begin(hosts)
        for host in hosts:
            traps[host].set(points[host.name])
        run = play(*traps[hosts[0]].interpreter, playbook="../molecule/tls/certificates")
        assert run.code != 0
        for host in hosts:
            assert traps[host].sprung, f"{host.name} failed by itself:\n{run.output[-3000:]}"
            _serves(client, host, *names)
        whole()
    for host in hosts:
        host.run(
            "rm -rf /etc/letsencrypt/live/before /etc/letsencrypt/archive/before /etc/letsencrypt/renewal/before.conf"
        )


def _quoted(text):
    return text.replace("'", "'\\''")


# A ledger as it will be when the time has come that a run has named.
LATER = """
import json, sys
path, seconds = "/var/lib/letsencrypt/wsgi-attempts.jsonl", float(sys.argv[1])
lines = [json.loads(line) for line in open(path)]
open(path, "w").write("".join(json.dumps({**line, "at": line["at"] - seconds}) + chr(10) for line in lines))
"""


def test_names_that_fail_by_chance(play, hosts, apps, client, forgetful, break_dns):
    """From placeholders to certificates by an authority that knows no account.

    DNS fails for some names, others each time. What the authority saw fail is asked for again when the run has said.
    """
    names = ("grow", "keyed", "moved")
    for name in names:
        # grow is looked through before, and that costs no attempt.
        apps[name]["certbot"] = {"acme_directory": forgetful.directory, "preflight": name == "grow"}
    settings = {"playbook": "../molecule/tls/certificates", "wsgi_apps": list(apps.values()), "certbot_max_failures": 1}
    chance, waiting, locked = random.Random(SEED), {(host, name) for host in hosts for name in names}, set()
    _begin(hosts)
    try:
        for _number in range(2):
            failing = {pair for pair in sorted(waiting, key=str) if chance.random() < 0.5}
            break_dns([host.domain(name) for host, name in failing])
            run = play(**settings)
            said = " ".join(run.output.split())
            red = (waiting & failing) | locked
            assert (run.code != 0) == bool(red), run.output[-3000:]
            for host, name in waiting:
                domain = host.domain(name)
                words = f'app "{name}": no certificate was issued for {domain} by {forgetful.directory}: {domain}'
                assert (words in said) == ((host, name) in red), f"{domain}: {said[-3000:]}"
                if (host, name) in locked:
                    assert f"{words} has failed 1 times within an hour" in said
                elif (host, name) in red:
                    assert re.search(rf"{re.escape(words)}: .*?(SERVFAIL|server misbehaving)", said), said[-3000:]
            for host in hosts:
                _serves(client, host, *names)
            waiting, locked = red, {(host, name) for host, name in red if name != "grow"}
    finally:
        break_dns([])
    assert waiting
    assert locked
    ends = max(re.findall(r"asked again from (\d{4}-\d\d-\d\d \d\d:\d\d) UTC", said))
    ends = datetime.datetime.strptime(ends, "%Y-%m-%d %H:%M").replace(tzinfo=datetime.UTC)
    left = (ends - datetime.datetime.now(datetime.UTC)).total_seconds()
    assert 0 < left <= 3600
    for host in hosts:
        host.run(f"python3 - {left + 60} <<'L'\n{LATER}L")  # it names the minute
    run = play(**settings)
    assert run.code == 0, run.output[-3000:]
    for host in hosts:
        for name in names:
            answer = client.get(host.url(name), "--cacert", forgetful.root)
            assert answer.status == 200, f"{host.name}, {name}: {answer.error}"
