"""How requests reach the app, and its answers the client."""

from __future__ import annotations

import json
import time

import pytest
from testbed import labs

# Says of each event that it is there, which the app waits for before it sends the next one.
STREAM = """
import http.client, ssl, sys
domain, root, name = sys.argv[1:]
context = ssl.create_default_context(cafile=root)

def ask(method, path):
    connection = http.client.HTTPSConnection(domain, context=context, timeout=60)
    connection.request(method, path)
    return connection.getresponse()

answer = ask("GET", f"/events?name={name}")
while line := answer.readline():
    if line.strip():
        print(line.decode().strip(), flush=True)
        ask("PUT", f"/keep/{name}-{line.split()[-1].decode()}").read()
"""

# RFC 6455 in small: one handshake, then text frames of fewer than 126 bytes.
SOCKET = """
import base64, os, socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[2])
with context.wrap_socket(socket.create_connection((sys.argv[1], 443), timeout=10), server_hostname=sys.argv[1]) as wire:
    key = base64.b64encode(os.urandom(16)).decode()
    wire.sendall(f"GET /socket HTTP/1.1\\r\\nHost: {sys.argv[1]}\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n"
                 f"Sec-WebSocket-Key: {key}\\r\\nSec-WebSocket-Version: 13\\r\\n\\r\\n".encode())
    stream = wire.makefile("rb")
    print(stream.readline().decode().strip())
    while stream.readline().strip():
        pass
    for text in sys.argv[3:]:
        mask, data = os.urandom(4), text.encode()
        wire.sendall(bytes([0x81, 0x80 | len(data)]) + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(data)))
        kind, length = stream.read(2)
        print(stream.read(length).decode())
"""


def test_server_sent_events_arrive_at_once(host, client, python):
    """The app sends none before the client has the one before: it would wait in vain for one that is held back."""
    lines = python(STREAM, host.domain("probe"), client.root, f"events-{time.time_ns()}").splitlines()
    assert lines == ["data: 0", "data: 1", "data: 2"]


def test_websocket_echo(host, client, python):
    told = python(SOCKET, host.domain("probe"), client.root, "hello", "again").splitlines()
    assert told == ["HTTP/1.1 101 Switching Protocols", "hello", "again"]


def test_a_large_upload_streams_to_the_app(host, client):
    """200 MB through nginx: its processes stay as small as they were, and nothing is written to disk on the way."""
    script = 'head -c 200000000 /dev/zero | curl -s --cacert "$1" -T - -w " %{http_code}" "$0"'
    before = _memory(host)
    watch = "ls /var/lib/nginx/body; ls /proc/*/fd -l 2>/dev/null | grep -c nginx/body || true"
    answer = client.shell(script, host.url("probe", "/upload"), client.root)
    body, status = answer.rsplit(" ", 1)
    assert status == "200", answer
    assert json.loads(body)["length"] == 200_000_000
    grown = _memory(host) - before
    assert grown < 8_000, f"nginx grew by {grown} kB"
    assert host.run(watch).endswith("0")


def test_a_body_that_is_too_large_is_refused(host, client):
    answer = client.get(host.url("probe", "/small/upload"), "--data", "x" * 2000)
    assert answer.status == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert client.get(host.url("probe", "/upload"), "--data", "x" * 2000).json["length"] == 2000


def test_a_request_that_is_safe_to_repeat_survives_its_worker(host, client):
    name = f"get-{time.time():.0f}"
    answer = client.get(host.url("probe", f"/dies-once/{name}"))
    assert answer.status == 200, f"the request was not sent again: {answer.status}"
    assert answer.json == {"survived": name}


def test_a_request_that_is_not_is_sent_once(host, client):
    name = f"post-{time.time():.0f}"
    answer = client.get(host.url("probe", f"/dies-once/{name}"), "-X", "POST")
    assert answer.status == 502, f"a POST was sent twice: {answer.status}"


@pytest.mark.parametrize("given", ["", "trace-0123456789", "not sane; at all"])
def test_one_request_id_everywhere(host, client, logged, given):
    path = f"/seen?{time.time_ns()}"
    answer = client.get(host.url("probe", path), "-H", f"X-Request-ID: {given}")
    told = answer.json["headers"]["X-Request-Id"]
    assert answer.headers["x-request-id"] == told
    assert (told == given) is given.startswith("trace"), f"{given!r} became {told!r}"
    (line,) = logged(path)
    assert line["http.request.id"] == told


def test_the_log_is_json_of_what_happened(host, client, logged):
    path = f"/status/418?{time.time_ns()}"
    client.get(host.url("probe", path), "-A", 'an "odd"\tagent')
    (line,) = logged(path)
    assert line["http.response.status_code"] == 418
    assert line["user_agent.original"] == 'an "odd"\tagent'
    assert line["url.domain"] == host.domain("probe")
    assert line["client.ip"] in (client.ipv4, client.ipv6)
    assert float(line["nginx.upstream.time"]) >= 0


def test_a_quiet_location_is_not_logged(host, client):
    path = f"/api/v1/quiet?{time.time_ns()}"
    assert client.get(host.url("probe", path)).status == 200
    assert not [line for line in _log(host) if line["url.original"] == path]


def test_a_log_that_is_the_journal(host, client):
    path = f"/api/journal/x?{time.time_ns()}"
    assert client.get(host.url("probe", path)).status == 200
    journal = f"journalctl -t probe -o cat -n 50 | grep url.original | grep -F '{path}'"
    labs.wait_for(lambda: host.try_(journal).returncode == 0, "the line in the journal")
    line = json.loads(host.run(journal))
    assert line["http.response.status_code"] == 200
    assert not [line for line in _log(host) if line["url.original"] == path]


@pytest.mark.parametrize("version", ["-4", "-6"])
def test_forwarded_says_what_happened(host, client, version):
    forged = ["-H", "Forwarded: for=192.0.2.99;host=evil.example;proto=http"]
    told = client.get(host.url("probe", "/seen"), version, *forged).json["headers"]["Forwarded"]
    address = client.ipv4 if version == "-4" else f'"[{client.ipv6}]"'
    assert told == f'for={address};host="{host.domain("probe")}";proto=https'


CLAIMS = {
    "CF-Connecting-IP": "192.0.2.99",
    "True-Client-IP": "192.0.2.99",
    "X-Client-IP": "192.0.2.99",
    "X-Original-URL": "/admin",
    "X-Rewrite-URL": "/admin",
    "X-Forwarded-Server": "evil.example",
    "X-Forwarded-User": "root",
    "X-Remote-User": "root",
    "Remote-User": "root",
    "Remote_User": "root",
    "X_Forwarded_User": "root",
    "X_Forwarded_For": "192.0.2.99",
}


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_what_a_client_claims_to_be_does_not_reach_the_app(host, client, version):
    sent = [word for name, value in CLAIMS.items() for word in ("-H", f"{name}: {value}")]
    told = client.get(host.url("probe", "/seen"), version, *sent, "-H", "X-Kept: kept").json["headers"]
    assert told["X-Kept"] == "kept"
    assert not [name for name, value in told.items() if value in CLAIMS.values()], told
    trusting = client.get(host.url("probe", "/seen/trusting"), version, *sent).json["headers"]
    assert trusting["X-Forwarded-User"] == "root", "a list of one's own does not count"
    assert "X-Original-Url" not in trusting


@pytest.mark.parametrize("family", ["4", "6"])
def test_an_app_that_knows_no_proxy_sees_its_client(host, client, family):
    forged = ["-H", "X-Forwarded-For: 192.0.2.99", "-H", "X-Forwarded-Proto: http", "-H", "X-Real-IP: 192.0.2.99"]
    path = f"/seen?{time.time_ns()}"
    seen = client.get(host.url("probe", path), f"-{family}", *forged).json
    address = client.ipv4 if family == "4" else client.ipv6
    assert (seen["client"], seen["scheme"]) == (address, "https")
    journal = f"journalctl -o cat -n 50 -u 'probe@*' | grep '^{{' | grep -F '{path}'"
    labs.wait_for(lambda: host.try_(journal).returncode == 0, "the line in the journal")
    assert json.loads(host.run(journal))["client"] == address


def test_what_reaches_the_app_past_nginx_is_this_host_s(host):
    claims = ["X-Forwarded-For: 192.0.2.99", "X-Forwarded-Proto: https", "X-Real-IP: 192.0.2.99", "Forwarded: for=a"]
    sent = " ".join(f"-H '{claim}'" for claim in claims)
    seen = json.loads(host.run(f"curl -s {sent} http://127.0.0.1:8099/seen"))
    assert (seen["client"], seen["scheme"]) == ("127.0.0.1", "http")
    assert not [name for name in seen["headers"] if "Forwarded" in name or name == "X-Real-Ip"]


def test_a_trusted_proxy_s_word_on_the_client_counts(host):
    """The host itself is one, see nginx_proxy_trusted_proxies."""
    domain = host.domain("probe")
    ask = f"curl -sk --resolve {domain}:443:127.0.0.1 -H 'X-Forwarded-For: 192.0.2.7' -H 'CF-Connecting-IP: 192.0.2.8'"
    told = json.loads(host.run(f"{ask} https://{domain}/seen"))["headers"]
    assert told["X-Real-Ip"] == told["X-Forwarded-For"] == "192.0.2.7"
    assert "Cf-Connecting-Ip" not in told


def test_a_header_does_not_change_a_method(host, client):
    told = client.get(host.url("probe", "/api/read/seen"), "-H", "X-HTTP-Method-Override: DELETE")
    assert "X-Http-Method-Override" not in told.json["headers"]
    open_part = client.get(host.url("probe", "/seen"), "-H", "X-HTTP-Method-Override: PUT")
    assert open_part.json["headers"]["X-Http-Method-Override"] == "PUT"


def _log(host):
    """The last lines, a while later: for what is not there."""
    time.sleep(1.2)  # nginx writes what it has collected once a second
    return [json.loads(line) for line in host.run("tail -n 50 /var/log/nginx/probe.access.log").splitlines()]


def _memory(host):
    """Resident memory of nginx's processes, in kB."""
    return int(host.run("ps -C nginx -o rss= | awk '{sum += $1} END {print sum}'"))
