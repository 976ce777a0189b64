"""Killed in the middle: whatever was served goes on being served, nginx could start, and the next run finishes."""

from __future__ import annotations

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
# What the hook starts, in this order.
STEPS = {"d12": ("openssl", "nginx"), "d13": ("sed", "systemctl")}

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


def test_killed_in_the_deploy_hook(play, hosts, client):
    for number in range(2):
        before = {host: _on_disk(host, "grow") for host in hosts}
        with ThreadPoolExecutor() as pool:
            done = list(pool.map(lambda host, n=number: _renew_and_die(host, STEPS[host.name][n]), hosts))
        for host, killed in zip(hosts, done, strict=True):
            step = STEPS[host.name][number]
            assert killed.returncode == 137, f"{host.name}: not killed at {step}: {killed.stderr}{killed.stdout}"
            assert _on_disk(host, "grow") != before[host], "killed before the certificate was there"
            assert _on_wire(client, host, "grow") == before[host], f"killed at {step}, nginx was reloaded all the same"
            _serves(client, host, "grow", "keyed")
        run = play(playbook="../molecule/tls/certificates")
        assert run.code == 0, run.output[-3000:]
        for host in hosts:
            assert _on_wire(client, host, "grow") == _on_disk(host, "grow"), "the next run has not made it good"
            assert re.fullmatch(
                r"renew_before_expiry = \d{7} seconds",
                host.run("grep -h renew_before_expiry /etc/letsencrypt/renewal/grow.conf"),
            )


def test_killed_from_placeholder_to_certificate(play, hosts, client, traps):
    """Two certificates are issued side by side and adopted, a third one is taken over from another name."""
    names = ("grow", "keyed", "moved")

    def begin():
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda host: host.run(f"sh -c '{_quoted(BEGINNING)}' {host.name}"), hosts))

    def whole():
        run = play(playbook="../molecule/tls/certificates")
        assert run.code == 0, run.output[-3000:]
        for host in hosts:
            for name in names:
                answer = client.get(host.url(name))
                assert answer.status == 200, f"{host.name}, {name}: {answer.error}"
            assert host.run("ls -A /etc/nginx/tls.d") == "_ca\nca.pem\nown"

    for trap in traps.values():
        trap.lay("certificate_issue")
    for points in ROUNDS:
        begin()
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
