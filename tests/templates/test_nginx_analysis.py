"""gixy reads the whole configuration, each option somewhere in it, and finds nothing to say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from nginx import Config
from render import app

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
    "content_security_policy": "default-src 'self'",
    "add_headers": {"X-Robots-Tag": "noindex"},
    "access_log_sample": 0.1,
    "forwarded": True,
    "maintenance_allow": ["192.0.2.7"],
    "locations": LOCATIONS,
}
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
    program = str(Path(sys.executable).with_name("gixy"))
    done = subprocess.run([program, "-f", "json", str(tmp_path / "nginx.conf")], capture_output=True, text=True)
    found = json.loads(done.stdout or "[]")
    assert not found, "\n".join(f"{issue['plugin']}: {issue['reason']}\n{issue['config']}" for issue in found)
    assert done.returncode == 0, done.stderr
