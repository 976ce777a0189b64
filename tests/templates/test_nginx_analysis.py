"""gixy reads the whole configuration, each option somewhere in it, and finds nothing to say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.webops.wsgi.plugins.plugin_utils.checks import run as checks
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import load_schema, plain
from ansible_collections.webops.wsgi.plugins.plugin_utils.servers.model import server
from nginx import Config
from render import ROOT, app, load

# Where the scenarios and the samples have their apps: a directory's, or the one file.
GROUP_VARS = [
    path
    for place in ("molecule", "inventory")
    for path in sorted(ROOT.glob(f"{place}/*/group_vars/wsgi*"))
    if "\nwsgi_apps:" in "".join(file.read_text() for file in path.glob("*.yml")) or path.is_file()
]

LOCATIONS: dict[str, dict[str, Any]] = {
    "/events": {"buffering": False, "gzip": False, "read_timeout": 3600},
    "= /upload": {"request_buffering": False, "client_max_body_size": "1g", "websocket": False},
    "/read/": {"methods": ["GET"]},
    "/inside/": {"allow": ["192.0.2.0/24"], "deny": ["192.0.2.7"]},
    "/admin/": {"basic_auth": {"ann": "$6$salt$hash"}, "access_log": "off"},
    "/limited/": {"limit_requests": "10r/s", "limit_connections": 5, "limit_key": "header:X-API-Key"},
    "/spaced/": {"limit_requests": "6r/m", "limit_requests_delay": "2", "limit_dry_run": True, "access_log": "journal"},
    "/cached/": {"cache": "on", "cache_key": "$http_accept_language"},
    "= /micro": {"cache": "micro", "cache_stale": False},
    "~ ^/v[0-9]+/own$": {"location_snippet": "add_header X-Own 1 always;"},
}
FULL: dict[str, Any] = {
    "static": {"/static/": "app/static", "/media/": "/var/www/media"},
    "error_pages": "app/errors",
    "canonical_domain": "full.example.com",
    "deny": ["198.51.100.7"],
    "content_security_policy": "default-src 'self'",
    "add_headers": {"X-Robots-Tag": "noindex"},
    "access_log_sample": 0.1,
    "forwarded": True,
    "maintenance_allow": ["192.0.2.7"],
    "locations": LOCATIONS,
}
# gixy takes only return and rewrite for safe in an if. nginx's own page has uwsgi_pass there among its contexts.
ALLOWED = ("if_is_evil", 'Directive "uwsgi_pass" is not safe')
BELOW = {**FULL, "canonical_domain": ""}
HOST: dict[str, Any] = {"nginx_proxy_http3": True, "nginx_proxy_trusted_proxies": ["192.0.2.1", "cloudflare"]}


@pytest.mark.parametrize("release", [{}, {"release": "12", "nginx_version": "1.22.1"}], ids=["13", "12"])
@pytest.mark.parametrize("protocol", [False, True], ids=["direct", "proxy_protocol"])
def test_nothing_to_say(tmp_path: Path, release: dict[str, str], protocol: bool) -> None:
    apps = [
        app("full", domains=["www.example.com", "full.example.com"], nginx=FULL),
        app("bare"),
        app("below", domains=["bare.example.com"], path="/a.b", site="bare", scheme="https", tls="off", nginx=BELOW),
        app("plain", tls="off", nginx={"errors": "off", "static_fingerprint": "", "static": {"/s": "s"}, "retries": 0}),
    ]
    Config(tmp_path, apps, release, {**HOST, "nginx_proxy_proxy_protocol": protocol})
    analyse(tmp_path)


def test_nothing_to_say_of_uwsgi(tmp_path: Path) -> None:
    apps = [
        app("full", domains=["full.example.com"], nginx=FULL),
        app("below", domains=["full.example.com"], path="/a.b", site="full", scheme="https", tls="off", nginx=BELOW),
    ]
    Config(tmp_path, [{**told, "server": {**told["server"], "protocol": "uwsgi"}} for told in apps], {}, {})
    analyse(tmp_path)


@pytest.mark.parametrize("folder", GROUP_VARS, ids=[str(path.relative_to(ROOT).parents[1]) for path in GROUP_VARS])
def test_nothing_to_say_of_our_own_inventories(tmp_path: Path, folder: Path) -> None:
    variables: dict[str, Any] = {"inventory_hostname": "d13", "project": str(ROOT), "scenario": "x"}
    for path in sorted(folder.glob("*.yml")) or [folder]:
        variables.update(load(str(path)))
    templar = Templar(loader=DataLoader(), variables=variables)
    asked = {name: variables[name] for name in variables if name == "wsgi_apps" or name.startswith("nginx_proxy_")}
    given = plain({name: templar.template(value) for name, value in asked.items()})
    entries = given.pop("wsgi_apps")
    findings = checks.examine(load_schema(str(ROOT)), list(given), given, entries, [str(ROOT / "inventory/x")])
    assert not [problem for problem in findings.problems if "nginx" in problem.text]
    apps = [told(app) for app in findings.apps]
    Config(tmp_path, apps, {}, given)
    analyse(tmp_path)


def told(app: dict[str, Any]) -> dict[str, Any]:
    """An app with what templates need of its server, which it lacks where something is wrong with its source."""
    known = isinstance(app["server"], dict) or app["state"] != "present"
    return app if known else {**app, "server": server(app["server"]).facts(app)}


def analyse(folder: Path) -> None:
    """Fail when gixy finds something else than what is allowed."""
    program = str(Path(sys.executable).with_name("gixy"))
    done = subprocess.run([program, "-f", "json", str(folder / "nginx.conf")], capture_output=True, text=True)
    told = json.loads(done.stdout or "[]")
    plugin, reason = ALLOWED
    found = [issue for issue in told if issue["plugin"] != plugin or not issue["reason"].startswith(reason)]
    assert not found, "\n".join(f"{issue['plugin']}: {issue['reason']}\n{issue['config']}" for issue in found)
    assert told or done.returncode == 0, done.stderr
