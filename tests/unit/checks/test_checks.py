# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input: a row for each thing a person may get wrong, with words the message must have (app, key, value, fix)."""

from __future__ import annotations

import copy
import datetime
import functools
import pathlib
import time
import typing as t
from dataclasses import replace

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.certificates import making as making
from ansible_collections.webops.wsgi.plugins.module_utils.certificates import model
from ansible_collections.webops.wsgi.plugins.plugin_utils.checks import clients, run
from ansible_collections.webops.wsgi.plugins.plugin_utils.checks.declared import requirement_names
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory import settings
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

SCHEMA = settings.load_schema()
HEX = "0123456789abcdef" * 4
SECRET = "correct-horse-battery"  # a value that no message may have
VAULT = "$ANSIBLE_VAULT;1.1;AES256\n3339\n"

GOOD: dict[str, t.Any] = {
    "name": "api",
    "source": {"path": "tree"},
    "entrypoint": "app:create_app()",
    "domains": ["api.example.com"],
    "secrets": {"SECRET_KEY": SECRET},
}


def lower_authority(ca: model.Pair, now: datetime.datetime) -> str:
    """An authority that another one has signed."""
    key = serialization.load_pem_private_key(ca.key.encode(), password=None)
    builder = x509.CertificateBuilder(issuer_name=making.load_chain(ca.chain)[0].subject, public_key=key.public_key())
    builder = builder.subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lower")]))
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=9))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


@functools.cache
def certificate_files() -> dict[str, str]:
    """PEM files of certificates by name: good ones with their keys, and one for each way to be useless."""
    now, own = datetime.datetime.now(datetime.UTC), model.App("api", ("api.example.com", "*.example.org"), "")
    other = replace(own, domains=("other.example.com",))
    ca, aged = making.make_ca("test", now), now - datetime.timedelta(days=500)
    good, wrong_names = making.make_certificate(own, ca, now), making.make_certificate(other, ca, now)
    old, early = (making.make_certificate(own, ca, at) for at in (aged, now + datetime.timedelta(days=2)))
    return {
        "cert.pem": good.chain + ca.chain,
        "key.pem": good.key,
        "others.pem": wrong_names.key,
        "expired.pem": old.chain,
        "expired-key.pem": old.key,
        "early.pem": early.chain,
        "early-key.pem": early.key,
        "names.pem": wrong_names.chain,
        "upside-down.pem": good.chain + wrong_names.chain + ca.chain,
        "ca.pem": ca.chain,
        "glued.pem": good.chain.strip() + ca.chain,
        "lower-ca.pem": lower_authority(ca, now),
        "expired-ca.pem": making.make_ca("old", now - datetime.timedelta(days=4000)).chain,
        "garbled.pem": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    }


@pytest.fixture(name="base")
def fixture_base(tmp_path: pathlib.Path) -> pathlib.Path:
    """Directory of an inventory, with a source tree and certificates beside it."""
    tree = tmp_path / "tree"
    (tree / "static").mkdir(parents=True)
    (tree / "app.py").write_text("app = None\n")
    (tree / "requirements.txt").write_text("flask==3.1.1\n")
    for name, text in certificate_files().items():
        (tmp_path / name).write_text(text)
    for name, text, mode in (("dns.ini", SECRET, 0o600), ("open.ini", SECRET, 0o644), ("vault.ini", VAULT, 0o644)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(mode)
    (tmp_path / "locked.pem").write_text(f"-----BEGIN ENCRYPTED PRIVATE KEY-----\n{SECRET}\n")
    (tmp_path / "vault.pem").write_text(VAULT)
    (tmp_path / "void.pem").write_text(f"{SECRET}\n")
    (tmp_path / "file.tar.gz").write_text("x")
    (tmp_path / "void").mkdir()
    (tree / "elsewhere").symlink_to("/etc")
    (tree / ".gitignore").write_text("dist/\nout/\nlocal.txt\n")
    (tree / "local.txt").write_text("flask==3.1.1\n")
    for folder in ("dist", "service/out"):
        (tree / folder).mkdir(parents=True)
        (tree / folder / "main.js").write_text("1")
    return tmp_path


def found(base: pathlib.Path, entries: t.Any, inventory: dict[str, t.Any] | None = None) -> list[str]:
    """Every problem as the line a person sees."""
    inventory = inventory or {}
    findings = run.examine(
        SCHEMA, inventory, copy.deepcopy(inventory), copy.deepcopy(entries), [str(base)], logins=["deploy"]
    )
    lines = run.lines(findings.problems)
    assert not any(SECRET in line for line in lines)
    return lines


def app(**changes: t.Any) -> dict[str, t.Any]:
    """A good app with changes; a key that is set to ``...`` is left out."""
    return {key: value for key, value in {**GOOD, **changes}.items() if value is not ...}


def test_good_input_has_no_problems(base):
    apps = [
        app(),
        app(
            name="reports-2",
            source={"git": "https://git.example.com/reports.git", "version": "v1.4.2"},
            entrypoint="reports.wsgi:application",
            domains=["reports.example.com", "www.reports.example.com"],
            gunicorn={"timeout": 300, "worker_class": "gevent", "workers": 4},
            nginx={"read_timeout": 310, "static": {"/static/": "static", "/~me/s.1": "s"}, "client_timeout": "6m"},
            env={"LOG_LEVEL": "info", "DEBUG": False, "RATE": 0.5},
            persistent=["instance", "data/uploads"],
        ),
        app(
            name="wild", domains=["*.example.org"], tls="provided", certificate={"cert": "cert.pem", "key": "vault.pem"}
        ),
        app(
            name="known",
            domains=["known.example.com"],
            certbot={"fallbacks": [{"acme_directory": "https://ca.example.com:14000/dir", "ca_bundle": "/etc/ca.pem"}]},
            nginx={"client_ca": "ca.pem", "client_verify": True, "locations": {"/": {"client_verify": "optional"}}},
        ),
        app(
            name="named",
            domains=["*.example.net"],
            certbot={"challenge": "dns-01", "dns_plugin": "dns-rfc2136", "dns_credentials": "vault.ini"},
        ),
        app(
            name="pkg",
            source={"package": "httpbin", "version": "0.10.4"},
            entrypoint="httpbin:app",
            domains=["b.example"],
        ),
        app(name="arc", source={"archive": "file.tar.gz", "sha256": HEX.upper()}, domains=["c.example.com"], tls=False),
        app(name="admin", path="/admin", domains=["c.example.com"], nginx={"locations": {"/x": {}, "~ ^/(a|b)": {}}}),
        app(name="deeper", path="/admin/deeper/", domains=..., below="arc"),
        app(
            name="made",
            domains=["made.example.com"],
            files=[
                {"name": "a.cfg", "text": "{{ }}"},
                {"name": "b", "path": "cert.pem"},
                {"name": "c", "template": "vault.ini"},
            ],
            credentials={"key.json": "{}"},
            env={
                "A": "{files}/a.cfg",
                "B": "{files}",
                "C": "{credentials}/key.json:{files}/b",
                "D": "{files}/a.cfg/x",
                "E": "{file}: {line}",
            },
            system_packages=["libpq5", "libstdc++6"],
            build_packages=["build-essential", "python3.13-dev"],
            build=["npm ci && npm run build", "python manage.py collectstatic --noinput\n"],
            nginx={
                "static": {
                    "/static/": "static/collected",
                    "/pg/": "package:pgadmin4/static/",
                    "/x/": "package:_a/b-c/d",
                }
            },
        ),
        {"name": "old", "state": "absent", "purge": True},
    ]
    assert found(base, apps, {"certbot_email": "ops@example.com"}) == []


# id: (change to a good app, words of the only problem)
BAD_APPS: dict[str, tuple[dict[str, t.Any], list[str]]] = {
    "name missing": ({"name": ...}, ["app number 1 of wsgi_apps", "name is missing", "write name:"]),
    "name empty": ({"name": ""}, ["app number 1 of wsgi_apps", "name is missing", "write name:"]),
    "name with illegal characters": ({"name": "My_App"}, ['app "My_App"', "name is", "illegal", "such as my-app"]),
    "name begins with a digit": ({"name": "2fast"}, ['app "2fast"', "illegal", "such as fast"]),
    "name with a newline": ({"name": "api\n"}, ["name is", "illegal"]),
    "name ends with a hyphen": ({"name": "api-"}, ['name is "api-"', "ends with a hyphen", "such as api"]),
    "name ends with hyphens": ({"name": "api--"}, ['name is "api--"', "ends with a hyphen", "such as api"]),
    "name too long": ({"name": "a" * 31}, ["name is", "31 characters", "at most 30"]),
    "name of a system user": ({"name": "www-data"}, ['app "www-data"', "name is", "Debian", "www-data-app"]),
    "name of a unit": ({"name": "network"}, ['app "network"', "name is", "systemd", "network-app"]),
    "name of the login": ({"name": "deploy"}, ['name is "deploy"', "Ansible logs in as", "such as deploy-app"]),
    "name no text": ({"name": ["api"]}, ["number 1", 'name is ["api"]', "not a string"]),
    "key no text": ({True: 1}, ['app "api"', "True is not a key", "known keys are"]),
    "entrypoint missing": ({"entrypoint": ...}, ['app "api"', "entrypoint is missing", "module:callable"]),
    "source missing": ({"source": ...}, ['app "api"', "source is missing", "write source:"]),
    "source empty": ({"source": {}}, ['app "api"', "source is empty", "write source:"]),
    "domains missing": ({"domains": ...}, ['app "api"', "domains is missing", "[api.example.com]"]),
    "entrypoint without callable": (
        {"entrypoint": "reports.wsgi"},
        ['app "api"', 'entrypoint is "reports.wsgi"', "module:callable", "such as reports.wsgi:app"],
    ),
    "entrypoint is a file": ({"entrypoint": "src/app.py:app"}, ["entrypoint", "src/app.py:app", "such as src.app:app"]),
    "entrypoint with an argument that is a name": (
        {"entrypoint": "app:create_app(os.environ)"},
        ["entrypoint is", "app:create_app(os.environ)", "only literals", 'such as app:create_app("production")'],
    ),
    "entrypoint with an unpacked argument": ({"entrypoint": "app:make(**{'a': 1})"}, ["entrypoint is", "literals"]),
    "entrypoint with an argument without a hash": ({"entrypoint": "app:make({[]: 1})"}, ["entrypoint is", "literals"]),
    "entrypoint that is not closed": ({"entrypoint": "app:make('x'"}, ["entrypoint is", "module:factory(arguments)"]),
    "entrypoint of a method": ({"entrypoint": "app:site.make()"}, ["entrypoint is", "module:factory(arguments)"]),
    "entrypoint with two calls": ({"entrypoint": "app:make()()"}, ["entrypoint is", "module:factory(arguments)"]),
    "entrypoint with a null byte": ({"entrypoint": "app:a\0"}, ["entrypoint is", "such as app:app"]),
    "entrypoint with a space": ({"entrypoint": "app: app"}, ["entrypoint", '"app: app"', "module:callable"]),
    "unknown key": ({"domain": ["x.example.com"]}, ['app "api"', "domain is not a key", "did you mean domains?"]),
    "unknown key nothing like": ({"zzz": 1}, ['app "api"', "zzz is not a key", "known keys are name, state"]),
    "role variable on the app": (
        {"gunicorn_timeout": 300},
        ['app "api"', "gunicorn_timeout is not a key", "write gunicorn: {timeout: 300}"],
    ),
    "role variable on the app, text": (
        {"python_app_version": "3.13"},
        ["python_app_version is not a key", 'write python: {version: "3.13"}'],
    ),
    "misspelt role variable on the app": (
        {"gunicorn_timout": 300},
        ["gunicorn_timout is not a key", "write gunicorn: {timeout: 300}"],
    ),
    "role name as a key": ({"nginx_proxy": {"hsts": False}}, ["nginx_proxy is not a key", "write nginx: instead"]),
    "setting without its role": ({"timeout": 300}, ["timeout is not a key", "write gunicorn: {timeout: 300}"]),
    "workers of the server": (
        {"workers": 4},
        ['app "api"', "workers is 4", "write workers: 4 below the server's name"],
    ),
    "worker without a command": ({"workers": [{"name": "celery"}]}, ['app "api"', "workers", "command"]),
    "worker with an unknown key": (
        {"workers": [{"name": "celery", "command": "x", "replica": 2}]},
        ["workers[0].replica is not a known key", "did you mean replicas?"],
    ),
    "worker with a bad name": (
        {"workers": [{"name": "Celery_1", "command": "x"}]},
        ['workers[0].name is "Celery_1"', "lower-case letters"],
    ),
    "worker with a name of ours": (
        {"workers": [{"name": "before-activate", "command": "x"}]},
        ['workers[0].name is "before-activate"', "uses itself"],
    ),
    "timer named like a worker": (
        {"workers": [{"name": "a", "command": "x"}], "timers": [{"name": "a", "command": "x", "on_calendar": "daily"}]},
        ['timers[0].name is "a"', "another one has too"],
    ),
    "command of several lines": (
        {"workers": [{"name": "a", "command": "x\ny"}]},
        ["workers[0].command", "more than one line", "into a script"],
    ),
    "no command": ({"workers": [{"name": "a", "command": " "}]}, ["workers[0].command is empty", "celery -A"]),
    "no replicas": (
        {"workers": [{"name": "a", "command": "x", "replicas": 0}]},
        ["workers[0].replicas is 0", "1 to 64"],
    ),
    "timer at no time": (
        {"timers": [{"name": "a", "command": "x", "on_calendar": "daily\nOnBootSec=1"}]},
        ["timers[0].on_calendar", "systemd does not take", "Mon..Fri"],
    ),
    "hook without an end": ({"release": {"hook_timeout": 0}}, ["release.hook_timeout is 0", "1 to 3600"]),
    "bake share": ({"release": {"bake_error_percent": 101}}, ["release.bake_error_percent is 101"]),
    "credential with a path": ({"credentials": {"../x": SECRET}}, ['credentials has "../x"', "such as signing.pem"]),
    "credential no text": ({"credentials": {"x": 5}}, ["credentials.x is a number", "as a text"]),
    "listen without a port": ({"listen": "127.0.0.1"}, ['listen is "127.0.0.1"', "such as 127.0.0.1:8000"]),
    "listen for everybody": ({"listen": "0.0.0.0:8000"}, ['listen is "0.0.0.0:8000"', "past nginx", "127.0.0.1"]),
    "listen on a name": ({"listen": "localhost:8000"}, ['listen is "localhost:8000"', "not an address with a port"]),
    "listen on nginx's port": ({"listen": "127.0.0.1:443"}, ['listen is "127.0.0.1:443"', "nginx_proxy_https_port"]),
    "listen on no port": ({"listen": "[::1]:70000"}, ['listen is "[::1]:70000"', "outside 1024 to 65535"]),
    "kind of source on the app": ({"git": "x"}, ["git is not a key", 'write source: {git: "x"}']),
    "host-wide variable on the app": (
        {"nginx_proxy_http_port": 81},
        ["nginx_proxy_http_port is not a key", "one for the whole host", "outside wsgi_apps"],
    ),
    "misspelt variable in an override": (
        {"gunicorn": {"timout": 300}},
        ['app "api"', "gunicorn.timout", "300", "did you mean timeout?"],
    ),
    "hyphen in an override": (
        {"gunicorn": {"max-requests": 1}},
        ["gunicorn.max-requests", "did you mean max_requests?"],
    ),
    "unknown variable in an override": ({"certbot": {"x": 1}}, ["certbot.x", "known settings are", "email"]),
    "host-wide variable in an override": (
        {"nginx": {"http_port": 81}},
        ["nginx.http_port", "whole host", "set nginx_proxy_http_port in the inventory"],
    ),
    "wrong type of a setting": (
        {"gunicorn": {"timeout": "long"}},
        ['app "api"', 'gunicorn.timeout is "long"', "write a whole number"],
    ),
    "wrong type of a boolean": (
        {"gunicorn": {"preload": "maybe"}},
        ["gunicorn.preload", '"maybe"', "write true or false"],
    ),
    "wrong type of a list": ({"domains": "api.example.com"}, ["domains", '"api.example.com"', "not a list", "hyphen"]),
    "wrong type of an override": ({"nginx": "fast"}, ["nginx", '"fast"', "not a dictionary", "write nginx: {"]),
    "wrong type of secrets": ({"secrets": SECRET}, ['app "api"', "secrets is not a dictionary", "key: value"]),
    "wrong type of a secret": ({"secrets": {"KEY": [SECRET]}}, ["secrets.KEY", "a list", "JSON"]),
    "wrong choice": ({"tls": "acme"}, ["tls", '"acme"', "letsencrypt, selfsigned, provided, off"]),
    "wrong choice of a setting": ({"certbot": {"key_type": "dsa"}}, ["certbot.key_type", '"dsa"', "ecdsa, rsa"]),
    "wrong state": ({"state": "started"}, ["state", '"started"', "present, absent"]),
    "decimal where text belongs": ({"python": {"version": 3.1}}, ["python.version", "3.1", "quotes"]),
    "two source kinds": (
        {"source": {"path": "tree", "git": "https://git.example.com/x.git", "version": "v1"}},
        ['app "api"', "source has path and git at once", "keep one"],
    ),
    "extra that is no name": (
        {"python": {"extras": ["--all"]}},
        ['python.extras has "--all"', "which cannot be such a name", "such as postgres"],
    ),
    "submodules of a path": (
        {"source": {"path": "tree", "submodules": True}},
        ["source.submodules is true", "source.path is no git repository", "remove submodules"],
    ),
    "subdirectory that leads out": (
        {"source": {"path": "tree", "subdirectory": "../x"}},
        ['source.subdirectory is "../x"', "leads out of the source tree", "such as services/api"],
    ),
    "subdirectory that is not there": (
        {"source": {"path": "tree", "subdirectory": "nope"}},
        ['source.subdirectory is "nope"', "which is not a directory in ", "correct its name"],
    ),
    "subdirectory of a package": (
        {"source": {"package": "httpbin", "version": "1.0", "subdirectory": "x"}},
        ['source.subdirectory is "x"', "a package has no source tree", "remove subdirectory"],
    ),
    "no source kind": (
        {"source": {"version": "1"}},
        ["source has none of path, git, archive, package and image", "add one"],
    ),
    "misspelt source kind": ({"source": {"pth": "tree"}}, ["source.pth", "did you mean path?"]),
    "path that does not exist": (
        {"source": {"path": "nope"}},
        ['source.path is "nope"', "does not exist", "relative to"],
    ),
    "path that is a file": ({"source": {"path": "cert.pem"}}, ['source.path is "cert.pem"', "is a file", "directory"]),
    "path that is empty": ({"source": {"path": "void"}}, ['source.path is "void"', "is empty", "with the code"]),
    "path with a version": ({"source": {"path": "tree", "version": "1"}}, ["source.version", '"1"', "remove version"]),
    "unpinned package": (
        {"source": {"package": "httpbin"}},
        ["source.package", '"httpbin"', "not pinned", "add version:"],
    ),
    "package with a range": (
        {"source": {"package": "httpbin", "version": ">=0.10"}},
        ["source.version", '">=0.10"', "does not pin", '"0.10.4"'],
    ),
    "package with a wildcard": (
        {"source": {"package": "httpbin", "version": "0.10.*"}},
        ["source.version", '"0.10.*"'],
    ),
    "package with its pin": (
        {"source": {"package": "httpbin==0.10.4"}},
        ["source.package", '"httpbin==0.10.4"', 'package: httpbin, version: "0.10.4"'],
    ),
    "package version as a number": (
        {"source": {"package": "httpbin", "version": 0.1}},
        ["source.version", "0.1", "quotes"],
    ),
    "package as a URL": (
        {"source": {"package": "https://me:pw@e.example/x.whl", "version": "1"}},
        ["source.package", "***@e.example", "not a package name"],
    ),
    "git without version": (
        {"source": {"git": "https://me:pw@git.example.com/x.git"}},
        ["source.git", "***@git.example.com", "without a version", "add version:"],
    ),
    "git protocol that starts a program": (
        {"source": {"git": "ext::sh -c id", "version": "v1"}},
        ["source.git", '"ext::sh -c id"', 'protocol "ext" is not allowed', "use one of https, http, ssh, git, file"],
    ),
    "git protocol that waits for ever": (
        {"source": {"git": "fd::17/x", "version": "v1"}},
        ["source.git", '"fd::17/x"', 'protocol "fd" is not allowed', "use one of https"],
    ),
    "git version that is an option": (
        {"source": {"git": "https://git.example.com/x.git", "version": "--upload-pack=x"}},
        ["source.version", "--upload-pack=x", "tag, branch or commit"],
    ),
    "archive without sha256": (
        {"source": {"archive": "https://files.example.com/x.tgz"}},
        ["source.archive", "x.tgz", "without sha256", "sha256sum"],
    ),
    "malformed sha256": (
        {"source": {"archive": "file.tar.gz", "sha256": "abc"}},
        ["source.sha256", '"abc"', "3 characters", "64 hexadecimal digits", "sha256sum"],
    ),
    "archive that does not exist": (
        {"source": {"archive": "nope.tgz", "sha256": HEX}},
        ["source.archive", '"nope.tgz"', "does not exist", "path or URL"],
    ),
    "eventlet": (
        {"gunicorn": {"worker_class": "eventlet"}},
        ['app "api"', 'gunicorn.worker_class is "eventlet"', "which gunicorn 26 removed", "use gevent or gthread"],
    ),
    "tornado": (
        {"gunicorn": {"worker_class": "tornado"}},
        ['app "api"', 'gunicorn.worker_class is "tornado"', "one request at a time", "use gthread or gevent"],
    ),
    "threads with gevent": (
        {
            "gunicorn": {"worker_class": "gevent", "threads": 4},
            "python": {"packages": ["gevent==26.9.0", "packaging==26.3"]},
        },
        ["gunicorn.threads has no effect", 'gunicorn.worker_class "gevent"', "in one thread", "worker_class: gthread"],
    ),
    "threads with sync": (
        {"gunicorn": {"worker_class": "sync", "threads": 4}},
        ["gunicorn.threads has no effect", 'gunicorn.worker_class "sync"', "remove threads"],
    ),
    "connections with sync": (
        {"gunicorn": {"worker_class": "sync", "worker_connections": 4}},
        ["gunicorn.worker_connections has no effect", "one connection at a time"],
    ),
    "gevent without the package": (
        {"gunicorn": {"worker_class": "gevent"}},
        [
            'app "api"',
            'gunicorn.worker_class is "gevent"',
            "requirements.txt",
            "gevent and packaging",
            "python: {packages",
        ],
    ),
    "gevent without the package, from the index": (
        {"gunicorn": {"worker_class": "gevent"}, "source": {"package": "httpbin", "version": "0.10.4"}},
        ['gunicorn.worker_class is "gevent"', "package httpbin", "gevent and packaging"],
    ),
    "no workers": ({"gunicorn": {"workers": 0}}, ['app "api"', "gunicorn.workers is 0", "write 1 or more, or auto"]),
    "negative workers": ({"gunicorn": {"workers": -2}}, ["gunicorn.workers is -2", "write 1 or more, or auto"]),
    "workers in words": ({"gunicorn": {"workers": "many"}}, ['gunicorn.workers is "many"', "whole number", "or auto"]),
    "workers as a boolean": (
        {"gunicorn": {"workers": True}},
        ["gunicorn.workers is true, neither auto nor a whole number", "write a whole number, such as 4, or auto"],
    ),
    "workers as a float": ({"gunicorn": {"workers": 2.5}}, ["gunicorn.workers is 2.5", "write a whole number", "auto"]),
    "negative time": ({"gunicorn": {"keepalive": -1}}, ["gunicorn.keepalive is -1", "write 0 or more"]),
    "not a timeout": ({"gunicorn": {"timeout": 0}}, ["gunicorn.timeout is 0", "write 1 or more"]),
    "too much": ({"nginx": {"gzip_level": 11}}, ["nginx.gzip_level is 11", "write 9 or less"]),
    "gunicorn waits longer than nginx": (
        {"gunicorn": {"timeout": 300}},
        [
            'app "api"',
            "gunicorn.timeout is 300 s",
            "nginx_proxy_read_timeout (130 s)",
            "write nginx: {read_timeout: 300}",
        ],
    ),
    "nginx waits less than gunicorn": (
        {"nginx": {"read_timeout": 60}},
        ["gunicorn_timeout is 120 s", "nginx.read_timeout (60 s)", "write nginx: {read_timeout: 120}"],
    ),
    "nginx waits longer than the client": (
        {"nginx": {"client_timeout": "2m"}},
        ["nginx_proxy_read_timeout is 130 s", "nginx.client_timeout (120 s)", "write nginx: {client_timeout: 130}"],
    ),
    "client's time in words": (
        {"nginx": {"client_timeout": "5 min"}},
        ["nginx.client_timeout", '"5 min"', "such as 5m"],
    ),
    "gunicorn refuses what nginx lets through": (
        {"gunicorn": {"limit_request_line": 4094}},
        [
            'app "api"',
            "gunicorn.limit_request_line is 4094",
            'nginx_proxy_client_max_uri_size ("8000")',
            "write gunicorn: {limit_request_line: 8064} or more",
        ],
    ),
    "gunicorn refuses a header that nginx lets through": (
        {"gunicorn": {"limit_request_field_size": 8190}},
        [
            "gunicorn.limit_request_field_size is 8190",
            'nginx_proxy_large_header_buffers ("1 64k")',
            "write gunicorn: {limit_request_field_size: 65536} or more",
        ],
    ),
    "request line longer than gunicorn takes": (
        {"gunicorn": {"limit_request_line": 9000}},
        ["gunicorn.limit_request_line is 9000", "write 8190 or less"],
    ),
    "no header fields": (
        {"gunicorn": {"limit_request_fields": 0}},
        ["gunicorn.limit_request_fields is 0", "write 1 or more"],
    ),
    "answer's headers larger than nginx reads": (
        {"nginx": {"locations": {"/a": {"response_buffer_size": "1m"}}}},
        ['nginx.locations["/a"].response_buffer_size is "1m"', "1k to 240k", "such as 32k"],
    ),
    "answer without room for headers": (
        {"nginx": {"response_buffer_size": "1"}},
        ['nginx.response_buffer_size is "1"', "1k to 240k", "such as 32k"],
    ),
    "size in words": ({"nginx": {"client_max_body_size": "16 MB"}}, ["nginx.client_max_body_size", '"16 MB"', "16m"]),
    "buffer size with g": (
        {"nginx": {"client_body_buffer_size": "1g"}},
        ['nginx.client_body_buffer_size is "1g"', "not a size", "k or m"],
    ),
    "size empty": ({"nginx": {"client_max_body_size": ""}}, ['nginx.client_max_body_size is ""', "such as 16m"]),
    "expiry in words": (
        {"nginx": {"static_expires": "1 hour"}},
        ['app "api"', 'nginx.static_expires is "1 hour"', "write off, max, epoch", "such as 30d"],
    ),
    "fingerprint that is no expression": (
        {"nginx": {"static_fingerprint": "(["}},
        ['nginx.static_fingerprint is "(["', "not a regular expression", "[0-9a-f]{8}"],
    ),
    "fingerprint with a quote": ({"nginx": {"static_fingerprint": 'a"b'}}, ["nginx.static_fingerprint", "a quote"]),
    "expiry without a number": ({"nginx": {"static_expires": "h"}}, ['nginx.static_expires is "h"', "30d"]),
    "expiry in milliseconds": ({"nginx": {"static_expires": "500ms"}}, ['nginx.static_expires is "500ms"', "30d"]),
    "expiry with a directive": (
        {"nginx": {"static_expires": "1h; deny all"}},
        ['nginx.static_expires is "1h; deny all"', "such as 30d"],
    ),
    "type to compress": (
        {"nginx": {"gzip_types": ["text/css", "json"]}},
        ['app "api"', 'nginx.gzip_types has "json"', "not a media type", "application/json"],
    ),
    "type to compress with a directive": (
        {"nginx": {"gzip_types": ["text/css; x"]}},
        ['nginx.gzip_types has "text/css; x"', "application/json"],
    ),
    "no types to compress": ({"nginx": {"gzip_types": []}}, ["nginx.gzip_types is []", "one type", "gzip to false"]),
    "unpinned gunicorn": ({"gunicorn": {"version": "latest"}}, ['gunicorn.version is "latest"', '"27.0.1"']),
    "free setting that has a variable": (
        {"gunicorn": {"extra": {"preload_app": True}}},
        ["gunicorn.extra has preload_app", "write gunicorn: {preload: ...}"],
    ),
    "free setting of the release": (
        {"gunicorn": {"extra": {"bind": ":8000"}}},
        ["gunicorn.extra has bind", "remove bind"],
    ),
    "free setting that gunicorn does not know": (
        {"gunicorn": {"extra": {"limit_request_lines": 1}}},
        ["gunicorn.extra has limit_request_lines", "does not know", "write limit_request_line"],
    ),
    "no workers by the environment": (
        {"env": {"WEB_CONCURRENCY": "0"}},
        ['env has WEB_CONCURRENCY "0"', "not a count of workers", "1 or more"],
    ),
    "workers by the environment that are no number": (
        {"env": {"WEB_CONCURRENCY": "many"}},
        ['env has WEB_CONCURRENCY "many"', "not a count of workers"],
    ),
    "free setting that is none": (
        {"gunicorn": {"extra": {"a b": 1}}},
        ["gunicorn.extra", '"a b"', "statsd_host"],
    ),
    "domain with a scheme": (
        {"domains": ["https://api.example.com/"]},
        ['app "api"', "domains", '"https://api.example.com/"', "scheme", "write api.example.com"],
    ),
    "domain with a path": ({"domains": ["api.example.com/v1"]}, ["domains", "/v1", "path", "write api.example.com"]),
    "domain with a port": (
        {"domains": ["api.example.com:8443"]},
        ["domains", ":8443", "port", "write api.example.com"],
    ),
    "domain with a space": (
        {"domains": ["api example"]},
        ["domains", '"api example"', "space", "one host name an item"],
    ),
    "domain with a space around": ({"domains": [" api.example.com"]}, ["domains", "space", "write api.example.com"]),
    "domain with upper case": ({"domains": ["API.example.com"]}, ["domains", "upper-case", "write api.example.com"]),
    "domain with a final dot": ({"domains": ["api.example.com."]}, ["domains", "dot", "write api.example.com"]),
    "domain of the host itself": ({"domains": ["127.0.0.1"], "tls": "off"}, ["domains", "127.0.0.1", "the name that"]),
    "domain with umlauts": ({"domains": ["bücher.example"]}, ["domains", "bücher", "write xn--bcher-kva.example"]),
    "domain with an eszett": ({"domains": ["straße.example"]}, ["write xn--strae-oqa.example"]),
    "domain with an underscore": ({"domains": ["my_api.example.com"]}, ["domains", '"my_api"', "letters, digits"]),
    "domain with an empty part": ({"domains": ["api..example.com"]}, ["domains", "empty part", "one dot"]),
    "domain with a long part": ({"domains": ["a" * 64 + ".example.com"]}, ["domains", "64 characters", "63"]),
    "domain too long": ({"domains": ["a." * 127 + "com"]}, ["domains", "257 characters", "253"]),
    "wildcard under http-01": (
        {"domains": ["*.example.com"]},
        ['app "api"', "domains", '"*.example.com"', "http-01", "tls: provided"],
    ),
    "wildcard inside": (
        {"domains": ["api.*.com"], "tls": "selfsigned"},
        ["domains", '"api.*.com"', "asterisk", "*. in front"],
    ),
    "address that is none": (
        {"domains": ["192.0.2.256"]},
        ['domains has "192.0.2.256"', "neither an address", "up to 255"],
    ),
    "address for Debian's certbot": (
        {"domains": ["192.0.2.1"], "certbot": {"profile": "shortlived"}},
        ['app "api"', 'domains has "192.0.2.1", an address', "Debian's certbot", "certbot_install_method: venv"],
    ),
    "address under dns-01": (
        {
            "domains": ["192.0.2.1"],
            "certbot": {"challenge": "dns-01", "dns_plugin": "dns-rfc2136", "dns_credentials": "vault.ini"},
        },
        ['domains has "192.0.2.1", an address', "dns-01 cannot certify", "http-01"],
    ),
    "IPv6 address": ({"domains": ["2001:db8::1"]}, ['domains has "2001:db8::1"', "IPv6 address", "a host name"]),
    "name without a dot": ({"domains": ["intranet"]}, ["domains", '"intranet"', "without a dot", "tls: selfsigned"]),
    "domain twice in an app": (
        {"domains": ["api.example.com", "api.example.com"]},
        ["domains", '"api.example.com" twice', "remove one"],
    ),
    "malformed e-mail": (
        {"certbot": {"email": "ops at example.com"}},
        ['app "api"', 'certbot.email is "ops at example.com"', "ops@example.com"],
    ),
    "wildcard under dns-01 without a plugin": (
        {"domains": ["*.example.com"], "certbot": {"challenge": "dns-01", "dns_credentials": "dns.ini"}},
        ['app "api"', 'certbot_dns_plugin is ""', "not a plugin of certbot", "dns-rfc2136"],
    ),
    "unknown plugin": (
        {"certbot": {"challenge": "dns-01", "dns_plugin": "dns-bind", "dns_credentials": "dns.ini"}},
        ['certbot.dns_plugin is "dns-bind"', "not a plugin of certbot", "dns-rfc2136"],
    ),
    "no credentials": (
        {"certbot": {"challenge": "dns-01", "dns_plugin": "dns-rfc2136"}},
        ['app "api"', "dns_credentials is missing", "certbot_dns_credentials"],
    ),
    "credentials that do not exist": (
        {"certbot": {"challenge": "dns-01", "dns_plugin": "dns-rfc2136", "dns_credentials": "nope.ini"}},
        ["certbot.dns_credentials is a path", "nope.ini does not exist"],
    ),
    "credentials that everybody reads": (
        {"certbot": {"challenge": "dns-01", "dns_plugin": "dns-rfc2136", "dns_credentials": "open.ini"}},
        ["certbot.dns_credentials", "everybody on this machine can read", "chmod 600"],
    ),
    "account binding without its key": (
        {"certbot": {"eab_kid": "kid-1"}},
        ['app "api"', "certbot_eab_hmac_key is missing", "together"],
    ),
    "account binding with a key that is none": (
        {"certbot": {"eab_kid": "kid-1", "eab_hmac_key": SECRET + "+/"}},
        ['app "api"', "certbot.eab_hmac_key is not in base64url", "as the CA gave it"],
    ),
    "unknown profile": (
        {"certbot": {"profile": "short-lived"}},
        [
            'app "api"',
            'certbot.profile is "short-lived"',
            "Let's Encrypt does not offer",
            "classic, tlsserver, shortlived",
        ],
    ),
    "more names than fit": (
        {"domains": [f"a{number}.example.com" for number in range(101)]},
        ['app "api"', "domains has 101 names", "at most 100 together", "wildcard"],
    ),
    "more names than fit a profile": (
        {"domains": [f"a{number}.example.com" for number in range(26)], "certbot": {"profile": "tlsserver"}},
        ["domains has 26 names", "at most 25 together under the profile tlsserver"],
    ),
    "profile that is no name": (
        {"certbot": {"profile": "a b", "acme_directory": "https://ca.example.com/dir"}},
        ['certbot.profile is "a b"', "not a valid name of a profile"],
    ),
    "provided without certificate": (
        {"tls": "provided", "certificate": {"cert": "cert.pem"}},
        ['tls is "provided"', "certificate.key is missing", "write certificate: {key:"],
    ),
    "certificate that does not exist": (
        {"tls": "provided", "certificate": {"cert": "nope.pem", "key": "key.pem"}},
        ["certificate.cert", "nope.pem", "does not exist", "PEM file"],
    ),
    "certificate that is none": (
        {"tls": "provided", "certificate": {"cert": "void.pem", "key": "key.pem"}},
        ['app "api"', "certificate.cert", '"void.pem"', "no certificate in PEM form", "-----BEGIN CERTIFICATE-----"],
    ),
    "certificate that is the key": (
        {"tls": "provided", "certificate": {"cert": "key.pem", "key": "key.pem"}},
        ["certificate.cert", '"key.pem"', "no certificate in PEM form"],
    ),
    "key that is none": (
        {"tls": "provided", "certificate": {"cert": "cert.pem", "key": "void.pem"}},
        ['app "api"', "certificate.key is a path", '"void.pem"', "no private key", "-----BEGIN PRIVATE KEY-----"],
    ),
    "key with a passphrase": (
        {"tls": "provided", "certificate": {"cert": "cert.pem", "key": "locked.pem"}},
        ["certificate.key is a path", '"locked.pem"', "passphrase", "Ansible Vault"],
    ),
    "key of another certificate": (
        {"tls": "provided", "certificate": {"cert": "cert.pem", "key": "others.pem"}},
        ['app "api"', "certificate.key does not belong to the certificate", "provide the matching pair"],
    ),
    "expired certificate": (
        {"tls": "provided", "certificate": {"cert": "expired.pem", "key": "expired-key.pem"}},
        ['app "api"', "certificate.cert expired on", "provide a renewed one"],
    ),
    "certificate of tomorrow": (
        {"tls": "provided", "certificate": {"cert": "early.pem", "key": "early-key.pem"}},
        ['app "api"', "certificate.cert is not valid before", "clock"],
    ),
    "certificate for other names": (
        {"tls": "provided", "certificate": {"cert": "names.pem", "key": "others.pem"}},
        ["certificate.cert does not cover api.example.com", "it is for other.example.com", "one for all domains"],
    ),
    "chain in another order, key in a vault": (
        {"tls": "provided", "certificate": {"cert": "upside-down.pem", "key": "vault.pem"}},
        ["certificate.cert: the chain is not in order", "put the site's certificate first"],
    ),
    "chain without a line break between its certificates": (
        {"tls": "provided", "certificate": {"cert": "glued.pem", "key": "key.pem"}},
        ['app "api"', "cannot be loaded by OpenSSL", "in a line of its own"],
    ),
    "certificate that is garbled": (
        {"tls": "provided", "certificate": {"cert": "garbled.pem", "key": "key.pem"}},
        ["certificate.cert: a certificate in it cannot be read", "provide another certificate"],
    ),
    "fallback that is no URL": (
        {"certbot": {"fallbacks": [{"acme_directory": "zerossl"}]}},
        ['certbot.fallbacks[0].acme_directory is "zerossl"', "not a URL of an ACME directory", "such as https://"],
    ),
    "fallback without a directory": (
        {"certbot": {"fallbacks": [{"eab_kid": "k", "eab_hmac_key": SECRET}]}},
        ["certbot.fallbacks is (hidden)", "acme_directory"],
    ),
    "fallback that is the first authority": (
        {
            "certbot": {
                "acme_directory": "https://a.example/d",
                "fallbacks": [{"acme_directory": "https://a.example/d/"}],
            }
        },
        ["certbot.fallbacks[0].acme_directory", "asked twice", "name each authority once"],
    ),
    "fallback with half a binding": (
        {"certbot": {"fallbacks": [{"acme_directory": "https://a.example/d", "eab_hmac_key": SECRET}]}},
        ["certbot.fallbacks[0].eab_kid is missing", "which the CA gives together"],
    ),
    "fallback with an odd bundle": (
        {"certbot": {"fallbacks": [{"acme_directory": "https://a.example/d", "ca_bundle": "my ca.pem"}]}},
        ['certbot.fallbacks[0].ca_bundle is "my ca.pem"', "not a plain path on the host", "write such as /usr"],
    ),
    "client_verify without client_ca": (
        {"nginx": {"locations": {"/admin": {"client_verify": "on"}}}},
        [
            'app "api"',
            'nginx.locations["/admin"].client_verify is "on"',
            "client_ca is missing",
            "write nginx: {client",
        ],
    ),
    "client_ca that does not exist": (
        {"nginx": {"client_ca": "nope.pem"}},
        ['app "api"', "nginx.client_ca is a path", "nope.pem does not exist", "PEM file of the authority"],
    ),
    "client_ca that is none": (
        {"nginx": {"client_ca": "void.pem"}},
        ["nginx.client_ca is ", "void.pem: it holds no PEM certificate", "write the PEM file"],
    ),
    "client_ca that is garbled": (
        {"nginx": {"client_ca": "garbled.pem"}},
        ["garbled.pem: a certificate in it cannot be read", "write the PEM file"],
    ),
    "client_ca that is expired": (
        {"nginx": {"client_ca": "expired-ca.pem"}},
        ["expired-ca.pem: it has an authority that expired on", "the one that followed it"],
    ),
    "client_ca that is a client": (
        {"nginx": {"client_ca": "names.pem"}},
        ["names.pem: it has a certificate of no authority", "that sign your clients' certificates"],
    ),
    "client_ca without its root": (
        {"nginx": {"client_ca": "lower-ca.pem"}},
        ["lower-ca.pem: it lacks webops.wsgi test own CA", "up to the root"],
    ),
    "client_ca without tls": (
        {"tls": "off", "nginx": {"client_ca": "ca.pem"}},
        ["nginx.client_ca is given, but tls is off", "remove it"],
    ),
    "certificate without provided": (
        {"certificate": {"cert": "cert.pem", "key": "key.pem"}},
        ["certificate is given", "letsencrypt", "write tls: provided"],
    ),
    "static directory outside": (
        {"nginx": {"static": {"/static/": "../static"}}},
        ['app "api"', "nginx.static", "/static/", '"../static"', "out of the source tree", "inside the source tree"],
    ),
    "static directory of the system": (
        {"nginx": {"static": {"/s/": "/etc/ssl"}}},
        ['nginx.static["/s/"] has "/etc/ssl", which belongs to the host', "release: {foreign_paths: [/etc/ssl]}"],
    ),
    "static directory in a release": (
        {"nginx": {"static": {"/s/": "/srv/api/current/etc"}}},
        ["nginx.static", '"/srv/api/current/etc"', "where root keeps the app's releases"],
    ),
    "static directory that is the host": (
        {"nginx": {"static": {"/s/": "/"}}},
        ['nginx.static["/s/"] has "/"', "which has /bin in it"],
    ),
    "static directory with all apps": (
        {"nginx": {"static": {"/s/": "/srv/"}}},
        ['nginx.static["/s/"] has "/srv/"', "which has /srv/api in it"],
    ),
    "static directory with all of the app": (
        {"nginx": {"static": {"/s/": "/srv/api"}}},
        ['nginx.static["/s/"] has "/srv/api"', "where root keeps the app's releases"],
    ),
    "static prefix of nginx": (
        {"nginx": {"static": {"/__wsgi/kept": "static"}}},
        ['nginx.static has the URL prefix "/__wsgi/kept"', "needs itself", "/static/"],
    ),
    "static directory with dots": ({"nginx": {"static": {"/s/": "/srv/../etc"}}}, ["nginx.static", "not a plain path"]),
    "static directory that does not exist": (
        {"nginx": {"static": {"/s/": "nope"}}},
        ["nginx.static", '"nope"', "not a directory in", "create it"],
    ),
    "variable of a build that is none": (
        {"python": {"build_environment": {"A-B": "1"}}},
        ['python.build_environment has "A-B", which is not a valid name of an environment variable', "such as A_B"],
    ),
    "variable of a build that is its own": (
        {"python": {"build_environment": {"UV_DEFAULT_INDEX": "https://packages.example.com"}}},
        ["python.build_environment.UV_DEFAULT_INDEX is given, but the build sets", "settings of their own"],
    ),
    "variable of a build that is a list": (
        {"python": {"build_environment": {"CFLAGS": ["-O2"]}}},
        ["python.build_environment.CFLAGS is", "write a string"],
    ),
    "static directory that is not uploaded": (
        {"nginx": {"static": {"/s/": "dist"}}},
        ['nginx.static maps "/s/" to "dist"', "not uploaded: .gitignore:1:dist/ leaves it out", "a command of build"],
    ),
    "static directory of a subdirectory that is not uploaded": (
        {"source": {"path": "tree", "subdirectory": "service"}, "nginx": {"static": {"/s/": "out"}}},
        ['nginx.static maps "/s/" to "out"', "not uploaded: .gitignore:2:out/ leaves it out"],
    ),
    "error pages that are not uploaded": (
        {"nginx": {"error_pages": "dist"}},
        ['nginx.error_pages is "dist"', "not uploaded: .gitignore:1:dist/ leaves it out"],
    ),
    "requirements that are not uploaded": (
        {"python": {"requirements": "local.txt"}},
        ['python.requirements is "local.txt"', "not uploaded: .gitignore:3:local.txt leaves it out"],
    ),
    "static directory that is a link to elsewhere, for all that is built": (
        {"build": ["npm ci"], "nginx": {"static": {"/s/": "elsewhere"}}},
        ["nginx.static", '"elsewhere"', "leads out of the source tree"],
    ),
    "static directory outside, for all that is built": (
        {"build": ["npm ci"], "nginx": {"static": {"/s/": "../static"}}},
        ["nginx.static", '"../static"', "out of the source tree"],
    ),
    "package with a version": (
        {"system_packages": ["libpq5=17.12"]},
        ['system_packages has "libpq5=17.12"', "not a valid name of a Debian package", "such as libpq-dev"],
    ),
    "package that is an option": (
        {"build_packages": ["-y"]},
        ['build_packages has "-y"', "not a valid name of a Debian"],
    ),
    "package in capitals": (
        {"build_packages": ["Nodejs"]},
        ['build_packages has "Nodejs"', "not a valid name of a Debian"],
    ),
    "packages in one line": ({"build_packages": ["a b"]}, ['build_packages has "a b"', "not a valid name of a Debian"]),
    "packages that are no list": ({"system_packages": "libpq5"}, ['system_packages is "libpq5", not a list', "list"]),
    "static directory that is a whole package": (
        {"nginx": {"static": {"/s/": "package:pgadmin4"}}},
        ['nginx.static maps "/s/" to "package:pgadmin4"', "not a directory of a package", "package:pgadmin4/static"],
    ),
    "static directory out of a package": (
        {"nginx": {"static": {"/s/": "package:a/../../b"}}},
        ['"package:a/../../b"', "not a directory of a package"],
    ),
    "static directory of a package by its place": (
        {"nginx": {"static": {"/s/": "package:/etc/ssl"}}},
        ['"package:/etc/ssl"', "not a directory of a package"],
    ),
    "file without a name": ({"files": [{"text": ""}]}, ["files is [", "name"]),
    "file in a directory": (
        {"files": [{"name": "../a", "text": ""}]},
        ['app "api"', 'files[0].name is "../a"', "not a valid name of a file", "such as settings.cfg"],
    ),
    "file with a slash": (
        {"files": [{"name": "a/b", "text": ""}]},
        ['files[0].name is "a/b"', "not a valid name of a file"],
    ),
    "file that is all dots": (
        {"files": [{"name": "..", "text": ""}]},
        ['files[0].name is ".."', "not a valid name of a file"],
    ),
    "file twice": (
        {"files": [{"name": "a", "text": ""}, {"name": "a", "text": SECRET}]},
        ['files[1].name is "a"', "another one has too"],
    ),
    "file of nothing": ({"files": [{"name": "a"}]}, ["files[0] has none of text, path and template", "add one"]),
    "file of two": (
        {"files": [{"name": "a", "text": SECRET, "path": "cert.pem"}]},
        ["files[0] has text and path at once", "keep one"],
    ),
    "file that is not there": (
        {"files": [{"name": "a", "template": "nope.j2"}]},
        ["files[0].template leads to ", "nope.j2, which is not a file", "relative to the file that has this app"],
    ),
    "file that is a directory": ({"files": [{"name": "a", "path": "tree"}]}, ["files[0].path leads to ", "not a file"]),
    "file with an unknown key": (
        {"files": [{"name": "a", "content": SECRET}]},
        ["files[0].content is not a known key", "text"],
    ),
    "file with a NUL": ({"files": [{"name": "a", "text": "\0"}]}, ["files[0].text has a NUL", "base64"]),
    "variable that names no file": (
        {"files": [{"name": "settings.cfg", "text": ""}], "env": {"A": "x:{files}/setings.cfg"}},
        ["env.A names", '"setings.cfg"', "which files does not have", "did you mean settings.cfg?"],
    ),
    "setting that never had an effect": ({"development": True}, ["development is not a key of an app"]),
    "setting of a server that never had one": (
        {"gunicorn": {"forwarded_allow_ips": "*"}},
        ["gunicorn.forwarded_allow_ips", "is not a setting"],
    ),
    "misspelt directory of files": (
        {"files": [{"name": "a.cfg", "text": ""}], "env": {"A": "{flies}/a.cfg"}},
        ["env.A has {flies}, which stands for no directory", "did you mean {files}?"],
    ),
    "misspelt directory of credentials": (
        {"credentials": {"key": SECRET}, "env": {"A": "/etc/x:{credential}"}},
        ["env.A has {credential}, which stands for no directory", "did you mean {credentials}?"],
    ),
    "variable that names no credential": (
        {"credentials": {"key": SECRET}, "env": {"A": "{credentials}/x"}},
        ['env.A names "x", which credentials does not have', "add it to credentials"],
    ),
    "build command that is empty": ({"build": ["npm ci", " "]}, ["build[1] is empty", "such as npm ci"]),
    "build command that is no list": ({"build": "npm ci"}, ['build is "npm ci", not a list', "write a list"]),
    "build command with a NUL": ({"build": ["a\0"]}, ["build[0] has a NUL", "remove it"]),
    "static directory that is a link to elsewhere": (
        {"nginx": {"static": {"/s/": "elsewhere"}}},
        ["nginx.static", '"elsewhere"', "leads out of the source tree", "copy its files"],
    ),
    "static prefix without a slash": ({"nginx": {"static": {"s/": "static"}}}, ["nginx.static", '"s/"', "/s/"]),
    "static prefix with a space": (
        {"nginx": {"static": {"/my files/": "static"}}},
        ['app "api"', "nginx.static", '"/my files/"', "character", "such as /static/"],
    ),
    "static prefix with a quote": (
        {"nginx": {"static": {'/s"/': "static"}}},
        ["nginx.static", "character", "/static/"],
    ),
    "static prefix with a newline": (
        {"nginx": {"static": {"/s\n": "static"}}},
        ["nginx.static", '"/s\\n"', "character"],
    ),
    "static prefix with a variable": ({"nginx": {"static": {"/$s/": "static"}}}, ['"/$s/"', "character"]),
    "static prefix is everything": (
        {"nginx": {"static": {"/": "static"}}},
        ["nginx.static", '"/"', "every request", "such as /static/"],
    ),
    "static prefix of the authority": (
        {"nginx": {"static": {"/.well-known/acme-challenge": "static"}}},
        ["nginx.static", '"/.well-known/acme-challenge"', "certificate authority", "such as /static/"],
    ),
    "static prefix with a dot": ({"nginx": {"static": {"/a/../b": "static"}}}, ["nginx.static", '"/a/../b"', "a dot"]),
    "static prefix twice": (
        {"nginx": {"static": {"/s": "static", "/s//": "static"}}},
        ["nginx.static", '"/s" and "/s//"', "the same", "keep one"],
    ),
    "location without a slash": (
        {"nginx": {"locations": {"api": {"buffering": False}}}},
        ['app "api"', 'nginx.locations has "api"', "begin with a slash", "write /api"],
    ),
    "location with a quote": ({"nginx": {"locations": {'/a"b': {}}}}, ["nginx.locations", "quote", "without"]),
    "location with a query": ({"nginx": {"locations": {"/a?b=1": {}}}}, ["nginx.locations", "question mark"]),
    "location with a broken expression": (
        {"nginx": {"locations": {"~ ^/(a": {}}}},
        ["nginx.locations", '"~ ^/(a"', "not a regular expression"],
    ),
    "location twice": (
        {"nginx": {"locations": {"= /a": {}, "=/a": {}}}},
        ['"= /a" and "=/a"', "the same to nginx", "keep one"],
    ),
    "location of nginx itself": ({"nginx": {"locations": {"/__wsgi/problem": {}}}}, ["nginx needs itself"]),
    "location that is static": (
        {"nginx": {"static": {"/s": "static"}, "locations": {"/s/": {}}}},
        ['nginx.locations has "/s/"', "static has too"],
    ),
    "location no dictionary": (
        {"nginx": {"locations": {"/a": 3}}},
        ['nginx.locations["/a"] is 3', "{buffering: false}"],
    ),
    "unknown setting of a location": (
        {"nginx": {"locations": {"/a": {"bufering": False}}}},
        ['nginx.locations["/a"].bufering is not a setting', "did you mean buffering?"],
    ),
    "setting of a location that only an app has": (
        {"nginx": {"locations": {"/a": {"hsts": False}}}},
        ['nginx.locations["/a"].hsts is not a setting of a location', "nginx: {hsts: ...}"],
    ),
    "location with a wrong type": (
        {"nginx": {"locations": {"/a": {"read_timeout": "long"}}}},
        ['nginx.locations["/a"].read_timeout is "long", not a whole number'],
    ),
    "size of a location": (
        {"nginx": {"locations": {"/a": {"client_max_body_size": "3 MB"}}}},
        ['nginx.locations["/a"].client_max_body_size is "3 MB"', "not a size", "such as 16m"],
    ),
    "method in small letters": ({"nginx": {"methods": ["get"]}}, ['nginx.methods has "get"', "write GET"]),
    "allowed address that is none": (
        {"nginx": {"allow": ["localhost"]}},
        ['nginx.allow has "localhost"', "not an address", "192.0.2.0/24"],
    ),
    "denied network with host bits": (
        {"nginx": {"deny": ["192.0.2.7/24"]}},
        ['nginx.deny has "192.0.2.7/24"', "host bits", "write 192.0.2.0/24"],
    ),
    "address of a location": (
        {"nginx": {"locations": {"/a": {"allow": ["10.0.0"]}}}},
        ['nginx.locations["/a"].allow has "10.0.0"', "not an address"],
    ),
    "basic_auth with a password": (
        {"nginx": {"basic_auth": {"ann": SECRET}}},
        ["nginx.basic_auth", 'the hash of a password for "ann"', "openssl passwd -6"],
    ),
    "basic_auth of the wrong type": ({"nginx": {"basic_auth": SECRET}}, ["nginx.basic_auth is (hidden)", "dictionary"]),
    "basic_auth with a colon": ({"nginx": {"basic_auth": {"a:b": "$6$x$y"}}}, ['the user "a:b"', "without"]),
    "rate without a unit": (
        {"nginx": {"limit_requests": "10"}},
        ['nginx.limit_requests is "10"', "not a rate", "10r/s"],
    ),
    "burst below 0": ({"nginx": {"limit_requests_burst": -1}}, ["nginx.limit_requests_burst is -1", "write 0"]),
    "delay in words": ({"nginx": {"limit_requests_delay": "all"}}, ['nginx.limit_requests_delay is "all"', '"5"']),
    "limit key that is a word": ({"nginx": {"limit_key": "address"}}, ['nginx.limit_key is "address"', "write client"]),
    "limit key with a broken header": ({"nginx": {"limit_key": "header:X Y"}}, ["nginx.limit_key", "names no client"]),
    "zone size in gigabytes": ({"nginx": {"limit_zone_size": "1g"}}, ['nginx.limit_zone_size is "1g"', "k or m"]),
    "cached status in words": (
        {"nginx": {"cache_valid": {"ok": "1m"}}},
        ['nginx.cache_valid has "ok"', "not status codes", "200 301"],
    ),
    "cache time in words": (
        {"nginx": {"cache_valid": {"200": "a day"}}},
        ['nginx.cache_valid has "a day" for "200"', "not a time", "10m"],
    ),
    "cache bypass without a dollar": (
        {"nginx": {"cache_bypass": ["cookie_session"]}},
        ['nginx.cache_bypass has "cookie_session"', "not a variable", "$cookie_session"],
    ),
    "cache key without a variable": ({"nginx": {"cache_key": "lang"}}, ['nginx.cache_key is "lang"', "no variable"]),
    "cache kept for words": ({"nginx": {"cache_inactive": "long"}}, ['nginx.cache_inactive is "long"', "such as 1d"]),
    "header with a space": (
        {"nginx": {"add_headers": {"X Y": "1"}}},
        ['nginx.add_headers has "X Y"', "not a valid name"],
    ),
    "header of two lines": (
        {"nginx": {"content_security_policy": "default-src\n'self'"}},
        ["nginx.content_security_policy", "not one line"],
    ),
    "preload without subdomains": (
        {"nginx": {"hsts_preload": True}},
        ["nginx.hsts_preload", "hsts_include_subdomains"],
    ),
    "preload for a day": (
        {"nginx": {"hsts_preload": True, "hsts_include_subdomains": True, "hsts_max_age": 86400}},
        ["nginx.hsts_preload", "86400", "31536000"],
    ),
    "sample of more than all": (
        {"nginx": {"access_log_sample": 10}},
        ["nginx.access_log_sample is 10", "not a share", "such as 0.1"],
    ),
    "sample of nothing": ({"nginx": {"access_log_sample": 0}}, ["nginx.access_log_sample is 0", "0.0001 to 1"]),
    "log to nowhere": (
        {"nginx": {"access_log": "/var/log/x"}},
        ['nginx.access_log is "/var/log/x"', "file, journal, off"],
    ),
    "error pages that the app writes": (
        {"nginx": {"error_pages": "pages"}, "persistent": ["pages"]},
        ['nginx.error_pages is "pages"', "persistent", "comes with the source"],
    ),
    "header that nginx sets": (
        {"nginx": {"drop_headers": ["x-forwarded-for"]}},
        ['nginx.drop_headers has "x-forwarded-for"', "sets itself", "remove"],
    ),
    "header to drop that is none": (
        {"nginx": {"locations": {"/a": {"drop_headers": ["X_User"]}}}},
        ['nginx.locations["/a"].drop_headers has "X_User"', "X-Forwarded-User"],
    ),
    "cookie to ignore that is none": (
        {"nginx": {"cache_ignore_cookies": ["a=b"]}},
        ['nginx.cache_ignore_cookies has "a=b"', "not the name of a cookie"],
    ),
    "cookie to ignore with an asterisk inside": ({"nginx": {"cache_ignore_cookies": ["a*b"]}}, ['"a*b"', "at the end"]),
    "error pages that do not exist": ({"nginx": {"error_pages": "nope"}}, ['nginx.error_pages is "nope"', "create it"]),
    "maintenance for a name": (
        {"nginx": {"maintenance_allow": ["office"]}},
        ["nginx.maintenance_allow", "not an address"],
    ),
    "time of a location": (
        {"nginx": {"locations": {"/a": {"read_timeout": 0}}}},
        ['nginx.locations["/a"].read_timeout is 0', "write 1 or more"],
    ),
    "canonical domain of somebody else": (
        {"nginx": {"canonical_domain": "example.org"}},
        ['nginx.canonical_domain is "example.org"', "not among", "api.example.com"],
    ),
    "canonical domain that is a wildcard": (
        {"domains": ["*.example.org"], "tls": "selfsigned", "nginx": {"canonical_domain": "*.example.org"}},
        ['app "api"', 'nginx.canonical_domain is "*.example.org"', "a wildcard", "www.example.org"],
    ),
    "location that is encoded": (
        {"nginx": {"locations": {"/r%C3%A9sum%C3%A9/": {"deny": ["all"]}}}},
        ['app "api"', 'nginx.locations has "/r%C3%A9sum%C3%A9/"', "nothing matches", "as it comes out"],
    ),
    "location with two slashes": (
        {"nginx": {"locations": {"= /a//b": {}}}},
        ['nginx.locations has "= /a//b"', "nothing matches", "as it comes out"],
    ),
    "location that climbs": (
        {"nginx": {"locations": {"/a/..": {}}}},
        ['nginx.locations has "/a/.."', "nothing matches", "as it comes out"],
    ),
    "header that ends an answer": (
        {"nginx": {"add_headers": {"Content-length": 1}}},
        ['app "api"', 'nginx.add_headers has "Content-length"', "where an answer ends", "leave it to nginx"],
    ),
    "many retries": ({"nginx": {"retries": 50}}, ["nginx.retries is 50", "write 5 or less"]),
    "static directory that is all of the state": (
        {"nginx": {"static": {"/s/": "/var/lib/api/"}}},
        ["nginx.static", '"/var/lib/api/"', "all that the app keeps", "/var/lib/api/uploads"],
    ),
    "static directory of the state with a space": (
        {"nginx": {"static": {"/s/": "/var/lib/api/my files"}}},
        ["nginx.static", '"/var/lib/api/my files"', "systemd does not take", "letters, digits"],
    ),
    "static directory with a variable": (
        {"nginx": {"static": {"/s/": "$x"}}},
        ["nginx.static", '"/s/" to "$x"', "character", "rename it"],
    ),
    "path without a slash": ({"path": "admin"}, ['app "api"', 'path is "admin"', "begin with a slash", "write /admin"]),
    "path with two slashes": ({"path": "//a//b/"}, ['path is "//a//b/"', "not a plain path", "write /a/b"]),
    "path that goes up": ({"path": "/a/../b"}, ['path is "/a/../b"', "not a plain path", "such as /admin"]),
    "path with a query": ({"path": "/a?b"}, ['path is "/a?b"', "not a plain path"]),
    "path with a quote": ({"path": '/a"b'}, ["path is", "not a plain path"]),
    "path with a line break": ({"path": "/a\n"}, ["path is", "not a plain path"]),
    "path with a hidden part": ({"path": "/.well-known"}, ['path is "/.well-known"', "not a plain path"]),
    "path of nginx itself": ({"path": "/__wsgi"}, ['path is "/__wsgi"', "nginx needs itself", "another"]),
    "path empty": ({"path": ""}, ['path is ""', "begin with a slash", "write /"]),
    "path is a number": ({"path": 5.5}, ["path is 5.5", "not a string"]),
    "path of a domain that nobody has": (
        {"path": "/admin"},
        ['path is "/admin"', 'no app with path / has the domain "api.example.com"', "add the domain"],
    ),
    "persistent with two dots": (
        {"persistent": ["..venv"]},
        ['app "api"', 'persistent has "..venv"', "begins with two dots", "instance"],
    ),
    "persistent with two dots inside": ({"persistent": ["data/..x"]}, ['"data/..x"', "begins with two dots"]),
    "persistent outside": (
        {"persistent": ["../data"]},
        ["persistent", '"../data"', "out of the source tree", "instance"],
    ),
    "persistent absolute": ({"persistent": ["/data"]}, ["persistent", '"/data"', "absolute", "instance"]),
    "persistent is everything": ({"persistent": ["."]}, ["persistent", '"."', "as a whole", "instance"]),
    "persistent inside another": ({"persistent": ["data", "data/up"]}, ["persistent", '"data/up"', '"data"', "outer"]),
    "persistent with a space": ({"persistent": ["my data"]}, ["persistent", '"my data"', "letters, digits"]),
    "persistent is a file": (
        {"persistent": ["app.py"]},
        ["persistent", '"app.py"', "is a file", "persistent_files: [app.py]"],
    ),
    "persistent looks like a file": (
        {"persistent": ["data/db.sqlite3"]},
        ['persistent has "data/db.sqlite3"', "looks like a file", "persistent_files: [data/db.sqlite3]", "sqlite3/"],
    ),
    "persistent file is a directory": (
        {"persistent_files": ["static/"]},
        ['persistent_files has "static/"', "is a directory", "persistent: [static]"],
    ),
    "persistent file in a persistent directory": (
        {"persistent": ["data"], "persistent_files": ["data/db.sqlite3"]},
        ['persistent_files has "data/db.sqlite3" and "data"', "outer"],
    ),
    "persistent file outside": ({"persistent_files": ["../db"]}, ["persistent_files", "out of the source tree"]),
    "Python too old": ({"python": {"version": "3.8"}}, ["python.version", '"3.8"', "too old", '"3.13"']),
    "requirements outside": (
        {"python": {"requirements": "../r.txt"}},
        ["python.requirements", '"../r.txt"', "relative"],
    ),
    "requirements that do not exist": (
        {"python": {"requirements": "r.txt"}},
        ["python.requirements", '"r.txt"', "create it"],
    ),
    "unpinned extra package": (
        {"python": {"packages": ["gevent>=24"]}},
        ["python.packages", '"gevent>=24"', "gevent==1.2.3"],
    ),
    "index that is no URL": (
        {"python": {"index_url": "packages.example.com/simple"}},
        [
            'app "api"',
            'python.index_url is "packages.example.com/simple"',
            "not a URL",
            "write an http, https or file URL",
        ],
    ),
    "index with another scheme": ({"python": {"index_url": "ftp://a.example/"}}, ["python.index_url", '"ftp://a.']),
    "index with a password and no scheme": (
        {"python": {"index_url": f"me:{SECRET}@a.example/simple"}},
        ["python.index_url", '"***@a.example/simple"', "https://packages.example.com/simple"],
    ),
    "index with a slash in the password": (
        {"python": {"index_url": f"https://me:{SECRET}/{SECRET}@a.example/simple"}},
        ["python.index_url", '"https://***@a.example/simple"', "not a URL"],
    ),
    "extra index": (
        {"python": {"extra_index_urls": ["https://a.example/simple", f"https://me:{SECRET}@b.example/a b"]}},
        ["python.extra_index_urls", '"https://***@b.example/a b"', "not a URL", "write an http, https or file URL"],
    ),
    "Python with a patch level": ({"python": {"version": "3.13.1"}}, ["python.version", '"3.13.1"', '"3.13"']),
    "env name": ({"env": {"LOG-LEVEL": "info"}}, ['app "api"', "env", '"LOG-LEVEL"', "such as LOG_LEVEL"]),
    "env name with a digit first": ({"env": {"2FA": "on"}}, ["env", '"2FA"', "such as _2FA"]),
    "secret name": ({"secrets": {"A B": SECRET}}, ["secrets", '"A B"', "such as A_B"]),
    "env without a value": ({"env": {"A": None}}, ["env.A is empty", "remove the line"]),
    "env structured": ({"env": {"A": {"b": 1}}}, ["env.A is a dictionary", "JSON"]),
    "secret with NUL": ({"secrets": {"A": f"{SECRET}\0"}}, ["secrets.A", "NUL", "base64"]),
    "env and secret": (
        {"env": {"SECRET_KEY": "x"}},
        ['app "api"', "SECRET_KEY is in env and in secrets", "keep it in one"],
    ),
    "env of the release": ({"env": {"WSGI_SOCKET": "x"}}, ["env.WSGI_SOCKET", "release sets", "another name"]),
    "gunicorn's own env": ({"env": {"GUNICORN_CMD_ARGS": "-w 9"}}, ["env.GUNICORN_CMD_ARGS", "gunicorn: {"]),
    "purge without absent": ({"purge": True}, ["purge is true", "state: absent"]),
    "health path": (
        {"release": {"health_path": "healthz"}},
        ["release.health_path", '"healthz"', "begin it with a slash"],
    ),
    "health status": ({"release": {"health_status": ["2xx"]}}, ["release.health_status", '"2xx"', '"200-399"']),
    "health range": ({"release": {"health_status": ["499-200"]}}, ["release.health_status", '"499-200"', '"200-399"']),
    "memory": ({"release": {"memory_max": "1 GB"}}, ["release.memory_max", '"1 GB"', "512M"]),
    "processor": ({"release": {"cpu_quota": "2"}}, ["release.cpu_quota", '"2"', "150%"]),
    "no memory": ({"release": {"memory_max": "0"}}, ["release.memory_max", '"0"', "512M"]),
    "more memory than there is": ({"release": {"memory_high": "150%"}}, ["release.memory_high", '"150%"', "512M"]),
    "health header": (
        {"release": {"health_headers": {"X Health": "1"}}},
        ['app "api"', 'release.health_headers has "X Health"', "not a valid name of a header", "X-Health"],
    ),
    "health header with a line break": (
        {"release": {"health_headers": {"X-Token": f"{SECRET}\nHost: x"}}},
        ["release.health_headers has X-Token", "line break", "one line"],
    ),
    "health header without a text": (
        {"release": {"health_headers": {"X-Token": [SECRET]}}},
        ["release.health_headers has X-Token", "no text", "in quotes"],
    ),
    "line of a unit": (
        {"release": {"unit_extra": ["CPUWeight: 50"]}},
        ['app "api"', 'release.unit_extra has "CPUWeight: 50"', "Key=value", "CPUWeight=50"],
    ),
    "section of a unit": ({"release": {"unit_extra": ["[Unit]"]}}, ["release.unit_extra", '"[Unit]"', "Key=value"]),
    "two lines of a unit": ({"release": {"unit_extra": ["A=1\nB=2"]}}, ["release.unit_extra", "one an item"]),
    "line of a unit that goes on": ({"release": {"unit_extra": ["A=1\\"]}}, ["release.unit_extra", "one an item"]),
    "writable path relative": (
        {"release": {"writable_paths": ["srv/data"]}},
        ['app "api"', "release.writable_paths", '"srv/data"', "not absolute", "slash"],
    ),
    "writable path with a space": (
        {"release": {"writable_paths": ["/srv/my data"]}},
        ["release.writable_paths", '"/srv/my data"', "white space"],
    ),
    **{
        f"writable path {path}": (
            {"release": {"writable_paths": [path]}},
            [f'release.writable_paths has "{path}"', word, f"release: {{foreign_paths: [{path.removeprefix('-')}]}}"],
        )
        for path, word in {
            "/": "which has /bin in it",
            "/etc": "belongs to the host",
            "-/etc/nginx": "belongs to the host",
            "/etc/systemd/system": "belongs to the host",
            "/root": "belongs to the host",
            "/home/ann": "belongs to the host",
            "/run": "belongs to the host",
            "/proc/sys": "belongs to the host",
            "/usr/share": "belongs to the host",
            "/var": "which has /var/backups in it",
            "/var/lib": "belongs to the host",
            "/var/lib/postgresql": "belongs to the host",
            "/var/log": "belongs to the host",
            "/var/www/acme": "belongs to the host",
            "/srv": "which has /srv/api in it",
            "/srv/api": "where root keeps the app's releases",
            "/srv/gone/releases": "where root keeps the releases of an app",
        }.items()
    },
    "writable path written oddly": (
        {"release": {"writable_paths": ["//etc//ssl/"]}},
        ['"//etc//ssl/"', "foreign_paths: [/etc/ssl]"],
    ),
    "writable path in another one": (
        {"release": {"writable_paths": ["/mnt/a", "/mnt/a/b"]}},
        ['release.writable_paths has "/mnt/a/b"', 'in "/mnt/a" already', "remove /mnt/a/b"],
    ),
    "foreign path relative": (
        {"release": {"foreign_paths": ["etc"]}},
        ['release.foreign_paths has "etc"', "absolute"],
    ),
    "writable path with dots": (
        {"release": {"writable_paths": ["/srv/../etc"]}},
        ['"/srv/../etc"', "a part ..", "without"],
    ),
    "address family": (
        {"release": {"address_families": ["AF_UNIX", "AF_INET4"]}},
        ['app "api"', 'release.address_families has "AF_INET4"', "does not know", "AF_INET6"],
    ),
    "address family none and another": (
        {"release": {"address_families": ["none", "AF_UNIX"]}},
        ["release.address_families", '"none" beside others', "by itself"],
    ),
    "system call": (
        {"release": {"system_call_filter": ["@system-service", "Read!"]}},
        ['app "api"', "release.system_call_filter", '"Read!"', "no system call", "@system-service"],
    ),
    "system calls over two lines": (
        {"release": {"system_call_filter": ["@chown\nread"]}},
        ["release.system_call_filter", '"@chown\\nread"', "no system call"],
    ),
    "system call with a late tilde": ({"release": {"system_call_filter": ["@chown ~read"]}}, ['"~read"', "beginning"]),
    "group of system calls": (
        {"release": {"system_call_filter": ["~@privileged @resource"]}},
        ["release.system_call_filter", '"@resource"', "no group", "systemd.exec(5)", "@system-service"],
    ),
    "image_pinned": ({"image": {"pin": True}}, ["image_base", "has no digest", "image.pin", "@sha256:"]),
    "image_digest_cut_off": (
        {"image": {"base": "debian:trixie-slim@sha256:12ab"}},
        ["image.base", '"debian:trixie-slim@sha256:12ab"', "64 hexadecimal digits"],
    ),
    "image_registry_with_a_scheme": (
        {"image": {"registry": "https://registry.example.com"}},
        ["image.registry", '"https://registry.example.com"', "without a scheme"],
    ),
    "image_tag": ({"image": {"tags": ["a b"]}}, ["image.tags", '"a b"', "latest"]),
    "image_push_nowhere": ({"image": {"push": True}}, ["image.push", "image_registry"]),
    "image_user_without_password": (
        {"image": {"registry_user": "ci"}},
        ["image.registry_user", "image_registry_password", "write both"],
    ),
    "image_platforms": (
        {"image": {"platforms": ["linux/amd64", "linux/arm64"]}},
        ["image.platforms", "image_push: true"],
    ),
    "container_without_an_image": (
        {"runtime": "container"},
        ['runtime is "container"', "source names no image", "webops.wsgi.image"],
    ),
    "image_without_a_container": (
        {"source": {"image": f"r.example.com/api@sha256:{HEX}"}},
        ["source.image", "runtime is not container"],
    ),
    "image_by_its_tag": (
        {"source": {"image": "r.example.com/api:latest"}, "runtime": "container"},
        ["source.image", '"r.example.com/api:latest"', "@sha256:"],
    ),
    "container_with_a_build": (
        {"source": {"image": f"r.example.com/api@sha256:{HEX}"}, "runtime": "container", "build": ["make"]},
        ["build is set", "where it is built"],
    ),
    "container_with_a_sandbox": (
        {
            "source": {"image": f"r.example.com/api@sha256:{HEX}"},
            "runtime": "container",
            "release": {"private_users": True},
        },
        ["release.private_users", "engine's own sandbox"],
    ),
    "container_with_files_that_it_writes": (
        {
            "source": {"image": f"r.example.com/api@sha256:{HEX}"},
            "runtime": "container",
            "persistent": ["uploads"],
            "nginx": {"static": {"/uploads/": "uploads"}},
        },
        ["/var/lib/api/uploads", "instance is a container", "runtime: process"],
    ),
    "container_of_docker_with_a_share_of_memory": (
        {
            "source": {"image": f"r.example.com/api@sha256:{HEX}"},
            "runtime": "container",
            "image": {"engine": "docker"},
            "release": {"memory_max": "50%"},
        },
        ['release.memory_max is "50%"', "Docker takes a size alone", "image: {engine: podman}"],
    ),
    "containerfile_elsewhere": (
        {"image": {"containerfile": "../Dockerfile"}},
        ['image.containerfile is "../Dockerfile"', "not a path in the source"],
    ),
    "containerfile_of_a_package": (
        {"source": {"package": "x", "version": "1"}, "image": {"containerfile": "Dockerfile"}},
        ["image.containerfile", "source names a package"],
    ),
    "image_engine": ({"image": {"engine": "rkt"}}, ["image.engine", '"rkt"', "podman"]),
}


@pytest.mark.parametrize(("changes", "words"), BAD_APPS.values(), ids=list(BAD_APPS))
def test_bad_app(base, changes, words):
    entry = {key: value for key, value in {**GOOD, **changes}.items() if value is not ...}
    lines = found(base, [entry])
    assert len(lines) == 1, lines
    for word in words:
        assert word in lines[0]


GOOD_SETTINGS: list[dict[str, t.Any]] = [
    *(
        {"nginx": {"static_expires": value}}
        for value in ("off", "max", "epoch", "1h", "30d", -1, "1h30m", "modified +1w")
    ),
    *({"nginx": {"client_max_body_size": value}} for value in (0, "16m", "1G")),
    {"nginx": {"gzip_types": ["*"]}},
    {"nginx": {"gzip_types": ["application/vnd.api+json", "text/x-c"]}},
    *({"python": {"index_url": value}} for value in ("", "http://me:p%40w@a.example:81/s", "file:///srv/index")),
    {"python": {"extra_index_urls": ["https://a.example", "https://[2001:db8::1]/simple/"]}},
    *({"release": {"memory_max": value}} for value in ("512M", "1G", "50%", "infinity")),
    {"release": {"unit_extra": ["CPUWeight=50", "Environment=A=b", "LoadCredential="]}},
    {"release": {"writable_paths": ["/srv/data", "-/srv/maybe", "/a..b", "/var/lib/api/x", "/mnt//api/"]}},
    {"release": {"writable_paths": ["/var/lib/shared/x"], "foreign_paths": ["/var/lib/shared/"]}},
    {"release": {"foreign_paths": ["/etc/motd.d"]}, "nginx": {"static": {"/motd/": "/etc/motd.d"}}},
    {"nginx": {"static": {"/js/": "/usr/share/javascript", "/m/": "/srv/media", "/w/": "/var/www/html"}}},
    {"release": {"health_headers": {"X-Health": 1, "Authorization": "Bearer x"}}},
    *(
        {"release": {"address_families": value}}
        for value in (["none"], ["~AF_PACKET"], ["AF_UNIX", "AF_NETLINK AF_XDP"])
    ),
    {"release": {"system_call_filter": ["@system-service", "~@clock reboot", "clone3:ENOSYS"]}},
    {"name": "a--b"},
    *({"nginx": {"access_log": value}} for value in (False, "off", "journal")),
    {"gunicorn": {"workers": 3}},
    *(
        {"entrypoint": value}
        for value in (
            'app:create_app("production")',
            "wsgi:make_app(config='x', debug=False)",
            """app:make("it's", 'a "b" c', -1.5, [1, {"k": None}])""",
            "app:make('größe $HOME `id`')",
            "größe:büro",
        )
    ),
    {"persistent": ["data..old", ".cache", "old.db/"]},
    {"persistent": ["data"], "persistent_files": ["db.sqlite3", "database"]},
    {"persistent": ["up"], "nginx": {"static": {"/up/": "up", "/a/": "./up/a", "/b/": "/var/lib/api/b"}}},
]


@pytest.mark.parametrize("changes", GOOD_SETTINGS, ids=[str(changes) for changes in GOOD_SETTINGS])
def test_good_settings_have_no_problems(base, changes):
    assert found(base, [app(**changes)]) == []


# id: (entries, inventory variables, words of the only problem)
BAD_INVENTORIES: dict[str, tuple[t.Any, dict[str, t.Any], list[str]]] = {
    "no apps": ([], {}, ["inventory", "wsgi_apps is []", "no apps", "name, source, entrypoint, domains"]),
    "apps not defined": (None, {}, ["inventory", "wsgi_apps is not defined", "write wsgi_apps:"]),
    "apps misspelt": (None, {"wsgi_app": []}, ["wsgi_apps is not defined", "but wsgi_app is", "rename wsgi_app"]),
    "apps as a dictionary": ({"api": {}}, {}, ["wsgi_apps is a dictionary", "- name:"]),
    "app as a text": ([app(), "api"], {}, ["number 2", '"api"', "- name:"]),
    "two apps with one name": (
        [app(), app(domains=["b.example.com"])],
        {},
        ['app "api"', 'name is "api"', "entries 1 and 2", "a name of its own"],
    ),
    "name of an app to be removed": (
        [app(), {"name": "api", "state": "absent"}],
        {},
        ['app "api"', 'name is "api"', "entries 1 and 2", "a name of its own"],
    ),
    "two apps on one address": (
        [app(listen="127.0.0.1:8000"), app(name="b", domains=["b.example.com"], listen="127.0.0.1:8000")],
        {},
        ['app "b"', 'listen is "127.0.0.1:8000"', 'app "api" has too', "a port of its own"],
    ),
    "two apps with one domain": (
        [app(), app(name="b", domains=["b.example.com", "api.example.com"])],
        {},
        ['app "api"', "domains", '"api.example.com"', 'app "b"', "keep the domain in one app"],
    ),
    "addresses of two apps": (
        [app(domains=["192.0.2.1"], tls="selfsigned"), app(name="b", domains=["192.0.2.2"], tls="selfsigned")],
        {},
        ['app "b"', "domains has an address", 'certificate of app "api"', "in the domains of that app"],
    ),
    "address of another than the default app": (
        [app(), app(name="b", domains=["192.0.2.2"], tls="selfsigned")],
        {"nginx_proxy_default_app": "api"},
        ['app "b"', "domains has an address", 'certificate of app "api"', "in the domains of that app"],
    ),
    "address for longer than Let's Encrypt certifies it": (
        [app(domains=["192.0.2.1"])],
        {"certbot_install_method": "venv"},
        ['domains has "192.0.2.1", an address', "for six days only", "{profile: shortlived}"],
    ),
    "address for a certbot that is too old": (
        [app(domains=["192.0.2.1"])],
        {"certbot_install_method": "venv", "certbot_version": "5.3.1", "certbot_profile": "shortlived"},
        ['domains has "192.0.2.1", an address', 'certbot_version is "5.3.1"', "5.4.0 or a later one"],
    ),
    "misspelt inventory variable": (
        [app()],
        {"gunicorn_timout": 300},
        ["inventory", "gunicorn_timout is not a variable of the role gunicorn", "did you mean gunicorn_timeout?"],
    ),
    "misspelt variable of the playbooks": (
        [app()],
        {"wsgi_servers": "waitress"},
        ["inventory", "wsgi_servers is not a variable of webops.wsgi", "did you mean wsgi_server?"],
    ),
    "an ASGI app on a server of WSGI apps": (
        [app(interface="asgi", server="waitress")],
        {},
        ["interface is asgi", "waitress, the app's server, does not run ASGI apps", "write server: ", "uvicorn"],
    ),
    "ASGI apps on a server of WSGI apps": (
        [app()],
        {"wsgi_interface": "asgi", "wsgi_server": "waitress"},
        ["wsgi_interface is asgi", "waitress, the app's server, does not run ASGI apps", "interface: wsgi"],
    ),
    "a WSGI app on a server of ASGI apps": (
        [app(server="uvicorn")],
        {},
        ["wsgi_interface is wsgi", "uvicorn, the app's server, does not run WSGI apps", "interface: asgi", "waitress"],
    ),
    "an ASGI app under gunicorn's workers for WSGI apps": (
        [app(interface="asgi")],
        {},
        ['gunicorn_worker_class is "gthread"', "does not run ASGI apps", "gunicorn: {worker_class: asgi}"],
    ),
    "a WSGI app under gunicorn's workers for ASGI apps": (
        [app(gunicorn={"worker_class": "asgi"})],
        {},
        ['gunicorn.worker_class is "asgi"', "does not run WSGI apps", "write interface: asgi"],
    ),
    "an interface that does not exist": (
        [app(interface="rsgi")],
        {},
        ['interface is "rsgi"', "not one of its choices", "write one of wsgi, asgi"],
    ),
    "settings of another server": (
        [app(uvicorn={"workers": "2"})],
        {},
        ["uvicorn has settings, but the app's server is gunicorn", "remove uvicorn:, or write server: uvicorn"],
    ),
    "workers of uvicorn": (
        [app(interface="asgi", server="uvicorn", uvicorn={"workers": "many"})],
        {},
        ['uvicorn.workers is "many", neither auto nor a whole number', "such as 4, or auto"],
    ),
    "no workers of uvicorn": (
        [app(interface="asgi", server="uvicorn", uvicorn={"workers": "0"})],
        {},
        ["uvicorn.workers is 0", "write 1 or more, or auto"],
    ),
    "a version of uvicorn that is none": (
        [app(interface="asgi", server="uvicorn", uvicorn={"version": ">=0.30"})],
        {},
        ['uvicorn.version is ">=0.30"', "does not pin uvicorn"],
    ),
    "a WebSocket implementation that uvicorn does not have": (
        [app(interface="asgi", server="uvicorn", uvicorn={"ws": "tornado"})],
        {},
        ['uvicorn.ws is "tornado"', "write one of auto"],
    ),
    "a server that cannot tell what comes by listen": (
        [app(server="granian", listen="127.0.0.1:8000")],
        {},
        [
            'listen is "127.0.0.1:8000"',
            "granian, the app's server, cannot tell it from nginx",
            "remove listen",
            "gunicorn",
        ],
    ),
    "workers of Granian that live too short": (
        [app(server="granian", granian={"workers_lifetime": 30})],
        {},
        ["granian.workers_lifetime is 30, and Granian takes 60 s at least", "0 for no limit"],
    ),
    "a backlog that Granian does not take": (
        [app(server="granian", granian={"backlog": 64})],
        {},
        ["granian.backlog is 64", "write 128 or more"],
    ),
    "misspelt variable of nginx": (
        [app()],
        {"nginx_proxy_client_max_body": "1m"},
        ["inventory", "nginx_proxy_client_max_body ", "did you mean nginx_proxy_client_max_body_size?"],
    ),
    "wrong type in the inventory": (
        [app()],
        {"gunicorn_timeout": "long"},
        ["inventory", 'gunicorn_timeout is "long"', "write a whole number"],
    ),
    "eventlet in the inventory": (
        [app(), app(name="b", domains=["b.example.com"])],
        {"gunicorn_worker_class": "eventlet"},
        ["inventory", 'gunicorn_worker_class is "eventlet"', "gunicorn 26 removed", "gevent or gthread"],
    ),
    "time limits in the inventory": (
        [app(), app(name="b", domains=["b.example.com"])],
        {"gunicorn_timeout": 200},
        ['apps "api", "b"', "gunicorn_timeout is 200 s", "set nginx_proxy_read_timeout: 200"],
    ),
    "e-mail in the inventory": ([app()], {"certbot_email": "nobody"}, ['certbot_email is "nobody"', "ops@example.com"]),
    "renewal at the last moment": (
        [app()],
        {"certbot_renew_left": 5},
        ["certbot_renew_left is 5", "10"],
    ),
    "version that is none": (
        [app()],
        {"certbot_version": ">=5"},
        ['certbot_version is ">=5"', "not an exact version"],
    ),
    "resolver by name": (
        [app(), app(name="b", domains=["b.example.com"])],
        {"certbot_preflight_resolver": "dns.example.com"},
        ['apps "api", "b"', 'certbot_preflight_resolver is "dns.example.com"', "9.9.9.9"],
    ),
    "wildcard, tls from the inventory": (
        [app(domains=["*.example.com"], tls="selfsigned"), app(name="b", domains=["*.b.example.com"])],
        {"nginx_proxy_tls": "letsencrypt"},
        ['app "b"', '"*.b.example.com"', "http-01"],
    ),
    "provided from the inventory": (
        [app(certificate={"cert": "cert.pem"})],
        {"nginx_proxy_tls": "provided"},
        ['nginx_proxy_tls is "provided"', "certificate.key is missing"],
    ),
    "one port for both": (
        [app()],
        {"nginx_proxy_http_port": 443},
        ["nginx_proxy_http_port and nginx_proxy_https_port are both 443", "its own"],
    ),
    "workers in the inventory": (
        [app()],
        {"gunicorn_workers": False},
        ["inventory", "gunicorn_workers is false", "write a whole number, such as 4, or auto"],
    ),
    "index in the inventory": (
        [app(), app(name="b", domains=["b.example.com"])],
        {"python_app_index_url": "pypi.example"},
        ['apps "api", "b"', 'python_app_index_url is "pypi.example"', "https://packages.example.com/simple"],
    ),
    "default app that there is not": (
        [app()],
        {"nginx_proxy_default_app": "www"},
        ['inventory: nginx_proxy_default_app is "www"', "not an app", "write one of api"],
    ),
    "default app below a path": (
        [app(), app(name="b", path="/x")],
        {"nginx_proxy_default_app": "b"},
        ['nginx_proxy_default_app is "b"', "a domain of its own", "write one of api,"],
    ),
    "one path twice": (
        [app(), *(app(name=name, path=path) for name, path in (("b", "/x"), ("c", "/x/")))],
        {},
        ['app "b"', 'domains has "api.example.com" with path "/x"', 'app "c" has too', "a path of its own"],
    ),
    "path of an app that is absent": (
        [{"name": "api", "state": "absent"}, app(name="b", path="/x")],
        {},
        ['app "b"', 'no app with path / has the domain "api.example.com"'],
    ),
    "path of two apps' domains": (
        [
            app(),
            app(name="b", domains=["b.example"]),
            app(name="c", path="/x", domains=["api.example.com", "b.example"]),
        ],
        {},
        ['app "c"', 'path is "/x" of domains of the apps "api" and "b"', "keep the domains of one"],
    ),
    "path of one domain of several": (
        [app(domains=["a.example", "b.example"]), app(name="c", path="/x", domains=["b.example"])],
        {},
        ['app "c"', 'domains lacks "a.example"', "write below: api in the place of domains"],
    ),
    "below an app that there is not": (
        [app(), app(name="c", path="/x", domains=..., below="apu")],
        {},
        ['app "c"', 'below is "apu"', "not another app", "did you mean api?"],
    ),
    "below itself": (
        [app(), app(name="c", path="/x", domains=..., below="c")],
        {},
        ['app "c"', 'below is "c"', "not another app", "the app that serves the rest"],
    ),
    "below an app that is to be removed": (
        [{"name": "api", "state": "absent"}, app(name="c", path="/x", domains=..., below="api")],
        {},
        ['app "c"', 'below is "api"', "not another app"],
    ),
    "below an app without a path": (
        [app(), app(name="c", domains=..., below="api")],
        {},
        ['app "c"', 'below is "api"', "path is not given", "path: /admin"],
    ),
    "below an app below a path": (
        [app(), app(name="b", path="/x"), app(name="c", path="/x/y", domains=..., below="b")],
        {},
        ['app "c"', 'below is "b"', "below a path itself"],
    ),
    "below an app of other domains": (
        [app(domains=["a.example", "b.example"]), app(name="c", path="/x", domains=["b.example"], below="api")],
        {},
        ['app "c"', 'domains is ["b.example"], but below is "api"', "remove domains"],
    ),
    "certificate below a path": (
        [app(), app(name="b", path="/x", tls="provided")],
        {},
        ['app "b"', 'tls is given, but path is "/x"', "the app with path /"],
    ),
    "setting of the server below a path": (
        [app(), app(name="b", path="/x", nginx={"hsts": False})],
        {},
        ['app "b"', 'nginx.hsts is given, but path is "/x"', "server block"],
    ),
    "errors left to nginx below a path": (
        [app(), app(name="b", path="/x", nginx={"errors": "off"})],
        {},
        ['app "b"', 'nginx.errors is "off"', 'app "api"', "problem or html"],
    ),
    "location where another app is": (
        [app(nginx={"locations": {"= /x/y": {}}}), app(name="b", path="/x")],
        {},
        ['app "api"', 'nginx.locations has "= /x/y"', 'app "b" is served', "set it there"],
    ),
    "static files where a deeper app is": (
        [app(), app(name="b", path="/x", nginx={"static": {"/y": "static"}}), app(name="c", path="/x/y")],
        {},
        ['app "b"', 'nginx.static has "/y"', 'app "c" is served'],
    ),
    "too much brotli": (
        [app()],
        {"nginx_proxy_brotli_level": 12},
        ["nginx_proxy_brotli_level is 12", "write 11 or less"],
    ),
    "trusted proxies by an unknown name": (
        [app()],
        {"nginx_proxy_trusted_proxies": ["akamai"]},
        ["nginx_proxy_trusted_proxies", '"akamai"', "or cloudflare"],
    ),
    "container under supervisor": (
        [app(source={"image": f"r.example.com/api@sha256:{HEX}"}, runtime="container")],
        {"release_manager": "supervisor"},
        ['runtime is "container"', "release_manager", '"supervisor"', "runtime: process"],
    ),
    "credentials under Supervisor": (
        [app(credentials={"key": "x"})],
        {"release_manager": "supervisor"},
        ['app "api"', "credentials is set", "Supervisor (release_manager)", "put them into secrets"],
    ),
    "a timer under Supervisor": (
        [app(timers=[{"name": "tidy", "command": "flask tidy", "on_calendar": "daily"}])],
        {"release_manager": "supervisor"},
        ['app "api"', "timers is set", "Supervisor (release_manager)", "start them by cron"],
    ),
    "an address under Supervisor": (
        [app(listen="127.0.0.1:8000")],
        {"release_manager": "supervisor"},
        ['app "api"', "listen is set", "Supervisor (release_manager)"],
    ),
    "a limit of memory for all apps under Supervisor": (
        [app()],
        {"release_manager": "supervisor", "release_memory_max": "512M"},
        ["release_memory_max is set", "does not have a limit of memory", "remove it, or use systemd"],
    ),
    "a limit of processor time under Supervisor": (
        [app(release={"cpu_quota": "50%"})],
        {"release_manager": "supervisor"},
        ["release.cpu_quota is set", "does not have a limit of processor time"],
    ),
    "lines of a unit under Supervisor": (
        [app(release={"unit_extra": ["CPUWeight=50"]})],
        {"release_manager": "supervisor"},
        ["release.unit_extra is set", "does not have units"],
    ),
    "users of its own under Supervisor": (
        [app(release={"private_users": True})],
        {"release_manager": "supervisor"},
        ["release.private_users is set", "does not have a name space of users"],
    ),
    "a process manager that there is not": (
        [app()],
        {"release_manager": "runit"},
        ["release_manager", '"runit"', "supervisor"],
    ),
    "a process manager of one app": (
        [app(release={"manager": "supervisor"})],
        {},
        ['app "api"', "release.manager is one for the whole host", "set release_manager in the inventory"],
    ),
    "PROXY protocol from anybody": (
        [app()],
        {"nginx_proxy_proxy_protocol": True},
        ["nginx_proxy_proxy_protocol is true", "name the proxies"],
    ),
    "proxy without a scheme": (
        [app()],
        {"python_app_proxy": "ann:hunter2@proxy:3128"},
        ['python_app_proxy is "***@proxy:3128"', "http://proxy.example.com:3128"],
    ),
    "proxy with a password over TLS": (
        [app()],
        {"python_app_proxy": "https://ann:hunter2@proxy:3128"},
        ['python_app_proxy is "https://***@proxy:3128"', "begins with http://"],
    ),
    "exporter without a port": (
        [app()],
        {"nginx_proxy_exporter_listen": "localhost"},
        ['nginx_proxy_exporter_listen is "localhost"', "127.0.0.1:9113"],
    ),
    "header buffers": (
        [app()],
        {"nginx_proxy_large_header_buffers": "16k"},
        ['nginx_proxy_large_header_buffers is "16k"', "4 16k"],
    ),
    "URI longer than gunicorn takes": (
        [app()],
        {"nginx_proxy_client_max_uri_size": "16k"},
        ["gunicorn_limit_request_line is 8190", '("16k")', "set gunicorn_limit_request_line: 0, which is no limit"],
    ),
    "URI longer than nginx reads": (
        [app(gunicorn={"limit_request_line": 0})],
        {"nginx_proxy_client_max_uri_size": "64k"},
        ["client_max_uri_size", "set nginx_proxy_large_header_buffers: 1 65k or more"],
    ),
    "cookies longer than nginx reads": (
        [app()],
        {"nginx_proxy_client_max_header_size": "80k"},
        ["HTTP/2", "client_max_header_size", "set nginx_proxy_large_header_buffers: 1 80k or more"],
    ),
    "header of the client's address": (
        [app()],
        {"nginx_proxy_real_ip_header": "X Forwarded For"},
        ["nginx_proxy_real_ip_header", "not a valid name", "X-Forwarded-For"],
    ),
    "no such port": ([app()], {"nginx_proxy_https_port": 70000}, ["nginx_proxy_https_port is 70000", "65535"]),
    "password in the inventory": (
        [app()],
        {"python_app_index_url": ["https://me:" + SECRET + "@pypi.example"]},
        ["python_app_index_url", "***@pypi.example", "quotes"],
    ),
}


@pytest.mark.parametrize(("entries", "inventory", "words"), BAD_INVENTORIES.values(), ids=list(BAD_INVENTORIES))
def test_bad_inventory(base, entries, inventory, words):
    lines = found(base, entries, inventory)
    assert len(lines) == 1, lines
    for word in words:
        assert word in lines[0]


def test_all_problems_are_reported_together(base):
    entries = [app(name="One", entrypoint="x"), app(name="two", domains=["A.example.com"], gunicorn={"workers": 0})]
    lines = found(base, entries, {"gunicorn_timout": 1})
    assert [line.split(":", maxsplit=1)[0] for line in lines] == [
        "inventory",
        'app "One"',
        'app "One"',
        *2 * ['app "two"'],
    ]


def test_a_misspelt_required_key_is_reported_once(base):
    lines = found(base, [{**app(entrypoint=...), "entry_point": "app:app"}])
    assert len(lines) == 1
    assert "did you mean entrypoint?" in lines[0]


def test_absent_app_needs_only_its_name_and_frees_its_domains(base):
    gone = app(name="gone", state="absent", source={"path": "nope"}, gunicorn={"workers": 0})
    assert found(base, [app(), gone]) == []


def test_what_supervisor_lacks_is_named_once_for_all_apps_and_else_only_where_it_was_asked_for(base):
    entries = [app(), app(name="b", domains=["b.example.com"], release={"tasks_max": 9, "protect_proc": False})]
    inventory = {"release_manager": "supervisor"}
    findings = run.examine(SCHEMA, inventory, inventory, entries, [str(base)])
    assert findings.problems == []
    assert [line.partition(",")[0] for line in findings.warnings] == [
        "release_manager is supervisor",
        'app "b": without effect under Supervisor: release.protect_proc',
    ]
    assert findings.warnings[1].endswith(", release.tasks_max.")


def test_own_variables_with_a_role_s_prefix_are_only_named(base):
    findings = run.examine(SCHEMA, ["release_banner_text"], {}, [app()], [str(base)])
    assert findings.problems == []
    assert len(findings.warnings) == 1
    assert "release_banner_text" in findings.warnings[0]


@pytest.mark.parametrize(
    ("changes", "variables", "words"),
    [
        ({"env": {"DB_PASSWORD": SECRET}}, [], ['app "api"', "env.DB_PASSWORD", "use secrets"]),
        ({"domains": ["api.test"]}, [], ['app "api"', "api.test", "tls: selfsigned", "certbot_acme_directory"]),
        ({}, ["nginx_read_timeout"], ["nginx_read_timeout", "did you mean nginx_proxy_read_timeout?"]),
    ],
)
def test_oddities_are_only_warned_about(base, changes, variables, words):
    findings = run.examine(SCHEMA, variables, {}, [app(**changes)], [str(base)])
    assert findings.problems == []
    assert len(findings.warnings) == 1
    assert SECRET not in findings.warnings[0]
    for word in words:
        assert word in findings.warnings[0]


ODD = [None, True, -1, 1.5, float("inf"), "", "a b", "\0", [], [None], [[]], {}, {True: None}, {"path": None}]
ODD.append(settings.UNEVALUATED)


@pytest.mark.parametrize("value", ODD, ids=[str(number) for number in range(len(ODD))])
def test_no_value_anywhere_breaks_the_checks(base, value):
    found(base, value if value is not None else [None])
    found(base, [value, value])
    if value is not settings.UNEVALUATED:
        found(base, [app()], {name: value for role in SCHEMA.roles.values() for name in role.options})
    for key in [*SCHEMA.app, "gunicorn_timeout", "nginx_proxy", "timeout", 5]:
        found(base, [{**app(), key: value}])
    overrides = {role.key: dict.fromkeys(role.short(), value) for role in SCHEMA.roles.values()}
    found(base, [app(**overrides)])
    for key in ("source", "certificate"):
        found(base, [app(**{key: dict.fromkeys(SCHEMA.app[key]["options"], value), "tls": "provided"})])


@pytest.mark.parametrize(
    ("requirements", "pyproject", "packages", "missing"),
    [
        ("gevent==1\npackaging==2\n", None, [], ""),
        ("Gevent[events] == 1 \\\n  --hash=sha256:0\npackaging>=2 ; python_version > '3'\n", None, [], ""),
        ("-r more.txt\n# packaging\n", None, [], "packaging"),
        (None, '[project]\nname = "x"\ndependencies = ["gevent", "packaging>=1"]\n', [], ""),
        (None, "[project\n", ["gevent==1"], "packaging"),
        ("flask\n", None, ["gevent==1", "packaging==2"], ""),
        ("gunicorn[gevent]==27.0.1\n", None, [], ""),
        (None, None, [], "gevent and packaging"),
    ],
)
def test_where_gevent_may_come_from(base, requirements, pyproject, packages, missing):
    tree = base / "tree"
    (tree / "requirements.txt").unlink()
    (tree / "more.txt").write_text("gevent==1\n-r requirements.txt\n")
    for name, text in (("requirements.txt", requirements), ("pyproject.toml", pyproject)):
        if text is not None:
            (tree / name).write_text(text)
    lines = found(base, [app(gunicorn={"worker_class": "gevent"}, python={"packages": packages})])
    assert [f"does not bring {missing};" in line for line in lines] == ([True] if missing else [])


def test_gevent_of_sources_not_at_hand_is_not_judged(base):
    source = {"git": "https://git.example.com/x.git", "version": "v1"}
    assert found(base, [app(gunicorn={"worker_class": "gevent"}, source=source)]) == []


def test_resolved_app_has_the_shape_the_roles_expect(base):
    entry = app(tls="off", persistent=["./data/"], env={"A": 1, "B": True}, secrets={"C": 2}, gunicorn={"timeout": 60})
    findings = run.examine(SCHEMA, [], {"gunicorn_keepalive": "7"}, [entry], [str(base)])
    assert findings.problems == []
    data = findings.apps[0]
    roles = {key: data.pop(key) for key in SCHEMA.roles if key in data}
    assert data == {
        "name": "api",
        "state": "present",
        "purge": False,
        "source": {"kind": "path", "path": str(base / "tree")},
        "entrypoint": "app:create_app()",
        "domains": ["api.example.com"],
        "path": "/",
        "below": "",
        "site": "api",
        "scheme": "http",
        "tls": "off",
        "certificate": {},
        "env": {"A": "1", "B": "true"},
        "build": [],
        "system_packages": [],
        "build_packages": [],
        "files": [],
        "secrets": {"C": "2"},
        "persistent": ["data"],
        "persistent_files": [],
        "credentials": {},
        "workers": [],
        "timers": [],
        "listen": "",
        "runtime": "process",
        "interface": "wsgi",
        "hosts": "",
        "server": {
            "name": "gunicorn",
            "requirement": "gunicorn==27.0.1",
            "packages": [],
            "protocol": "http",
            "stop_timeout": 40,
            "backlog": 2048,
            "system_calls": ["@chown"],
        },
    }
    assert (roles["gunicorn"]["timeout"], roles["gunicorn"]["keepalive"]) == (60, 7)
    assert roles["nginx"]["tls"] == "off"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (5, 5.0),
        (0.5, 0.5),
        ("90", 90.0),
        ("90s", 90.0),
        ("2m", 120.0),
        ("1h", 3600.0),
        ("500ms", 0.5),
        ("", None),
        (True, None),
    ],
)
def test_seconds(value, expected):
    assert clients.seconds(value) == expected


def test_requirement_names():
    assert requirement_names(["Flask_SQLAlchemy[a.b]==1", "", "; x"]) == {
        "flask-sqlalchemy",
        "a-b",
        "flask-sqlalchemy[a-b]",
    }


def test_report_groups_apps_that_share_a_problem():
    problems = [settings.Problem(name, "x is 1", "write 2") for name in "abcdefg"]
    assert run.lines(problems) == ['apps "a", "b", "c", "d" and 3 more: x is 1; write 2']
    assert run.report(problems).startswith("The inventory has 1 problem; no host was touched.\n")


def test_fifty_apps_are_checked_quickly(base):
    """They take about ten times as long as five, not a hundred times."""
    schema = settings.load_schema()

    def seconds(count):
        entries = [app(name=f"app{number}", domains=[f"a{number}.example.com"]) for number in range(count)]
        started = time.process_time()  # what others do on this machine is none of it
        assert run.examine(schema, [], {}, entries, [str(base)]).problems == []
        return time.process_time() - started

    assert seconds(50) < 0.1 + 40 * seconds(5)


def test_the_places_of_another_app_are_its_own(base):
    other = {**GOOD, "name": "other", "domains": ["other.example.com"]}
    for path in ("/srv/other/x", "/var/lib/other"):
        for changes in ({"release": {"writable_paths": [path]}}, {"nginx": {"static": {"/s/": path}}}):
            (line,) = found(base, [{**GOOD, **changes}, other])
            assert f'has "{path}", which belongs to the app "other"' in line
            meant = {**changes, "release": {**changes.get("release", {}), "foreign_paths": [path]}}
            assert found(base, [{**GOOD, **meant}, other]) == []


def test_the_host_is_asked_for_what_only_it_can_judge(base):
    timer = {"name": "t", "command": "x", "on_calendar": "daily"}
    static = {"/m/": "/mnt/m", "/own/": "/var/lib/api/x", "/rel/": "up", "/w/": "/mnt/w/x"}
    app = {
        **GOOD,
        "timers": [timer],
        "listen": "127.0.0.1:8123",
        "persistent": ["up"],
        "nginx": {"static": static},
        "release": {"writable_paths": ["-/mnt/w/"]},
    }
    gone = {"name": "gone", "state": "absent"}
    wanted = run.examine(SCHEMA, ["wsgi_apps"], {}, [app, gone], [str(base)]).on_host
    assert wanted["calendars"] == [{"app": "api", "setting": "timers[0].on_calendar", "value": "daily"}]
    assert wanted["listens"] == {"api": "127.0.0.1:8123"}
    # Where the app may write anyway, nginx follows no symlink, and what is there is not the inventory's word.
    assert [(path["path"], path["writable"]) for path in wanted["paths"]] == [("-/mnt/w/", True), ("/mnt/m", False)]


def test_an_app_that_names_the_one_above_has_its_domains(base):
    whole = app(domains=["a.example", "b.example"])
    entries = [app(name="c", path="/x", domains=..., below="api"), whole]
    findings = run.examine(SCHEMA, [], {}, entries, [str(base)])
    assert findings.problems == []
    (below,) = [found for found in findings.apps if found["name"] == "c"]
    assert (below["domains"], below["site"], below["path"]) == (["a.example", "b.example"], "api", "/x")


@pytest.mark.parametrize("domain", ["*.example.com", "shop.internal", "shop"])
def test_what_an_authority_would_say_of_a_domain_is_a_cluster_s_own_affair(base: pathlib.Path, domain: str) -> None:
    entry = app(domains=[domain])
    on_a_host = run.examine(SCHEMA, [], {}, [entry], [str(base)])
    assert on_a_host.problems or on_a_host.warnings
    on_a_cluster = run.examine(SCHEMA, [], {}, [entry], [str(base)], cluster=True)
    assert (on_a_cluster.problems, on_a_cluster.warnings) == ([], [])
    assert on_a_cluster.apps[0]["scheme"] == "https"
