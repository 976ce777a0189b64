"""Wildcards: the authority's challenge answered in a real BIND by RFC 2136 updates, with plugins of both releases.

The authority takes only accounts that are bound to one it knows.
"""

from __future__ import annotations

import base64
import json
import secrets
import subprocess

import pytest
from testbed import labs

PORT = 5353
BINDING = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
NAMED = """
options {{ directory "/tmp/bind"; listen-on port {port} {{ any; }}; listen-on-v6 {{ none; }}; recursion no;
           pid-file none; session-keyfile none; dnssec-validation no; }};
key wsgi {{ algorithm hmac-sha256; secret "{secret}"; }};
zone "wild.test" {{ type primary; file "wild.test"; allow-update {{ key wsgi; }}; }};
"""
ZONE = """$TTL 1
@ SOA ns hostmaster 1 60 60 600 1
@ NS ns
ns A 127.0.0.1
"""


@pytest.fixture(scope="module")
def zone(client):
    """A zone that a key may change, and an authority that looks there; returns what the plugin is told."""
    secret = base64.b64encode(secrets.token_bytes(32)).decode()
    binding = f'"externalAccountBindingRequired": true, "externalAccountMACKeys": {{"kid-1": "{BINDING}"}}'
    edits = f's/:14000/:14002/; s/:15000/:15002/; s/"externalAccountBindingRequired": false/{binding}/'
    pebble = f"sed '{edits}' /etc/pebble/config.json >/tmp/named.json; cd /etc/pebble"
    pebble += "; export PEBBLE_VA_NOSLEEP=1 PEBBLE_WFE_NONCEREJECT=0"
    pebble += f"; pebble -config /tmp/named.json -dnsserver 127.0.0.1:{PORT} >/tmp/named.log 2>&1"
    script = f"""set -e; mkdir -p /tmp/bind; cd /tmp/bind
printf '%s' '{ZONE}' >wild.test; printf '%s' '{NAMED.format(port=PORT, secret=secret)}' >named.conf
named -c /tmp/bind/named.conf; {pebble}"""
    subprocess.run(["docker", "exec", "-d", client.container, "sh", "-c", script], check=True)
    ask = ["docker", "exec", client.container, "curl", "-sf", "--cacert", "/etc/pebble/acme.pem"]

    def ready():
        return subprocess.run([*ask, "https://localhost:14002/dir"], capture_output=True, check=False).returncode == 0

    labs.wait_for(ready, "the authority that asks BIND", 30)
    lines = {"server": client.ipv4, "port": PORT, "name": "wsgi", "secret": secret, "algorithm": "HMAC-SHA256"}
    return "".join(f"dns_rfc2136_{key} = {value}\n" for key, value in lines.items()), secret


def test_wildcard(play, apps, hosts, client, zone, tmp_path):
    told, secret = zone
    credentials = tmp_path / "dns.ini"
    credentials.write_text(told, encoding="utf-8")
    credentials.chmod(0o600)
    wild = {
        **apps["own"],
        "tls": "letsencrypt",
        "domains": ["*.{{ inventory_hostname }}.wild.test", "{{ inventory_hostname }}.wild.test"],
        "certbot": {
            "acme_directory": labs.ACME_DIRECTORY.replace(":14000", ":14002"),
            "challenge": "dns-01",
            "dns_plugin": "dns-rfc2136",
            "dns_credentials": str(credentials),
            "dns_propagation": 1,
            "eab_kid": "kid-1",
            "eab_hmac_key": BINDING,
        },
    }
    wanted = [wild if app["name"] == "own" else app for app in apps.values()]
    run = play("--diff", wsgi_apps=wanted)
    assert run.code == 0, run.output
    assert secret not in run.output, "the output shows the key to DNS"
    assert BINDING not in run.output, "the output shows the key to the account"
    for host in hosts:
        name = f"any.{host.name}.wild.test"
        served = client.certificate(name, host.ipv4)
        assert f"DNS:*.{host.name}.wild.test" in served, f"not served with the wildcard: {served}"
        assert "Pebble Intermediate" in served
        lies = host.try_(f"grep -rl -e {BINDING} /etc/letsencrypt /tmp /var/log").stdout
        assert lies == "", f"the key to the account lies about: {lies}"
        assert host.run("stat -c '%a %U' /etc/letsencrypt/credentials/own.ini") == "600 root"
        renewed = host.try_(
            "REQUESTS_CA_BUNDLE=/etc/ssl/acme-ca.pem certbot renew -q --force-renewal --no-random-sleep-on-renew"
            " --cert-name own"
        )
        assert renewed.returncode == 0, f"the timer could not renew it: {renewed.stderr}"
        assert client.certificate(name, host.ipv4) != served, "the renewed certificate is not served"
    again = play(wsgi_apps=wanted)
    assert (again.code, again.changed) == (0, []), json.dumps(again.changed)
