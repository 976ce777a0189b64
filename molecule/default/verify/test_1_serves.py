"""What a client gets."""

from __future__ import annotations

import json

import pytest

CURL_NO_REPLY = (52, 56)  # closed, or reset
CURL_TLS_REFUSED = 35


def test_https_with_a_valid_certificate(host, app, client):
    answer = client.get(host.url(app))
    assert answer.exit == 0, f"no valid HTTPS: {answer.error}"
    assert answer.status == 200, f"{host.url(app)} answered {answer.status}: {answer.body[:300]}"


def test_certificate_comes_from_the_authority_and_names_the_domain(host, app, client):
    shown = client.certificate(host.domain(app))
    assert "Pebble Intermediate CA" in shown, f"not issued by the certificate authority: {shown}"
    assert f"DNS:{host.domain(app)}" in shown, f"another domain's certificate: {shown}"


def test_http_leads_to_https(host, app, client):
    answer = client.get(host.url(app, "/some/path?q=1", scheme="http"))
    assert answer.status == 308, f"plain HTTP answered {answer.status}"
    assert answer.headers["location"] == host.url(app, "/some/path?q=1")


def test_http2(host, app, client):
    answer = client.get(host.url(app), "--http2")
    assert answer.version == "2", f"negotiated HTTP/{answer.version}"


@pytest.mark.parametrize("family", ["4", "6"])
def test_app_sees_the_client_the_scheme_and_the_host(host, client, family):
    answer = client.get(host.url("api", "/whoami"), f"-{family}")
    assert answer.exit == 0, f"no answer over IPv{family}: {answer.error}"
    seen = answer.json
    expected = client.ipv4 if family == "4" else client.ipv6
    assert seen["client"] == expected, "the app does not see the client's own address"
    assert (seen["scheme"], seen["host"]) == ("https", host.domain("api"))
    assert seen["request_id"], "no X-Request-ID reaches the app"


def test_forged_forwarding_headers_do_not_win(host, client):
    forged = [
        "X-Forwarded-For: 203.0.113.9",
        "X-Forwarded-Proto: ftp",
        "X-Forwarded-Host: evil.example",
        "X-Real-IP: 9.9.9.9",
    ]
    options = [option for header in [*forged, "Forwarded: for=203.0.113.9;proto=ftp"] for option in ("-H", header)]
    seen = client.get(host.url("api", "/whoami"), "-4", *options).json
    assert (seen["client"], seen["scheme"], seen["host"]) == (client.ipv4, "https", host.domain("api"))


def test_json_is_compressed(host, client):
    long = json.dumps({"text": "words " * 200})
    options = ["-H", "Accept-Encoding: gzip", "-H", "Content-Type: application/json", "--data", long, "-o", "/dev/null"]
    answer = client.get(host.url("api", "/echo"), *options)
    assert answer.status == 200
    assert answer.headers.get("content-encoding") == "gzip", f"not compressed: {answer.headers}"


def test_css_is_compressed(host, client):
    answer = client.get(host.url("api", "/static/style.css"), "-H", "Accept-Encoding: gzip", "-o", "/dev/null")
    assert answer.status == 200
    assert answer.headers.get("content-encoding") == "gzip", f"not compressed: {answer.headers}"
    assert answer.headers["content-type"].startswith("text/css")


def test_unknown_host_is_cut_off(host, client):
    plain = client.get(f"http://{host.ipv4}/", "-H", "Host: unknown.example.test")
    assert plain.exit in CURL_NO_REPLY, f"an unknown host got HTTP {plain.status} (curl exit {plain.exit})"
    secure = client.get("https://unknown.example.test/", "--resolve", f"unknown.example.test:443:{host.ipv4}")
    assert secure.exit == CURL_TLS_REFUSED, f"an unknown name got past TLS (curl exit {secure.exit}: {secure.error})"


def test_unknown_host_behind_a_known_tls_name_is_cut_off(host, client):
    answer = client.get(host.url("api"), "-H", "Host: unknown.example.test", "--http1.1")
    assert answer.status in (0, 421), f"an unknown Host header behind a known TLS name got:\n{answer.body[:300]}"


@pytest.mark.parametrize("ending", ["-2.7.3.html", "/../../etc/passwd", "/%2e%2e/%2e%2e/views.py"])
def test_static_serves_nothing_outside_its_directory(host, client, ending):
    answer = client.get(host.url("api", f"/static{ending}"), "--path-as-is")
    assert answer.status in (400, 403, 404), f"/static{ending} answered {answer.status}: {answer.body[:200]}"
