# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a call of app_certificates would find nothing to do."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.certificates import store
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.call import settled
from certificate_stand_ins import DIRECTORY, Programs, app, issued, start


@pytest.fixture
def options(host: store.Host, programs: Programs) -> dict[str, Any]:
    """Of a host with a certificate by certbot and one of its own, both served."""
    apps = app("api"), app("own", tls="selfsigned")
    start(host, programs, *apps)
    issued(host, *apps)
    acme = {"acme_directory": DIRECTORY, "preflight": False}
    return {
        "ensure": "issued",
        "apps": [
            {"name": "api", "domains": ["api.example.test"], "certbot": acme},
            {"name": "own", "domains": ["own.example.test"], "tls": "selfsigned"},
        ],
        **{name: getattr(host, name) for name in ("links", "store", "letsencrypt", "webroot", "address")},
        "https_port": host.port,
    }


def test_nothing_to_do(options: dict[str, Any], programs: Programs) -> None:
    programs.calls.clear()
    assert settled(options, programs)
    assert not programs.asked("certonly")


@pytest.mark.parametrize(
    "other",
    [
        {"domains": ["api.example.test", "www.example.test"]},
        {"tls": "selfsigned"},
        {"tls": "provided"},
        {"state": "absent"},
        {"unknown": True},
    ],
)
def test_another_wish(options: dict[str, Any], programs: Programs, other: dict[str, Any]) -> None:
    options["apps"][0].update(other)
    assert not settled(options, programs)


def test_files_around_certbot(options: dict[str, Any], programs: Programs, tmp_path: Any) -> None:
    assert not settled({**options, "files": [{"path": str(tmp_path / "hook"), "content": "#!/bin/sh\n"}]}, programs)


def test_what_is_not_served(options: dict[str, Any], programs: Programs) -> None:
    assert not settled({**options, "https_port": 1}, programs), "nginx does not answer"
    programs.nginx.sites["own.example.test"] = "api"
    programs.nginx.reload()
    assert not settled(options, programs), "another certificate is on the wire"
