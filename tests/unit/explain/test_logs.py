# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read out of nginx's logs."""

from __future__ import annotations

import json

from ansible_collections.webops.wsgi.plugins.module_utils.explain.logs import entries, errors

PLAIN = (
    '192.0.2.7 - ada [28/Nov/2026:11:05:13 +0000] "POST /items?page=2 HTTP/2.0" 502 112 "-" "curl/8.1 (\\"x\\")" '
    "host=api.example.com id=r1 time=1.250 app_time={} maintenance={}"
)
JSON = {
    "@timestamp": "2026-11-28T11:05:13+00:00",
    "http.response.status_code": 413,
    "client.ip": "192.0.2.7",
    "http.request.method": "POST",
    "url.original": "/items?page=2",
    "http.request.id": "r1",
    "user_agent.original": "curl",
    "nginx.request.time": 1.25,
    "nginx.upstream.time": "",
    "nginx.maintenance": "",
}


def test_plain_line() -> None:
    (entry,) = entries([PLAIN.format("1.248", "")])
    assert (entry.client, entry.method, entry.path, entry.status) == ("192.0.2.7", "POST", "/items", 502)
    assert (entry.seconds, entry.by_app, entry.identity, entry.maintenance) == (1.25, True, "r1", False)
    assert entry.when == 1795863913


def test_app_that_was_asked_twice() -> None:
    (entry,) = entries([PLAIN.format("0.001, 0.002", "")])
    assert entry.by_app


def test_answer_of_nginx_itself() -> None:
    (entry,) = entries([PLAIN.format("-", "on")])
    assert not entry.by_app
    assert entry.maintenance


def test_line_of_json() -> None:
    (entry,) = entries([json.dumps(JSON)])
    assert (entry.path, entry.status, entry.by_app, entry.when) == ("/items", 413, False, 1795863913)


def test_json_after_the_words_of_a_journal() -> None:
    (entry,) = entries(["  " + json.dumps(JSON)])
    assert entry.status == 413


def test_what_is_no_request_is_left_out() -> None:
    cut = PLAIN.format("-", "")[40:]
    assert not list(entries([cut, '{"@timestamp":', "{}", ""]))


def test_error_about_a_request() -> None:
    line = (
        "2026/11/28 11:05:13 [error] 752#752: *23 upstream prematurely closed connection while reading response header "
        'from upstream, client: 192.0.2.7, server: api.example.com, request: "GET /die?x HTTP/1.1", '
        'upstream: "http://unix:/run/api/current.sock:/die?x", host: "api.example.com"'
    )
    (error,) = errors([line, "no line of nginx"])
    assert error.text.startswith("upstream prematurely closed")
    assert error.text.endswith("from upstream")
    assert error.path == "/die"


def test_error_about_no_request() -> None:
    (error,) = errors(["2026/11/28 11:05:13 [emerg] 752#752: bind() to 0.0.0.0:80 failed (98: Address already in use)"])
    assert (error.text, error.path) == ("bind() to 0.0.0.0:80 failed (98: Address already in use)", "")
