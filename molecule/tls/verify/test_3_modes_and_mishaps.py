"""Certificates of other origins, somebody who is told in time, and runs that are killed."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

# Waits for certbot and kills it, and what has started it.
KILL = """
for _ in $(seq 6000); do
    if certbot=$(pgrep -f '[c]ertbot certonly' | head -n 1) && [ "$certbot" ]; then
        kill -KILL $(ps -o ppid= -p "$certbot") "$certbot"
        exit
    fi
    sleep 0.1
done
exit 1
"""
WATCH = "/usr/local/lib/wsgi-certificates.py"


def test_selfsigned_is_trusted_by_who_trusts_the_host(host, client):
    text = host.run("cat /etc/nginx/tls.d/ca.pem")
    place = f"/tmp/own-{host.name}.pem"
    command = ["docker", "exec", "-i", client.container, "sh", "-c", f"cat >{place}"]
    subprocess.run(command, input=text, text=True, check=True)
    asked = ["docker", "exec", client.container, "curl", "-sS", "--cacert", place, host.url("own")]
    answer = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stdout) == (0, "hello\n"), answer.stderr


def _provided(apps, pem):
    apps["own"].update(tls="provided", certificate=pem)
    return [*apps.values(), *({"name": name, "state": "absent"} for name in ("gone", "short"))]


@pytest.fixture(scope="module")
def pairs(pem):
    """Three pairs for the app `own` of every host, the last one for a name that it does not have."""
    names = ("own.d12.example.test", "own.d13.example.test")
    return [pem("first", *names), pem("second", *names), pem("third", "other.example.test")]


def test_provided_that_does_not_fit_is_refused_before_a_host_is_touched(play, apps, pairs):
    mixed = {"cert": pairs[0]["cert"], "key": pairs[1]["key"]}
    run = play(wsgi_apps=_provided(apps, mixed))
    assert run.code != 0
    assert 'app "own": certificate.key does not belong to the certificate' in run.output, run.output[-2000:]
    assert "no host was touched" in run.output
    other = play(wsgi_apps=_provided(apps, pairs[2]))
    assert "certificate.cert does not cover own.d12.example.test" in other.output, other.output[-2000:]
    assert run.changed == other.changed == []


def test_status_tells_wire_from_disk(play, hosts):
    for host in hosts:
        host.run("ln -sfn /etc/letsencrypt/live/keyed /etc/nginx/tls/grow")
    run = play(playbook="status")
    for host in hosts:
        host.run("ln -sfn /etc/letsencrypt/live/grow /etc/nginx/tls/grow")
        (row,) = [line for line in run.output.splitlines() if line.split()[:2] == [host.name, "grow"]]
        assert f"{host.domain('grow')} shows another one than the one on disk" in row, row
        (row,) = [line for line in run.output.splitlines() if line.split()[:2] == [host.name, "moved"]]
        assert "another" not in row, row


def test_killed_while_the_authority_is_asked(play, apps, hosts, client, pairs):
    """certbot and the run on the host die in the middle: the site serves, nginx could start, the next run finishes.

    The same runs put one provided certificate in place of another, have a timer look at all of them, and go back to
    Debian's certbot.
    """
    apps["grow"]["domains"].append("www.grow.{{ inventory_hostname }}.example.test")
    settings = {"certbot_watch": True, "certbot_watch_command": "cat >/tmp/told"}
    with ThreadPoolExecutor() as pool:
        kills = [pool.submit(host.try_, KILL) for host in hosts]
        run = play(wsgi_apps=_provided(apps, pairs[0]), **settings)
    assert [kill.result().returncode for kill in kills] == [0 for _ in hosts], "nothing was killed"
    assert run.code != 0
    before = {}
    for host in hosts:
        host.run("nginx -t")
        assert client.get(host.url("grow")).status == 200
        before[host] = client.certificate(host.domain("own"))

    again = play(playbook="../molecule/tls/certificates", wsgi_apps=_provided(apps, pairs[1]), **settings)
    assert again.code == 0, again.output
    for host in hosts:
        assert client.get(f"https://www.{host.domain('grow')}/").status == 200
        assert client.certificate(host.domain("own")) != before[host], "the replaced certificate is not served"
        assert client.get(host.url("own"), "--insecure").status == 200
        assert "/usr/local/lib/wsgi-renew" in host.run("systemctl show certbot.service --property=ExecStart")
        assert host.run("systemctl is-enabled certbot.timer; systemctl is-active certbot.timer") == "enabled\nactive"
        modes = host.run("find -L /etc/nginx/tls -name privkey.pem -exec stat -L -c '%a %U' {} + | sort -u")
        assert modes == "600 root", f"{host.name}: keys that others could read:\n{modes}"


def test_somebody_is_told_in_time(host):
    host.run("systemctl start wsgi-certificates.service; systemctl is-enabled wsgi-certificates.timer")
    # As it will be when hardly anything is left of a certificate's life.
    failed = host.try_(f"sed 's/^LEFT = .*/LEFT = 100/' {WATCH} >/root/watch; python3 /root/watch")
    assert failed.returncode == 1, failed.stdout
    assert "own." in failed.stderr
    assert "% of its certificate's life left" in host.run("cat /tmp/told")
