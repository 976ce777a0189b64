"""DNS later, a domain more or less, another app name, key type or authority: one ordinary run each, in any order.

The tests build on one another. How often the authority was asked is read from its own log, for both hosts together.
"""

from __future__ import annotations

HOSTS = 2
LATE = "late.{host}.example.test"


def _app(apps, name, **changes):
    return {**apps["grow"], "name": name, "domains": [f"{name}.{{{{ inventory_hostname }}}}.example.test"], **changes}


def _at(host, name):
    """Options that let curl find a name that only the authority's DNS has."""
    return ["--resolve", f"{name}:443:{host.ipv4}"]


def _first(apps):
    """A name without DNS, a domain more, another key type, another name of an app, an authority that is fickle."""
    apps["grow"]["domains"].append("www.grow.{{ inventory_hostname }}.example.test")
    apps["keyed"]["certbot"] = {"key_type": "rsa"}
    moved = {**apps["moved"], "name": "shifted"}
    apps["moved"]["state"] = "absent"
    return [*apps.values(), moved, _app(apps, "late")]


def test_unreachable_domain_is_named_and_not_asked_for(play, apps, hosts, client, authority, state):
    before = {name: state(name) for name in ("grow", "keyed", "moved")}
    seen = authority.mark()
    run = play(wsgi_apps=_first(apps))
    assert run.code != 0, "the run reports success though a domain cannot be reached"
    for host in hosts:
        name = LATE.format(host=host.name)
        said = f'app "late": no certificate was issued for {name}'
        assert said in run.output, run.output[-3000:]
        assert f"{name}: no DNS: " in run.output, run.output[-3000:]
        answer = client.get(f"https://{name}/", *_at(host, name), "--insecure")
        assert answer.status == 200, f"the site does not serve on the placeholder: {answer.status} {answer.error}"
    told = seen()
    # One for the domain more and one for the key type, on each host; none for the new name, none for what is unreachable.
    assert (told.orders, told.issued) == (2 * HOSTS, 2 * HOSTS), told
    assert state("shifted") == before["moved"], "an app with another name has another certificate"
    for host in hosts:
        assert f"www.{host.domain('grow')}" in client.certificate(host.domain("grow"))
        assert client.get(f"https://{host.domain('moved')}/").status == 200
        key = host.run("openssl x509 -noout -text -in /etc/nginx/tls/keyed/fullchain.pem | grep 'Public Key Algorithm'")
        assert "rsaEncryption" in key


def test_mended_dns_domain_removed_and_another_authority(play, apps, hosts, client, authority, fickle, resolve):
    for host in hosts:
        resolve(host.ipv4, LATE.format(host=host.name))
    wanted = _first(apps)
    apps["grow"]["domains"].pop()
    apps["keyed"]["certbot"]["acme_directory"] = fickle.directory
    seen, seen_by_other = authority.mark(), fickle.mark()
    run = play(wsgi_apps=wanted)
    assert run.code == 0, run.output
    told, other = seen(), seen_by_other()
    assert (told.orders, told.issued) == (2 * HOSTS, 2 * HOSTS), told
    assert other.issued == HOSTS, f"refused nonces were not overcome with one certificate each: {other}"
    for host in hosts:
        name = LATE.format(host=host.name)
        assert client.get(f"https://{name}/", *_at(host, name)).status == 200
        assert "www." not in client.certificate(host.domain("grow"))

    seen, seen_by_other = authority.mark(), fickle.mark()
    again = play(wsgi_apps=wanted)
    assert again.code == 0, again.output
    assert again.changed == []
    assert (seen().requests, seen_by_other().requests) == (0, 0), "a run with nothing to do asked an authority"


def test_what_another_host_answers_is_named(play, apps, hosts, authority, resolve):
    """The domains of each host lead to the other one, and one leads nowhere."""
    for host, other in zip(hosts, reversed(hosts), strict=True):
        resolve(other.ipv4, f"astray.{host.name}.example.test")
    apps["own"].update(tls="letsencrypt", domains=["astray.{{ inventory_hostname }}.example.test"])
    seen = authority.mark()
    run = play(wsgi_apps=_first(apps))
    assert run.code != 0
    for host, other in zip(hosts, reversed(hosts), strict=True):
        assert f"astray.{host.name}.example.test: {other.ipv4} " in run.output, run.output[-3000:]
    # For the domain that grow has again, and for keyed, which is back from the other authority.
    assert seen().orders == 2 * HOSTS
