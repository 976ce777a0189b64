"""DNS later, a domain more or less, another app name, key type or authority: one ordinary run each, in any order.

The tests build on one another. How often the authority was asked is read from its own log, for both hosts together.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from testbed import labs

NOBODY = labs.ACME_DIRECTORY.replace("14000", "14009")  # where no authority is
HOSTS = 2
PRESENT_ON_13 = "{{ (inventory_hostname == 'd13') | ternary('present', 'absent') }}"
HOOK = "/etc/letsencrypt/renewal-hooks/pre/web"
STOPPING = f"""mkdir -p $(dirname {HOOK}); printf '#!/bin/sh\nsystemctl stop nginx\n' >{HOOK}; chmod 755 {HOOK}"""
SHORTLIVED = 160 * 3600  # seconds
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


def _short(apps, profiled, profile):
    return _app(apps, "short", certbot={"acme_directory": profiled.directory, "profile": profile})


def _wild(apps, named):
    domains = ["*.{{ inventory_hostname }}.wild.test", "{{ inventory_hostname }}.wild.test"]
    return _app(apps, "wild", domains=domains, certbot=named.certbot)


def test_unreachable_domain_is_named_and_not_asked_for(play, apps, hosts, client, authority, profiled, resolve, state):
    others = list(zip(hosts, reversed(hosts), strict=True))
    for host, other in others:
        resolve(host.ipv4, f"short.{host.name}.example.test")
        resolve(other.ipv4, f"astray.{host.name}.example.test", f"blind.{host.name}.example.test")
    before = {name: state(name) for name in ("grow", "keyed", "moved")}
    seen = authority.mark()
    run = play(wsgi_apps=[*_first(apps), _short(apps, profiled, "short-lived")])
    assert run.code != 0, "the run reports success though a domain cannot be reached"
    for host in hosts:
        name = LATE.format(host=host.name)
        said = f'app "late": no certificate was issued for {name}'
        assert said in run.output, run.output[-3000:]
        assert f"{name}: no DNS: " in run.output, run.output[-3000:]
        said = f'app "short": no certificate was issued for short.{host.name}.example.test by {profiled.directory}: '
        said += 'it offers no profile "short-lived", it has classic, shortlived, tlsserver'
        assert said in " ".join(run.output.split()), run.output
        answer = client.get(f"https://{name}/", *_at(host, name), "--insecure")
        assert answer.status == 200, f"the site does not serve on the placeholder: {answer.status} {answer.error}"
    for host, other in others:
        said = f"astray.{host.name}.example.test: {other.ipv4} "
        assert said in run.output, f"what another host answers is not named:\n{run.output[-3000:]}"
        blind = f"blind.{host.name}.example.test"
        said = f'app "blind": no certificate was issued for {blind} by {authority.directory}: {blind}: '
        assert said in run.output, f"what the authority saw is not named:\n{run.output[-3000:]}"
        ledger = host.run("cat /var/lib/letsencrypt/wsgi-attempts.jsonl")
        assert f'"failed": ["{blind}"]' in ledger, ledger
    told = seen()
    # One for the domain more, one for the key type, and one that fails; none for the new name, what is unreachable, and
    # the profile that is not offered.
    assert (told.orders, told.issued) == (3 * HOSTS, 2 * HOSTS), told
    assert state("shifted") == before["moved"], "an app with another name has another certificate"
    for host in hosts:
        assert f"www.{host.domain('grow')}" in client.certificate(host.domain("grow"))
        assert client.get(f"https://{host.domain('moved')}/").status == 200
        key = host.run("openssl x509 -noout -text -in /etc/nginx/tls/keyed/fullchain.pem | grep 'Public Key Algorithm'")
        assert "rsaEncryption" in key


def test_mended_dns_domain_removed_other_authorities_and_wildcards(
    play, apps, hosts, client, authority, fickle, named, profiled, resolve, second_choice
):
    for host in hosts:
        resolve(host.ipv4, *(f"{name}.{host.name}.example.test" for name in ("late", "astray", "blind")))
    wanted = _first(apps)
    apps["grow"]["domains"].pop()
    apps["keyed"]["certbot"] |= second_choice["unreachable"]
    (late,) = [app for app in wanted if app["name"] == "late"]
    late["certbot"] = second_choice["refused"]
    # Debian 12's certbot knows no profiles.
    wanted.append({**_short(apps, profiled, "shortlived"), "state": PRESENT_ON_13})
    wanted.append(_wild(apps, named))
    for host in hosts:
        host.run(STOPPING)
    seen, seen_by_other, seen_by_third = authority.mark(), fickle.mark(), named.authority.mark()
    run = play("--diff", wsgi_apps=wanted)
    for host in hosts:
        host.run(f"rm {HOOK}")
    assert run.code == 0, run.output
    told, other, third = seen(), seen_by_other(), seen_by_third()
    # For late, astray and blind, which can be reached now, and for grow, which has a domain less.
    assert (told.orders, told.issued) == (4 * HOSTS, 4 * HOSTS), told
    # One that was issued is asked for again when fetching it fails.
    assert other.issued >= HOSTS, f"refused nonces were not overcome: {other}"
    assert third.issued == HOSTS, f"no wildcards: {third}"
    assert not any(secret in run.output for secret in named.secrets), "the output shows a secret"
    said = " ".join(run.output.split())
    assert f'app "keyed": its certificate is by {fickle.directory}, not by {NOBODY}: the CA at' in said, said[-3000:]
    assert f'app "late": its certificate is by {authority.directory}, not by ' in said, said[-3000:]
    assert "certbot_eab_kid" in said, "why the first authority has refused is not said"
    assert f"{HOOK} stops nginx" in said, "nobody is warned of what keeps renewals from working"
    for host in hosts:
        name = LATE.format(host=host.name)
        assert client.get(f"https://{name}/", *_at(host, name)).status == 200
        assert "www." not in client.certificate(host.domain("grow"))
        assert f"DNS:*.{host.name}.wild.test" in client.certificate(f"any.{host.name}.wild.test", host.ipv4)
        assert host.run("stat -c '%a %U' /etc/letsencrypt/credentials/wild.ini") == "600 root"
        for secret in named.secrets[1], named.secrets[0].replace("+", "."):
            lies = host.try_(
                f"grep -rl -e {secret} /etc/letsencrypt/renewal /tmp /var/log; journalctl | grep -e {secret}"
            )
            assert lies.stdout == "", f"a secret lies about: {lies.stdout}"

    assert _life(hosts[1], "short") == SHORTLIVED

    _renewed_by_whom_it_comes_from(hosts, fickle)

    seen, seen_by_other, seen_by_third = authority.mark(), fickle.mark(), named.authority.mark()
    again = play(wsgi_apps=wanted)
    assert again.code == 0, again.output
    assert again.changed == []
    asked = [seen().requests, seen_by_other().requests, seen_by_third().requests]
    assert asked == [0, 0, 0], "a run with nothing to do asked an authority"


def _renewed_by_whom_it_comes_from(hosts, fickle):
    """Let the timer's unit renew what another authority than the first has issued; it trusts both.

    This one refuses nonces, and a run can fail for that; the timer's next run is another try.
    """
    seen = fickle.mark()
    tries = "for _ in 1 2 3 4 5 6; do systemctl start certbot.service && exit; sleep 1; done; exit 1"
    for host in hosts:
        host.run("sed -i 's/^renew_before_expiry.*/renew_before_expiry = 90 days/' /etc/letsencrypt/renewal/keyed.conf")
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda host: host.run(tries), hosts))
    assert seen().issued >= HOSTS


def _life(host, app):
    """Seconds that an app's certificate lives in all."""
    shown = host.run(f"openssl x509 -noout -dates -in /etc/nginx/tls/{app}/fullchain.pem | cut -d = -f 2")
    begins, ends = (int(host.run(f"date +%s -d '{text}'")) for text in shown.splitlines())
    return ends - begins + 1


def test_the_inventory_as_it_was_with_another_certbot(play, apps, hosts, client, authority, named, profiled, resolve):
    """One run back to the beginning, by the certbot that uv installs; it goes on with what Debian's has issued.

    This one can have addresses certified as well, and words failures in another way.
    """
    for host in hosts:
        resolve("127.0.0.1", f"gone.{host.name}.example.test")
    short = _short(apps, profiled, "shortlived")
    short["domains"].append("{{ lab.hosts[inventory_hostname].ipv4 }}")
    wanted = [*apps.values(), _wild(apps, named), short, _app(apps, "gone", certbot={"preflight": False})]
    seen = authority.mark()
    run = play(wsgi_apps=wanted, certbot_install_method="venv")
    assert run.code != 0
    # keyed is of the first type and authority again; moved takes over what shifted has; gone fails.
    told = seen()
    assert (told.orders, told.issued) == (2 * HOSTS, HOSTS), run.output
    for host in hosts:
        gone = f"gone.{host.name}.example.test"
        assert f'app "gone": no certificate was issued for {gone} by {authority.directory}: {gone}: ' in run.output
        assert f'"failed": ["{gone}"]' in host.run("cat /var/lib/letsencrypt/wsgi-attempts.jsonl")
        answer = client.get(f"https://{host.ipv4}/", "--cacert", profiled.root)
        assert (answer.status, answer.body) == (200, "hello\n"), answer
        assert _life(host, "short") == SHORTLIVED
        assert client.get(host.url("moved")).status == 200
        assert "/opt/wsgi/certbot-" in host.run("systemctl show certbot.service --property=ExecStart")
        assert host.run("systemctl is-enabled certbot.timer; systemctl is-active certbot.timer") == "enabled\nactive"
