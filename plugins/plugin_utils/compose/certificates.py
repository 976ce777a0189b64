# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The certificates that nginx of a Compose project shows clients: a person's own, one that nobody has signed, or an
authority's, of which the project's certbot is told how to ask for it."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.certificates.model import LETS_ENCRYPT_STAGING
from ansible_collections.webops.wsgi.plugins.module_utils.host import dns

AUTHORITY = "letsencrypt"  # value of tls
DAYS = 800  # some clients take none of more than 825


def wanted(apps: Iterable[Mapping[str, Any]], read: Callable[[str], str]) -> dict[str, dict[str, Any]]:
    """By app, C(cert) and C(key) in PEM, C(digest), by which another one is known, and C(until) when it may be kept.

    Args:
        apps: The resolved apps.
        read: Reads a file of the controller, decrypted where it is a vault.
    """
    found = {}
    for app in apps:
        if app["path"] != "/" or app["tls"] == "off" or not app["domains"]:
            continue
        if app["tls"] == "provided":
            pair = {name: read(app["certificate"][name]) for name in ("cert", "key")}
            found[app["name"]] = {**pair, "digest": _digest(pair), "until": 0}
        else:
            found[app["name"]] = _own(sorted(app["domains"]))
    return found


def orders(apps: Iterable[Mapping[str, Any]], webroot: str, agree_tos: bool) -> dict[str, str]:
    """By app whose certificate an authority gives, how certbot is to ask it, as a configuration file of certbot's.

    A file, since a key that binds an account to an authority would show on a command line.

    Args:
        apps: The resolved apps.
        webroot: Where nginx looks for the answer to the authority's challenge.
        agree_tos: Whether the terms of the authority are agreed to.
    """
    asked = [app for app in apps if app["tls"] == AUTHORITY and app["path"] == "/" and app["domains"]]
    return {app["name"]: _order(app, webroot, agree_tos) for app in asked}


def _order(app: Mapping[str, Any], webroot: str, agree_tos: bool) -> str:
    acme = app["certbot"]
    told = {
        "non-interactive": "true",
        "authenticator": "webroot",
        "webroot-path": webroot,
        "cert-name": app["name"],
        "domains": ", ".join(sorted(app["domains"])),
        "server": LETS_ENCRYPT_STAGING if acme["staging"] else acme["acme_directory"],
        "key-type": acme["key_type"],
        "keep-until-expiring": "true",
        "renew-with-new-domains": "true",
        **({"agree-tos": "true"} if agree_tos else {}),
        **({"email": acme["email"], "no-eff-email": "true"} if acme["email"] else {}),
        **({} if acme["email"] else {"register-unsafely-without-email": "true"}),
        **({"preferred-profile": acme["profile"]} if acme["profile"] else {}),
        **({"eab-kid": acme["eab_kid"], "eab-hmac-key": acme["eab_hmac_key"]} if acme["eab_kid"] else {}),
    }
    return "".join(f"{name} = {value}\n" for name, value in told.items())


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _own(domains: list[str]) -> dict[str, Any]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, domains[0][:64])])
    begins = datetime.datetime.now(datetime.UTC)
    ends = begins + datetime.timedelta(days=DAYS)
    names = [x509.IPAddress(ip_address(one)) if dns.is_address(one) else x509.DNSName(one) for one in domains]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins - datetime.timedelta(hours=1))
        .not_valid_after(ends)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "cert": made.public_bytes(serialization.Encoding.PEM).decode(),
        "key": private.decode(),
        "digest": _digest(domains),
        "until": int(ends.timestamp()),
    }
