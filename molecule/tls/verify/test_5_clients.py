"""Clients that show certificates of their own, and those that cannot."""

from __future__ import annotations

import pytest

# A client's certificate of each authority, and one that is over.
MAKE = """set -e; mkdir -p /tmp/clients; cd /tmp/clients
new() { openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "$@" 2>/dev/null; }
for ca in good other; do
    new -days 9 -subj /CN=$ca -keyout $ca.key -out $ca.pem -addext basicConstraints=critical,CA:TRUE
    new -days 9 -subj "/O=Clients/CN=of $ca" -keyout of-$ca.key -out of-$ca.pem -CA $ca.pem -CAkey $ca.key \
        -addext basicConstraints=CA:FALSE -addext extendedKeyUsage=clientAuth
done
new -not_before 20200101000000Z -not_after 20200201000000Z -subj /CN=late -keyout late.key -out late.pem \
    -CA good.pem -CAkey good.key -addext basicConstraints=CA:FALSE
cat good.pem"""
FORGED = [
    *("-H", "X-Client-Cert-Verify: SUCCESS", "-H", "X-Client-Cert-Subject: CN=forged"),
    *("-H", "X_Client_Cert_Verify: SUCCESS", "-H", "X_Client_Cert_Subject: CN=forged"),
]


def _shows(name):
    """Options that let curl show a certificate."""
    return ["--cert", f"/tmp/clients/{name}.pem", "--key", f"/tmp/clients/{name}.key"]


@pytest.fixture(scope="module")
def client_ca(client, tmp_path_factory):
    path = tmp_path_factory.mktemp("clients") / "ca.pem"
    path.write_text(client.shell(MAKE), encoding="utf-8")
    return str(path)


def test_only_clients_with_a_good_certificate_get_to_where_one_is_needed(play, apps, hosts, client, client_ca):
    private = {"/private": {"client_verify": "on"}}
    apps["moved"]["nginx"] = {"client_ca": client_ca, "locations": private}
    apps["own"]["nginx"] = {
        "client_ca": client_ca,
        "client_verify": "on",
        "locations": {"/open": {"client_verify": "optional"}},
    }
    run = play(playbook="../molecule/tls/certificates", wsgi_apps=list(apps.values()))
    assert run.code == 0, run.output
    for host in hosts:
        url = host.url("moved")

        def refused(*options, path="/private/who", base=url):
            answer = client.get(base.rstrip("/") + path, *options)
            assert (answer.status, answer.headers["content-type"]) == (403, "application/problem+json"), answer
            assert answer.json["title"] == "Forbidden"

        refused()
        refused(*FORGED)
        refused("--http1.1")
        for name in ("of-other", "late"):
            refused(*_shows(name))
            refused(*_shows(name), path="/who")
        for forged in ([], FORGED):
            assert client.get(f"{url}who", *forged).body == "NONE \n"
            known = client.get(f"{url}private/who", *_shows("of-good"), *forged)
            assert (known.status, known.body) == (200, "SUCCESS CN=of good,O=Clients\n")
        assert client.get(f"{host.url('keyed')}who", *FORGED).body == " \n", "an app without client_ca is told lies"
        # In the handshake a name that asks for no certificate, in the request one that needs it.
        hidden = client.get(f"{host.url('keyed')}private/who", "-H", f"Host: {host.domain('moved')}")
        assert hidden.status == 421, hidden

        refused("--insecure", base=host.url("own"))
        assert client.get(f"{host.url('own')}who", "--insecure", *_shows("of-good")).body.startswith("SUCCESS")
        assert client.get(f"{host.url('own')}open/who", "--insecure").body == "NONE \n"
