"""Renewals by the timer's own command, here certbot from uv: served, without a lost request, each on its own.

The scenario `default` renews with Debian's.
"""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor

# Handshakes and requests, each over a new connection, until told to stop. What fails is kept.
LOAD = """
import json, os, socket, ssl, sys, threading, time
name, stop, done, failed = sys.argv[1], "/tmp/stop-load", [], []
context = ssl.create_default_context(cafile="/etc/ssl/pebble-root.pem")
def work():
    while not os.path.exists(stop):
        try:
            with socket.create_connection(("127.0.0.1", 443), timeout=10) as plain:
                with context.wrap_socket(plain, server_hostname=name) as secured:
                    secured.sendall(f"GET / HTTP/1.0\\r\\nHost: {name}\\r\\n\\r\\n".encode())
                    answer = b""
                    while chunk := secured.recv(4096):
                        answer += chunk
            if not answer.startswith(b"HTTP/1.1 200") or not answer.endswith(b"hello\\n"):
                failed.append(repr(answer[:80]))
        except OSError as error:
            failed.append(str(error))
        done.append(1)
        time.sleep(0.01)
threads = [threading.Thread(target=work) for _ in range(4)]
deadline = threading.Timer(600, lambda: open(stop, "w").close())
deadline.start()
[thread.start() for thread in threads]
[thread.join() for thread in threads]
deadline.cancel()
print(json.dumps({"done": len(done), "failed": failed[:5], "number": len(failed)}))
"""


def _renew(host, *options):
    """Run what the timer runs, with its environment; as `systemctl start` would, but saying what happened."""
    shown = host.run("systemctl show certbot.service --property=Environment --value")
    command = re.search(r"argv\[\]=(.*?) ;", host.run("systemctl show certbot.service --property=ExecStart"))
    return host.try_(f"{shown} {command[1]} {' '.join(options)}")


def _serial(client, host, app):
    return re.search(r"serial=(\w+)", client.certificate(host.domain(app)))[1]


def test_under_load_nothing_is_lost(hosts, client, authority_root):
    def one(host):
        before = _serial(client, host, "grow")
        for number in range(2):
            renewed = _renew(host, "--force-renewal", "--cert-name", "grow")
            assert renewed.returncode == 0, f"{host.name}, {number}: {renewed.stderr}"
        return before != _serial(client, host, "grow")

    def loaded(host):
        host.run(f"rm -f /tmp/stop-load; cat >/etc/ssl/pebble-root.pem <<'PEM'\n{authority_root}\nPEM")
        with ThreadPoolExecutor() as pool:
            load = pool.submit(host.run, f"python3 - {host.domain('grow')} <<'LOAD'\n{LOAD}\nLOAD")
            try:
                assert one(host), f"{host.name}: the renewed certificate is not served"
            finally:
                host.run("touch /tmp/stop-load")
            return json.loads(load.result())

    with ThreadPoolExecutor() as pool:
        for told in pool.map(loaded, hosts):
            assert told["done"] > 100, told
            assert told["number"] == 0, told


def test_the_authority_is_asked_when_to_renew(hosts, authority):
    seen = authority.mark()
    hosts[0].run("systemctl start certbot.service")
    told = seen()
    assert told.renewal_infos > 0, told
    assert told.orders == 0, told


def test_one_that_fails_does_not_block_the_others(hosts, client, profiled, resolve):
    # In the order of their names: grow fails first. The others are not due.
    due = " ".join(f"/etc/letsencrypt/renewal/{name}.conf" for name in ("grow", "keyed", "short", "wild"))
    before = {host: _serial(client, host, "keyed") for host in hosts}
    wild = {host: client.certificate(f"any.{host.name}.wild.test", host.ipv4) for host in hosts}
    brief = {host: client.certificate(host.domain("short"), host.ipv4) for host in hosts}
    for host in hosts:
        resolve("127.0.0.1", host.domain("grow"))
        host.run(f"sed -i 's/^renew_before_expiry.*/renew_before_expiry = 90 days/' {due}")
    try:
        with ThreadPoolExecutor() as pool:
            renewals = dict(zip(hosts, pool.map(_renew, hosts), strict=True))
    finally:
        for host in hosts:
            resolve(host.ipv4, host.domain("grow"))
    for host, renewed in renewals.items():
        assert renewed.returncode != 0, f"{host.name}: a failed renewal leaves the unit green"
        assert "grow" in renewed.stderr + renewed.stdout
        assert _serial(client, host, "keyed") != before[host], "the certificate that could be renewed is not served"
        now = client.certificate(f"any.{host.name}.wild.test", host.ipv4)
        assert now != wild[host], "the wildcard was not renewed"
        assert client.get(host.url("grow")).status == 200, "the site lost the certificate it had"
        assert client.get(f"https://{host.ipv4}/", "--cacert", profiled.root).status == 200, "the address was lost"
        assert client.certificate(host.domain("short"), host.ipv4) != brief[host], (
            "the one of a few days was not renewed"
        )
        week = host.try_("openssl x509 -noout -checkend 604800 -in /etc/nginx/tls/short/fullchain.pem")
        assert week.returncode == 1, "the renewal lost the profile"


def test_the_timer_comes_every_six_hours(host):
    shown = host.run("systemctl show certbot.timer --property=TimersCalendar,RandomizedDelayUSec,Persistent")
    assert re.findall(r"OnCalendar=(.+?) ;", shown) == ["*-*-* 00/6:00:00"], shown
    assert {"RandomizedDelayUSec=6h", "Persistent=yes"} <= set(shown.splitlines()), shown


def test_renewal_is_due_at_a_share_of_its_life(host):
    """The hook sets it for each new certificate, whatever certbot's own default is: 33 % of 90 days."""
    text = host.run("grep -h renew_before_expiry /etc/letsencrypt/renewal/keyed.conf")
    life = 7776000 - 1  # the authority's certificates end a second earlier
    assert text == f"renew_before_expiry = {life * 33 // 100} seconds"
