# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of what clients see of an app: domains, certificates, time limits, how long files stay fresh."""

from __future__ import annotations

import ipaddress
import math
import os
import re
import typing as t
import unicodedata

from ansible_collections.webops.wsgi.plugins.module_utils.host import dns
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import App, Problem, show
from ansible_collections.webops.wsgi.plugins.plugin_utils.servers.model import server

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_HOST_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
_EMAIL = re.compile(rf"[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]+@{_HOST_LABEL}(\.{_HOST_LABEL})+")
_RESERVED_TLDS = frozenset({"test", "example", "invalid", "localhost", "local", "internal", "lan", "home", "arpa"})
NGINX_TIME = r"(?=[0-9])([0-9]+y)?([0-9]+M)?([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s?)?"
_EXPIRES = re.compile(rf"off|max|epoch|(modified )?[+-]?{NGINX_TIME}|@(2[0-3]|[01]?[0-9])h([0-5]?[0-9]m)?")
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9!&^_.+-]*/[A-Za-z0-9][A-Za-z0-9!&^_.+-]*|[*]")
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----")
_KEY = re.compile(rb"-----BEGIN ([A-Z]+ )*PRIVATE KEY-----")
_LOCKED_KEY = re.compile(rb"-----BEGIN ENCRYPTED PRIVATE KEY-----|Proc-Type: 4,ENCRYPTED")
_TIME = re.compile(r"([0-9]+)(ms|s|m|h)?")
# Where a host asks its own nginx which configuration is in service, see roles/nginx_proxy/templates/nginx.conf.j2.
_OF_THE_HOST = ("127.0.0.1", "generation.wsgi.internal")


def check_domains(app: App) -> t.Iterator[Problem]:
    """Host names as nginx and the certificate authority take them."""
    if not app.usable("domains"):
        return
    for domain in app.data["domains"]:
        wrong, fix = _domain_problem(domain, app.data["tls"], app.data["certbot"].get("challenge") == "dns-01")
        if wrong:
            yield app.problem(f"domains has {show(domain)}, {wrong}", fix)


def _domain_problem(domain: str, tls: str, by_dns: bool) -> tuple[str, str]:
    """What is wrong with a domain under one kind of certificate, and the fix; two empty strings when nothing is."""
    if domain in _OF_THE_HOST:
        return "under which nginx answers this host itself", "write the name that clients use"
    for check in (_domain_punctuation, _domain_labels):
        wrong, fix = check(domain)
        if wrong:
            return wrong, fix
    if tls != "letsencrypt":
        return "", ""
    if domain.startswith("*.") and not by_dns:
        fix = "name each domain, set certbot_challenge: dns-01, or write tls: provided with a certificate of your own"
        return "a wildcard, which letsencrypt over http-01 cannot certify", fix
    if "." not in domain:
        return "a name without a dot, which letsencrypt cannot certify", "write the full name, or tls: selfsigned"
    return "", ""


def _domain_punctuation(domain: str) -> tuple[str, str]:
    host = re.sub(r"^[A-Za-z][A-Za-z0-9+.-]*://", "", domain).strip()
    bare = re.split(r"[/:?#\s]", host, maxsplit=1)[0].rstrip(".").lower()
    fix = f"write {bare}" if bare else "write a host name, such as api.example.com"
    if not domain:
        return "an empty name", fix
    if "://" in domain:
        return "which has a scheme", fix
    if re.search(r"\s", domain):
        return "which has a space", fix if not re.search(r"\s", domain.strip()) else "write one host name an item"
    if re.search(r"[/?#]", domain):
        return "which has a path", fix
    if _is_ipv6(host):
        return "an IPv6 address, under which nothing is served by name", "write a host name, or an IPv4 address"
    if ":" in domain:
        return "which has a port", f"{fix}; the port is nginx_proxy_https_port"
    if domain.endswith("."):
        return "which ends with a dot", fix
    if domain != domain.lower():
        return "which has upper-case letters", fix
    return "", ""


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).version == 6
    except ValueError:
        return False


def _domain_labels(domain: str) -> tuple[str, str]:
    if not domain.isascii():
        return "which is not ASCII", f"write {_punycode(domain)}"
    if len(domain) > 253:
        return f"{len(domain)} characters long", "write a name of at most 253 characters"
    for label in domain[2:].split(".") if domain.startswith("*.") else domain.split("."):
        if len(label) > 63:
            return (
                f"whose part {show(label)} is {len(label)} characters long",
                "keep each part between dots at 63 characters or fewer",
            )
        if not label:
            return "which has an empty part", "write one dot between parts"
        if "*" in label:
            return "which has an asterisk inside", "a wildcard is *. in front of a domain and nothing else"
        if not _LABEL.fullmatch(label):
            return f"whose part {show(label)} is no host name", "use letters, digits and inner hyphens"
    if re.fullmatch(r"[0-9.]+", domain) and not dns.is_address(domain):
        return "which is neither an address nor a host name", "write four numbers up to 255 with dots between them"
    return "", ""


def _punycode(domain: str) -> str:
    """The name in DNS by IDNA 2008. Python's own codec is of 2003 and makes another domain of straße.example."""
    labels = unicodedata.normalize("NFKC", domain).lower().replace("\u3002", ".").split(".")
    ascii_ = [label if label.isascii() else f"xn--{label.encode('punycode').decode()}" for label in labels]
    sane = all(_LABEL.fullmatch(label) for label in ascii_) and not any(map(_is_symbol, "".join(labels)))
    return ".".join(ascii_) if sane else "its ASCII form, which begins with xn--"


def _is_symbol(character: str) -> bool:
    return not character.isascii() and unicodedata.category(character)[0] not in "LMN"


def leave_certificates(apps: t.Iterable[App]) -> None:
    """On a cluster certificates are its controllers' affair, and so is what an authority would say of a domain."""
    for app in apps:
        if app.data["tls"] == "letsencrypt":
            app.data["tls"] = "controller"


def unreachable_domains(app: App) -> t.Iterator[str]:
    """Warnings about domains that Let's Encrypt never certifies."""
    directory = app.data["certbot"].get("acme_directory")
    if app.data["tls"] != "letsencrypt" or not app.usable("domains") or "letsencrypt.org" not in str(directory):
        return
    for domain in app.data["domains"]:
        private = dns.is_address(domain) and not ipaddress.ip_address(domain).is_global
        if private or domain.rsplit(".", maxsplit=1)[-1] in _RESERVED_TLDS:
            yield (
                f'app "{app.label}": Let\'s Encrypt does not certify {domain}, a name that cannot be public; '
                "use tls: selfsigned, or a certificate authority of your own in certbot_acme_directory."
            )


def check_certificate(app: App) -> t.Iterator[Problem]:
    """``tls: provided`` needs both files; any other kind needs none."""
    if not app.usable("tls", "certificate", "nginx.tls"):
        return
    certificate = app.data["certificate"]
    tls = app.setting("nginx", "tls") if "tls" not in app.given else "tls"
    if app.data["tls"] != "provided":
        if "certificate" in app.given:
            yield app.problem(
                f"certificate is given, but {tls} is {show(app.data['tls'])}",
                "write tls: provided, or remove certificate",
            )
        return
    for key, what in (("cert", "certificate chain"), ("key", "private key")):
        path = certificate.get(key, "")
        if not path:
            yield app.problem(
                f'{tls} is "provided", but certificate.{key} is missing',
                f"write certificate: {{{key}: PEM file of the {what}}}",
            )
        elif not os.path.isfile(path):
            found = "is a directory" if os.path.isdir(path) else "does not exist"
            written = app.raw["certificate"][key]
            yield app.problem(
                f'certificate.{key} is a path, "{written}", and {path} {found}',
                f"write the PEM file of the {what}, relative to the inventory file",
            )
        else:
            wrong, fix = _pem_problem(key, path)
            if wrong:
                written = app.raw["certificate"][key]
                yield app.problem(f'certificate.{key} is a path, "{written}", and {path} {wrong}', fix)


def _pem_problem(key: str, path: str) -> tuple[str, str]:
    """What is wrong with a PEM file, and the fix. Nothing of it is repeated; one in a vault is left alone."""
    try:
        with open(path, "rb") as stream:
            text = stream.read()
    except OSError:
        return "cannot be read", "give yourself access to it"
    if text.startswith(b"$ANSIBLE_VAULT"):
        return "", ""
    if key == "cert":
        fix = "write a file that has -----BEGIN CERTIFICATE-----, the app's certificate first, then its chain"
        return ("", "") if _CERTIFICATE.search(text) else ("has no certificate in PEM form", fix)
    if not _KEY.search(text):
        return "has no private key in PEM form", "write a file that has a line -----BEGIN PRIVATE KEY-----"
    if _LOCKED_KEY.search(text):
        return "has a passphrase, which nginx cannot ask for", "store it without one, encrypted with Ansible Vault"
    return "", ""


def seconds(value: t.Any) -> float | None:
    """Seconds of a time that is a number or written for nginx (``90s``, ``2m``); ``None`` when it is neither."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return float(value)
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    return int(match.group(1)) * {"ms": 0.001, "m": 60.0, "h": 3600.0}.get(match.group(2), 1.0) if match else None


# The party named first must wait at least as long as the one named second, or it gives up on an answer still coming.
_CLIENT_ORDER = (("nginx", "client_timeout"), ("nginx", "read_timeout"), "the client's side")


def time_order(app: App) -> list[tuple[tuple[str, str], tuple[str, str], str]]:
    """What of an app's layers waits for what, from the server to the client."""
    runs = server(app.data["server"])
    limited = [(("nginx", "read_timeout"), (runs.name, runs.answer_timeout), "nginx")] if runs.answer_timeout else []
    return [*limited, _CLIENT_ORDER]


def check_times(app: App) -> t.Iterator[Problem]:
    """client >= nginx >= server."""
    yield from _check_time_forms(app)
    for outer, inner, who in time_order(app):
        longer = seconds(app.data[outer[0]].get(outer[1]))
        shorter = seconds(app.data[inner[0]].get(inner[1]))
        if longer is None or shorter is None or longer >= shorter or not app.usable(".".join(outer), ".".join(inner)):
            continue
        first, second = app.setting(*outer), app.setting(*inner)
        text = f"{second} is {_time(shorter)}, longer than {first} ({_time(longer)}), so {who} would time out first"
        enough = math.ceil(shorter)
        fix = f"write {outer[0]}: {{{outer[1]}: {enough}}}" if "." in first + second else f"set {first}: {enough}"
        yield app.problem(text, f"{fix} or more, or lower {second}")


def _check_time_forms(app: App) -> t.Iterator[Problem]:
    value = app.data["nginx"].get("client_timeout")
    if isinstance(value, str) and value and app.usable("nginx.client_timeout") and seconds(value) is None:
        text = f"{app.setting('nginx', 'client_timeout')} is {show(value)}, which is not a time"
        yield app.problem(text, "write seconds, such as 300, or with a unit, such as 5m")


def _time(value: float) -> str:
    return f"{value:g} s"


def check_expires(app: App) -> t.Iterator[Problem]:
    """How long static files stay fresh, as nginx's ``expires`` reads it."""
    value = app.data["nginx"].get("static_expires")
    if isinstance(value, str) and app.usable("nginx.static_expires") and not _EXPIRES.fullmatch(value):
        text = f"{app.setting('nginx', 'static_expires')} is {show(value)}, which is not a time for nginx's expires"
        yield app.problem(text, "write off, max, epoch, or a number and s, m, h, d, w, M or y, such as 30d")


def check_fingerprint(app: App) -> t.Iterator[Problem]:
    """A pattern that both nginx and Python take."""
    pattern = app.data["nginx"].get("static_fingerprint")
    if not isinstance(pattern, str) or not pattern or not app.usable("nginx.static_fingerprint"):
        return
    wrong = "which has a quote or a space" if re.search(r"[\s\"']", pattern) else ""
    try:
        re.compile(pattern)
    except re.error as error:
        wrong = f"which is not a regular expression ({error})"
    if wrong:
        text = f"{app.setting('nginx', 'static_fingerprint')} is {show(pattern)}, {wrong}"
        yield app.problem(text, r"write such as \.[0-9a-f]{8}\.[a-z]+$")


def check_gzip_types(app: App) -> t.Iterator[Problem]:
    """Media types, one at least: nginx does not take an empty list."""
    types = app.data["nginx"].get("gzip_types")
    if not isinstance(types, list) or not app.usable("nginx.gzip_types"):
        return
    setting = app.setting("nginx", "gzip_types")
    if not types:
        fix = "name one, such as application/json, or leave the list out and set gzip to false"
        yield app.problem(f"{setting} is [], and nginx needs one type at least", fix)
    for name in types:
        if not _MEDIA_TYPE.fullmatch(str(name)):
            yield app.problem(
                f"{setting} has {show(name)}, which is not a media type", "write such as application/json"
            )


def check_email(app: App) -> t.Iterator[Problem]:
    """The address the certificate authority writes to; it may be empty."""
    email = app.data["certbot"].get("email")
    if isinstance(email, str) and email and app.usable("certbot.email") and not _EMAIL.fullmatch(email):
        yield app.problem(
            f"{app.setting('certbot', 'email')} is {show(email)}, which is not an e-mail address",
            "write one address, such as ops@example.com",
        )


CHECKS: tuple[t.Callable[[App], t.Iterator[Problem]], ...] = (
    check_domains,
    check_certificate,
    check_times,
    check_expires,
    check_fingerprint,
    check_gzip_types,
    check_email,
)
