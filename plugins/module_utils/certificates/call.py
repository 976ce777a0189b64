# SPDX-License-Identifier: GPL-3.0-or-later
"""A call of the module C(app_certificates): its options, and what they mean on a host."""

from __future__ import annotations

import datetime
import shlex
import typing as t

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.webops.wsgi.plugins.module_utils.certificates import issue, model, placement, store, wire
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme import adopt, setup

Options = t.Mapping[str, t.Any]


def argument_spec() -> dict[str, t.Any]:
    """Return the options of the module."""
    fallback = {
        "acme_directory": {"type": "str", "required": True},
        "eab_kid": {"type": "str", "default": ""},
        "eab_hmac_key": {"type": "str", "default": "", "no_log": True},
        "ca_bundle": {"type": "str", "default": ""},
    }
    acme = {
        "fallbacks": {"type": "list", "elements": "dict", "default": [], "options": fallback},
        "acme_directory": {"type": "str", "default": model.LETS_ENCRYPT},
        "staging": {"type": "bool", "default": False},
        "email": {"type": "str", "default": ""},
        "key_type": {"type": "str", "choices": ["ecdsa", "rsa"], "default": "ecdsa", "no_log": False},
        "profile": {"type": "str", "default": ""},
        "dns_plugin": {"type": "str", "default": ""},
        "dns_propagation": {"type": "int", "default": 0},
        "eab_kid": {"type": "str", "default": ""},
        "eab_hmac_key": {"type": "str", "default": "", "no_log": True},
        "preflight": {"type": "bool", "default": True},
        "preflight_holds_back": {"type": "str", "choices": ["domain", "app", "host"], "default": "app"},
    }
    app = {
        "name": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "domains": {"type": "list", "elements": "str", "default": []},
        "tls": {"type": "str", "choices": ["letsencrypt", "selfsigned", "provided", "off"], "default": "letsencrypt"},
        "certificate": {
            "type": "dict",
            "options": {
                "cert": {"type": "path", "required": True},
                "key": {"type": "path", "required": True, "no_log": False},
            },
        },
        "certbot": {"type": "dict", "default": {}, "options": acme},
    }
    managed = {
        "path": {"type": "path", "required": True},
        "content": {"type": "str", "default": ""},
        "template": {"type": "str", "default": ""},
        "mode": {"type": "str", "default": "0644"},
        "always": {"type": "bool", "default": False},
    }
    return {
        "ensure": {"type": "str", "choices": ["placeholder", "issued"], "required": True},
        "apps": {"type": "list", "elements": "dict", "options": app},
        "provided": {"type": "dict", "default": {}, "no_log": True},
        "credentials": {"type": "dict", "default": {}, "no_log": True},
        "files": {"type": "list", "elements": "dict", "default": [], "options": managed},
        "timer": {"type": "str", "default": ""},
        "watch": {"type": "str", "default": ""},
        "webroot": {"type": "path", "default": "/var/www/acme"},
        "renew_left": {"type": "int", "default": 33},
        "agree_tos": {"type": "bool", "default": True},
        "ca_bundle": {"type": "str", "default": ""},
        "resolver": {"type": "str", "default": ""},
        "max_failures": {"type": "int", "default": 3},
        "max_certificates": {"type": "int", "default": 4},
        "certbot": {"type": "str", "default": "certbot"},
        "links": {"type": "path", "default": "/etc/nginx/tls"},
        "store": {"type": "path", "default": "/etc/nginx/tls.d"},
        "letsencrypt": {"type": "path", "default": "/etc/letsencrypt"},
        "address": {"type": "str", "default": "127.0.0.1"},
        "https_port": {"type": "int", "default": 443},
        "reload_timeout": {"type": "float", "default": 10.0},
        "nginx_reloads": {"type": "bool", "default": False},
        "options": {"type": "dict", "default": {}},
        "in_place": {"type": "dict", "default": {}},
    }


def read_app(given: t.Mapping[str, t.Any], params: t.Mapping[str, t.Any]) -> model.App:
    """Return one app from the options."""
    acme = given["certbot"] or {}
    pem = params["provided"].get(given["name"]) or {}
    return model.App(
        name=given["name"],
        domains=tuple(domain.lower() for domain in given["domains"]),
        tls=given["tls"],
        present=given["state"] == "present",
        acme=model.Acme(
            directory=model.LETS_ENCRYPT_STAGING
            if acme.get("staging")
            else acme.get("acme_directory") or model.LETS_ENCRYPT,
            email=acme.get("email") or "",
            key_type=acme.get("key_type") or "ecdsa",
            profile=acme.get("profile") or "",
            dns_plugin=acme.get("dns_plugin") or "",
            dns_propagation=acme.get("dns_propagation") or 0,
            eab_kid=acme.get("eab_kid") or "",
            eab_hmac_key=acme.get("eab_hmac_key") or "",
            fallbacks=tuple(
                model.Authority(each["acme_directory"], each["eab_kid"], each["eab_hmac_key"], each["ca_bundle"])
                for each in acme.get("fallbacks") or ()
            ),
            preflight=acme.get("preflight", True),
            holds_back=acme.get("preflight_holds_back") or "app",
        ),
        chain_pem=pem.get("cert") or "",
        key_pem=pem.get("key") or "",
        credentials=params["credentials"].get(given["name"]) or "",
    )


def check_apps(apps: t.Sequence[model.App], placeholder: bool) -> None:
    """Raise CertificateError when an app lacks what its kind of certificate needs."""
    for app in apps:
        if app.served and not app.domains:
            raise model.CertificateError(f'app "{app.name}": domains is empty; name at least one, or set tls: off')
        if app.served and app.tls == "provided" and not (app.chain_pem and (app.key_pem or not placeholder)):
            raise model.CertificateError(
                f'app "{app.name}": tls is provided, but certificate.cert and certificate.key are not both given'
            )


def host_of(options: Options, run: store.Run) -> store.Host:
    """Return where things lie on the host; its programs are called by ``run``."""
    return store.Host(
        run=run,
        links=options["links"],
        store=options["store"],
        letsencrypt=options["letsencrypt"],
        webroot=options["webroot"],
        renew_left=options["renew_left"],
        agree_tos=options["agree_tos"],
        ca_bundle=options["ca_bundle"],
        resolver=options["resolver"],
        max_failures=options["max_failures"],
        max_certificates=options["max_certificates"],
        certbot=tuple(shlex.split(options["certbot"])),
        address=options["address"],
        port=options["https_port"],
        reload_timeout=options["reload_timeout"],
    )


def apps_of(options: Options) -> list[model.App]:
    """Return the apps. Raises CertificateError when one lacks what its kind of certificate needs."""
    apps = [read_app(app, options) for app in options["apps"]]
    check_apps(apps, options["ensure"] == "placeholder")
    return apps


def have_files(host: store.Host, apps: t.Sequence[model.App], check: bool) -> store.Outcome:
    """Have the files that nginx names. Raises CertificateError."""
    outcome = adopt.adopt(host, apps, check)
    rest = [app for app in apps if not (check and adopt.twin(host, app))]
    return outcome.merge(placement.ensure_placeholder(host, rest, _now(), check))


def have_issued(
    options: Options, host: store.Host, apps: t.Sequence[model.App], check: bool, nginx_reloads: bool
) -> store.Outcome:
    """Have every certificate issued, served and renewed. Raises CertificateError."""
    return issue.ensure_issued(
        host,
        apps,
        _now(),
        check=check,
        files=[
            setup.ManagedFile(each["path"], each["content"], int(each["mode"], 8), each["always"])
            for each in options["files"]
        ],
        timer=options["timer"],
        watch=options["watch"],
        nginx_reloads=nginx_reloads,
    )


def settled(given: Options, run: store.Run) -> bool:
    """Return whether both phases would find nothing to do or to say, and nginx serves what is on disk.

    :param given: the options of the phase C(issued), as the module gets them
    """
    checked = ArgumentSpecValidator(argument_spec()).validate(dict(given))
    if checked.error_messages:
        return False
    options = checked.validated_parameters
    host = host_of(options, run)
    try:
        apps = apps_of(options)
        for outcome in (have_files(host, apps, True), have_issued(options, host, apps, True, nginx_reloads=True)):
            if outcome.changed or outcome.errors or outcome.warnings:
                return False
        return not wire.wait_for(host, wire.expected_on_wire(host, apps).fingerprints, 0)
    except (model.CertificateError, OSError):
        return False  # which the phase that meets it tells


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
