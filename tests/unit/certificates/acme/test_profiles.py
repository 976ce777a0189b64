# SPDX-License-Identifier: GPL-3.0-or-later
"""Profiles of an authority, read from a directory that a server on loopback answers with."""

from __future__ import annotations

import http.server
import json
import threading
import typing as t

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme import profiles as profiles


@pytest.fixture
def answering() -> t.Iterator[t.Callable[[str], str]]:
    """Have a directory answer with a text; returns its URL."""
    servers = []

    def start(text: str) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_arguments: t.Any) -> None:
                """Say nothing."""

        server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/dir"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("meta", "said"),
    [
        ({"profiles": {"classic": "…", "shortlived": "…"}}, ""),
        (
            {"profiles": {"tlsserver": "…", "classic": "…"}},
            'no profile "shortlived", it has classic, tlsserver; correct',
        ),
        ({}, 'no profile "shortlived", it has none; correct certbot_profile'),
    ],
)
def test_what_is_not_offered_is_not_asked_for(answering, meta, said):
    found = profiles.problem("shortlived", answering(json.dumps({"newOrder": "…", "meta": meta})))
    assert said in found
    assert bool(said) is bool(found)


@pytest.mark.parametrize("text", ["<html>", "[]", '{"meta": []}', '{"meta": {"profiles": null}}'])
def test_a_directory_that_is_none_is_left_to_certbot(answering, text):
    assert profiles.problem("shortlived", answering(text)) == ""


def test_authority_that_is_not_there_is_left_to_certbot():
    assert profiles.offered("http://127.0.0.1:1/dir") is None


def test_without_a_profile_nobody_is_asked(monkeypatch):
    monkeypatch.setattr(profiles, "offered", lambda *_: pytest.fail("asked"))
    assert profiles.problem("", "http://127.0.0.1:1/dir") == ""
