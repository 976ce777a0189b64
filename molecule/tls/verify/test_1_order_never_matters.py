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
    """A domain more, another key type, another name of an app, a name without DNS, and two that lead elsewhere,
    one of which nobody looks through before.
    """
    apps["grow"]["domains"].append("www.grow.{{ inventory_hostname }}.example.test")
    apps["keyed"]["certbot"] = {"key_type": "rsa"}
    moved = {**apps["moved"], "name": "shifted"}
    apps["moved"]["state"] = "absent"
    apps["own"].update(tls="letsencrypt", domains=["astray.{{ inventory_hostname }}.example.test"])
    blind = _app(apps, "blind", certbot={"preflight": False})
    return [*apps.values(), moved, _app(apps, "late"), blind]


def test_unreachable_domain_is_named_and_not_asked_for(play, apps, hosts, client, authority, resolve, state):
    others = list(zip(hosts, reversed(hosts), strict=True))
    for host, other in others:
        resolve(other.ipv4, f"astray.{host.name}.example.test", f"blind.{host.name}.example.test")
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
    for host, other in others:
        said = f"astray.{host.name}.example.test: {other.ipv4} "
        assert said in run.output, f"what another host answers is not named:\n{run.output[-3000:]}"
        blind = f"blind.{host.name}.example.test"
        said = f'app "blind": no certificate was issued for {blind} by {authority.directory}: {blind}: '
        assert said in run.output, f"what the authority saw is not named:\n{run.output[-3000:]}"
        ledger = host.run("cat /var/lib/letsencrypt/wsgi-attempts.jsonl")
        assert f'"failed": ["{blind}"]' in ledger.splitlines()[-1], ledger
    told = seen()
    # One for the domain more, one for the key type, and one that fails; none for the new name and what is unreachable.
    assert (told.orders, told.issued) == (3 * HOSTS, 2 * HOSTS), told
    assert state("shifted") == before["moved"], "an app with another name has another certificate"
    for host in hosts:
        assert f"www.{host.domain('grow')}" in client.certificate(host.domain("grow"))
        assert client.get(f"https://{host.domain('moved')}/").status == 200
        key = host.run("openssl x509 -noout -text -in /etc/nginx/tls/keyed/fullchain.pem | grep 'Public Key Algorithm'")
        assert "rsaEncryption" in key


def test_mended_dns_domain_removed_another_authority_and_another_certbot(
    play, apps, hosts, client, authority, fickle, resolve
):
    """The certbot that uv installs, on both releases; it goes on with what Debian's has issued."""
    for host in hosts:
        resolve(host.ipv4, *(f"{name}.{host.name}.example.test" for name in ("late", "astray", "blind")))
    wanted = _first(apps)
    apps["grow"]["domains"].pop()
    apps["keyed"]["certbot"]["acme_directory"] = fickle.directory
    seen, seen_by_other = authority.mark(), fickle.mark()
    run = play(wsgi_apps=wanted, certbot_install_method="venv")
    assert run.code == 0, run.output
    told, other = seen(), seen_by_other()
    # For late, astray and blind, which can be reached now, and for grow, which has a domain less.
    assert (told.orders, told.issued) == (4 * HOSTS, 4 * HOSTS), told
    assert other.issued == HOSTS, f"refused nonces were not overcome with one certificate each: {other}"
    for host in hosts:
        name = LATE.format(host=host.name)
        assert client.get(f"https://{name}/", *_at(host, name)).status == 200
        assert "www." not in client.certificate(host.domain("grow"))

    seen, seen_by_other = authority.mark(), fickle.mark()
    again = play(wsgi_apps=wanted, certbot_install_method="venv")
    assert again.code == 0, again.output
    assert again.changed == []
    assert (seen().requests, seen_by_other().requests) == (0, 0), "a run with nothing to do asked an authority"
    for host in hosts:
        assert "/opt/wsgi/certbot-" in host.run("systemctl show certbot.service --property=ExecStart")
        assert host.run("systemctl is-enabled certbot.timer") == "enabled"
    hosts[0].run("systemctl start certbot.service")
    assert seen().renewal_infos > 0, "the authority was not asked when to renew"
    assert seen().orders == 0


def test_the_inventory_as_it_was(play, hosts, client, authority):
    """One run back to the beginning, with Debian's certbot."""
    seen = authority.mark()
    run = play()
    assert run.code == 0, run.output
    # keyed is of the first type and authority again; moved takes over what shifted has.
    assert seen().orders == HOSTS
    for host in hosts:
        assert client.get(host.url("moved")).status == 200
        assert "/usr/bin/certbot" in host.run("systemctl show certbot.service --property=ExecStart")
        assert host.run("systemctl is-enabled certbot.timer; systemctl is-active certbot.timer") == "enabled\nactive"
