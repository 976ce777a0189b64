# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of how certificates are asked for, and of those that a person provides."""

from __future__ import annotations

import datetime
import os
import re
import stat
import typing as t

from ansible_collections.webops.wsgi.plugins.module_utils.certificates import model
from ansible_collections.webops.wsgi.plugins.module_utils.host import dns
from ansible_collections.webops.wsgi.plugins.plugin_utils.checks import clients, proxy
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import App, Problem, show
from ansible_collections.webops.wsgi.plugins.plugin_utils.nginx import site

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+=*")
_LETS_ENCRYPT = "api.letsencrypt.org/"
_HTTPS = re.compile(r"https://[^\s/@]+(/\S*)?")
_PATH = re.compile(r"/[A-Za-z0-9._/-]+")
_VERSION = re.compile(r"[0-9]+(\.[0-9]+){1,2}")


def check_resolver(app: App) -> t.Iterator[Problem]:
    """DNS servers by address: their names would have to be looked up first."""
    value = app.data["certbot"].get("preflight_resolver")
    if isinstance(value, str) and app.usable("certbot.preflight_resolver") and not dns.valid_servers(value):
        yield app.problem(
            f"certbot_preflight_resolver is {show(value)}, which is not an address of a DNS server",
            "write an address, such as 9.9.9.9 or 192.0.2.53:5353, or several with spaces between them",
        )


def check_provided(app: App) -> t.Iterator[Problem]:
    """Match, dates, names and order of a certificate of one's own. What lies in a vault is checked on the host."""
    if app.data["tls"] != "provided" or not app.usable("tls", "certificate", "nginx.tls", "domains"):
        return
    if any(clients.check_certificate(app)):
        return
    chain, key = (_read(app.data["certificate"][part]) for part in ("cert", "key"))
    if not chain:
        return
    from ansible_collections.webops.wsgi.plugins.module_utils.certificates import making  # loads a large library

    if not making.AVAILABLE:
        return
    given = model.App(app.label, tuple(app.data["domains"]), "provided", chain_pem=chain, key_pem=key)
    try:
        making.check_provided(given, datetime.datetime.now(datetime.UTC))
    except model.CertificateError as error:
        text, _, fix = str(error).removeprefix(f'app "{app.label}": ').rpartition("; ")
        yield app.problem(*(text, fix) if text else (fix, "provide another certificate"))


def _read(path: str) -> str:
    """Return the text of a PEM file, nothing for one in a vault."""
    with open(path, encoding="utf-8", errors="replace") as handle:
        text = handle.read()
    return "" if text.startswith("$ANSIBLE_VAULT") else text


def check_clients(app: App) -> t.Iterator[Problem]:
    """Authorities of clients that nginx can judge by, wherever a client's certificate is needed."""
    if not app.usable("nginx.client_ca", "nginx.client_verify", "nginx.locations", "nginx.tls", "tls"):
        return
    nginx, setting = app.data["nginx"], app.setting("nginx", "client_ca")
    path = nginx.get("client_ca")
    if not path:
        for scope in proxy.scopes(app):
            if scope.settings.get("client_verify") == "on":
                fix = "write nginx: {client_ca: PEM file of the authority of your clients}"
                yield app.problem(f'{scope.where("client_verify")} is "on", but client_ca is missing', fix)
    elif app.data["scheme"] == "http":
        yield app.problem(f"{setting} is given, but tls is off", "remove it, or choose another value of tls")
    elif not os.path.isfile(path):
        yield app.problem(f"{setting} is a path, and {path} does not exist", "write the PEM file of the authority")
    else:
        yield from _check_authorities(app, setting, path)


def _check_authorities(app: App, setting: str, path: str) -> t.Iterator[Problem]:
    text = _read(path)
    try:
        if text:
            model.check_authorities(text, datetime.datetime.now(datetime.UTC))
    except model.CertificateError as error:
        wrong, _, fix = str(error).partition("; ")
        yield app.problem(f"{setting} is {path}: {wrong}", fix or "write the PEM file of an authority")


PROFILES = ("classic", "tlsserver", "shortlived")
"""What Let's Encrypt offers, https://letsencrypt.org/docs/profiles/."""


def check_profile(app: App) -> t.Iterator[Problem]:
    """A profile that the authority is known not to have; those of other authorities are theirs to judge."""
    acme = app.data["certbot"]
    value, directory = acme.get("profile"), str(acme.get("acme_directory"))
    if not isinstance(value, str) or not value or not app.usable("certbot.profile", "certbot.acme_directory"):
        return
    setting, fix = app.setting("certbot", "profile"), f"write {', '.join(PROFILES)}, or leave it empty"
    if not _WORD.fullmatch(value):
        yield app.problem(f"{setting} is {show(value)}, which is not a valid name of a profile", fix)
    elif (acme.get("staging") or _LETS_ENCRYPT in directory) and value not in PROFILES:
        yield app.problem(f"{setting} is {show(value)}, which Let's Encrypt does not offer", fix)


NAMES = {"tlsserver": 25, "shortlived": 25}
"""How many names Let's Encrypt certifies together under a profile, https://letsencrypt.org/docs/profiles/."""
NAMES_ELSE = 100


def check_number(app: App) -> t.Iterator[Problem]:
    """Not more domains than Let's Encrypt puts on one certificate."""
    acme, keys = app.data["certbot"], ("profile", "acme_directory", "staging")
    if app.data["tls"] != "letsencrypt" or not app.usable("tls", "domains", *(f"certbot.{key}" for key in keys)):
        return
    number, most = len(app.data["domains"]), NAMES.get(acme["profile"], NAMES_ELSE)
    if number > most and (acme["staging"] or _LETS_ENCRYPT in acme["acme_directory"]):
        profile = f" under the profile {acme['profile']}" if acme["profile"] in NAMES else ""
        text = f"domains has {number} names, and Let's Encrypt certifies at most {most} together{profile}"
        yield app.problem(text, "spread them over several apps, or use a wildcard with dns-01")


def check_account_binding(app: App) -> t.Iterator[Problem]:
    """Both parts of a key that binds an account, or none. The key is not repeated."""
    if app.usable("certbot.eab_kid", "certbot.eab_hmac_key"):
        yield from _check_binding(app, app.data["certbot"], lambda name: app.setting("certbot", name))


def _check_binding(app: App, given: dict[str, t.Any], where: t.Callable[[str], str]) -> t.Iterator[Problem]:
    kid, key = (str(given.get(name) or "") for name in ("eab_kid", "eab_hmac_key"))
    if bool(kid) != bool(key):
        missing = where("eab_hmac_key" if kid else "eab_kid")
        yield app.problem(f"{missing} is missing", "write eab_kid and eab_hmac_key, which the CA gives together")
    elif key and not _BASE64URL.fullmatch(key):
        found = f"{where('eab_hmac_key')} is not in base64url"
        yield app.problem(found, "write it as the CA gave it: letters, digits, - and _")
    if re.search(r"\s", kid):
        yield app.problem(f"{where('eab_kid')} is {show(kid)}, which has a space", "write it as the CA gave it")


def check_fallbacks(app: App) -> t.Iterator[Problem]:
    """Other authorities, each one once, that certbot can talk to."""
    acme = app.data["certbot"]
    if not app.usable("certbot.fallbacks", "certbot.acme_directory"):
        return
    seen = {str(acme.get("acme_directory")).rstrip("/")}
    for number, each in enumerate(acme.get("fallbacks") or []):
        where = f"{app.setting('certbot', 'fallbacks')}[{number}]"
        directory, bundle = each["acme_directory"], each["ca_bundle"]
        if not _HTTPS.fullmatch(directory):
            found = f"{where}.acme_directory is {show(directory)}, which is not a URL of an ACME directory"
            yield app.problem(found, "write such as https://acme.zerossl.com/v2/DV90")
        elif directory.rstrip("/") in seen:
            found = f"{where}.acme_directory is {show(directory)}, which would be asked twice"
            yield app.problem(found, "name each authority once, the first one in certbot_acme_directory")
        seen.add(directory.rstrip("/"))
        if bundle and not _PATH.fullmatch(bundle):
            found = f"{where}.ca_bundle is {show(bundle)}, which is not a plain path on the host"
            yield app.problem(found, "write such as /usr/local/share/ca-certificates/company.crt")
        yield from _check_binding(app, each, lambda name, where=where: f"{where}.{name}")  # type: ignore[misc]


CERTIFIES_ADDRESSES = (5, 4)
"""Version of certbot whose plugin webroot answers for addresses, its CHANGELOG."""


def check_addresses(app: App) -> t.Iterator[Problem]:
    """What it takes to have an address certified."""
    keys = ("challenge", "profile", "acme_directory", "install_method", "version")
    if app.data["tls"] != "letsencrypt" or not app.usable("tls", "domains", *(f"certbot.{key}" for key in keys)):
        return
    address = next((domain for domain in app.data["domains"] if dns.is_address(domain) and ":" not in domain), "")
    wrong, fix = _address_problem(app.data["certbot"]) if address else ("", "")
    if wrong:
        yield app.problem(f"domains has {show(address)}, an address, {wrong}", fix)


def _address_problem(acme: t.Mapping[str, t.Any]) -> tuple[str, str]:
    """What keeps addresses from being certified, and the fix; two empty strings when nothing does."""
    if acme["challenge"] == "dns-01":
        return "which dns-01 cannot certify", "write a host name, or certbot: {challenge: http-01}"
    if acme["install_method"] != "venv":
        return "which Debian's certbot does not ask for", "set certbot_install_method: venv, or write a host name"
    if _VERSION.fullmatch(acme["version"]) and tuple(map(int, acme["version"].split("."))) < CERTIFIES_ADDRESSES:
        return f"and certbot_version is {show(acme['version'])}", "write 5.4.0 or a later one"
    if (acme["staging"] or _LETS_ENCRYPT in acme["acme_directory"]) and acme["profile"] != "shortlived":
        return "which Let's Encrypt certifies for six days only", "write certbot: {profile: shortlived}, or a host name"
    return "", ""


def check_shared_handshake(apps: t.Sequence[App]) -> t.Iterator[Problem]:
    """Clients that connect to an address name no host in the handshake, so one certificate is for all of them."""
    served = [app for app in apps if app.present and app.usable("domains", "tls", "path")]
    default = next((app.data["nginx"].get("default_app") for app in served), "")
    have = [app for app in served if app.data["name"] == default and app.data["scheme"] == "https"]
    for app in served:
        if site.by_address(app.data) and app not in have:
            have.append(app)
    for app in have[1:]:
        text = f"domains has an address, but clients without a name get the certificate of app {show(have[0].label)}"
        yield app.problem(text, "write addresses in the domains of that app only")


def check_version(app: App) -> t.Iterator[Problem]:
    """An exact version of certbot."""
    value = app.data["certbot"].get("version")
    if isinstance(value, str) and app.usable("certbot.version") and not _VERSION.fullmatch(value):
        yield app.problem(
            f"certbot_version is {show(value)}, which is not an exact version",
            'write one, such as "5.8.0", with quotes',
        )


PLUGINS = (
    *("dns-cloudflare", "dns-digitalocean", "dns-dnsimple", "dns-dnsmadeeasy", "dns-gehirn", "dns-google"),
    *("dns-linode", "dns-luadns", "dns-nsone", "dns-ovh", "dns-rfc2136", "dns-sakuracloud"),
)
"""certbot's own plugins that read a file of credentials, https://eff-certbot.readthedocs.io/en/stable/using.html."""


def check_dns(app: App) -> t.Iterator[Problem]:
    """A plugin that there is, and credentials that nobody else can read."""
    acme = app.data["certbot"]
    keys = ("certbot.challenge", "certbot.dns_plugin", "certbot.dns_credentials")
    if app.data["tls"] != "letsencrypt" or acme.get("challenge") != "dns-01" or not app.usable("tls", *keys):
        return
    plugin, path = acme["dns_plugin"], acme["dns_credentials"]
    if plugin not in PLUGINS:
        found = f"{app.setting('certbot', 'dns_plugin')} is {show(plugin)}, which is not a plugin of certbot for dns-01"
        yield app.problem(found, f"write one of {', '.join(PLUGINS)}")
    setting = app.setting("certbot", "dns_credentials")
    if not path:
        yield app.problem("certbot_challenge is dns-01, but dns_credentials is missing", f"name a file in {setting}")
    elif not os.path.isfile(path):
        yield app.problem(f"{setting} is a path, and {path} does not exist", "write the file the plugin is to read")
    elif os.stat(path).st_mode & stat.S_IROTH and not _in_vault(path):
        fix = f"encrypt it with ansible-vault, or run chmod 600 {path}"
        yield app.problem(f"{setting} is a path, and everybody on this machine can read {path}", fix)


def _in_vault(path: str) -> bool:
    with open(path, "rb") as handle:
        return handle.read(14) == b"$ANSIBLE_VAULT"


CHECKS: tuple[t.Callable[[App], t.Iterator[Problem]], ...] = (
    check_resolver,
    check_provided,
    check_clients,
    check_profile,
    check_number,
    check_addresses,
    check_version,
    check_account_binding,
    check_fallbacks,
    check_dns,
)
