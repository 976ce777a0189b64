# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half: what it sends to the host."""

from __future__ import annotations

from ansible_collections.webops.wsgi.plugins.action import app_certificates as action
from certificate_stand_ins import DIRECTORY


def test_action_sends_only_what_concerns_certificates() -> None:
    given = {
        "name": "api",
        "state": "present",
        "domains": ["api.example.test"],
        "tls": "letsencrypt",
        "secrets": {"PASSWORD": "hunter2"},
        "env": {"A": "b"},
        "certificate": {"cert": "/a.pem", "key": "/a.key"},
        "certbot": {"email": "", "acme_directory": DIRECTORY, "future_setting": 1},
    }
    assert action.reduce_app(given) == {
        "name": "api",
        "state": "present",
        "domains": ["api.example.test"],
        "tls": "letsencrypt",
        "certbot": {"email": "", "acme_directory": DIRECTORY},
    }
    given["certbot"].update(challenge="dns-01", dns_plugin="dns-rfc2136", dns_credentials="/secret.ini")
    assert action.reduce_app(given)["certbot"]["dns_plugin"] == "dns-rfc2136"
    assert "secret.ini" not in str(action.reduce_app(given))
