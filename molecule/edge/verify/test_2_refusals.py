"""What is refused, and how the client is told."""

from __future__ import annotations

import json

import pytest

PASSWORD = "ann:password"

# Two requests whose bodies come a byte at a time, others beside them until one is refused, and others after them until
# none is; the first one refused and the first one after them that is not.
HELD = """
import http.client, json, socket, ssl, sys, time
domain, root = sys.argv[1:]
context = ssl.create_default_context(cafile=root)
head = f"POST /api/few/x HTTP/1.1\\r\\nHost: {domain}\\r\\nContent-Length: 1000\\r\\n\\r\\n".encode()

def begin():
    wire = context.wrap_socket(socket.create_connection((domain, 443), timeout=60), server_hostname=domain)
    wire.sendall(head)
    return wire

def until(status, held):
    for _ in range(100):
        for wire in held:
            wire.sendall(b"x")
        connection = http.client.HTTPSConnection(domain, context=context, timeout=60)
        connection.request("GET", "/api/few/x")
        answer = connection.getresponse()
        connection.close()
        if answer.status == status:
            break
        time.sleep(0.1)
    return answer.status, answer.headers["Retry-After"]

held = begin(), begin()
refused = until(429, held)
for wire in held:
    wire.close()
print(json.dumps([refused, until(200, [])]))
"""


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_methods(host, client, method):
    answer = client.get(host.url("probe", "/api/read/x"), "-X", method)
    assert answer.status == 405
    assert answer.headers["allow"] == "GET, HEAD"
    assert client.get(host.url("probe", "/api/read/x")).status == 200
    assert client.get(host.url("probe", "/api/read/x"), "--head").status == 200


CANNOT_SEND = 55  # an exit code of curl, CURLE_SEND_ERROR


def test_addresses(host, client):
    assert client.get(host.url("probe", "/api/nobody/x")).status == 403
    assert client.get(host.url("probe", "/api/here/x")).status == 403
    here = f"curl -sk -o /dev/null -w '%{{http_code}}' --resolve {host.domain('probe')}:443:127.0.0.1"
    assert host.run(f"{here} {host.url('probe', '/api/here/x')}") == "200"
    forged = client.get(host.url("probe", "/api/here/x"), "-H", "X-Forwarded-For: 127.0.0.1")
    assert forged.status == 403, "a client chose its own address"


def test_passwords(host, client):
    url = host.url("probe", "/api/secret/x")
    refused = client.get(url)
    assert refused.status == 401
    assert refused.headers["www-authenticate"].startswith("Basic")
    assert client.get(url, "-u", "ann:wrong").status == 401
    assert client.get(url, "-u", PASSWORD).status == 200
    kept = host.run("stat -Lc '%U:%G %a' /etc/nginx/wsgi/passwords/probe/*")
    assert kept == "root:www-data 640"


def test_a_burst_then_429(host, client):
    statuses, seconds = _statuses(client, host.url("probe", "/api/limited/x"), 40)
    assert 5 <= statuses.count("200") <= 6 + seconds, f"one a second and a burst of four, in {seconds} s: {statuses}"
    assert set(statuses) == {"200", "429"}
    refused = client.get(host.url("probe", "/api/limited/x"))
    if refused.status == 429:
        assert refused.headers["retry-after"] == "1"
        assert refused.json["title"] == "Too Many Requests"


def test_a_limit_by_header_is_not_shared(host, client):
    url = host.url("probe", "/api/keyed/x")
    first = [client.get(url, "-H", "X-API-Key: first") for _ in range(2)]
    assert [answer.status for answer in first] == [200, 429]
    assert first[1].headers["retry-after"] == "10"
    assert client.get(url, "-H", "X-API-Key: second").status == 200


def test_who_leaves_the_key_out_is_limited_by_address(host, client):
    url = host.url("probe", "/api/by-cookie/x")
    assert [client.get(url).status for _ in range(2)] == [200, 429]
    assert client.get(url, "-b", "user=ann").status == 200


def test_a_client_has_so_many_requests_at_once(host, client, python):
    """Two whose bodies do not end hold the client's places; a third is refused, and so is none when they have gone."""
    refused, after = json.loads(python(HELD, host.domain("probe"), client.root))
    assert refused == [429, "1"]
    assert after == [200, None]


def test_a_dry_run_refuses_nothing(host, client):
    statuses, _ = _statuses(client, host.url("probe", "/api/dry/x"), 4)
    assert set(statuses) == {"200"}
    assert int(host.run("grep -ac 'dry run' /var/log/nginx/error.log")) > 0


@pytest.mark.usefixtures("stopped")
@pytest.mark.parametrize(
    ("accept", "kind"),
    [("*/*", "application/problem+json"), ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html")],
)
def test_errors_speak_the_clients_language(host, client, accept, kind):
    answer = client.get(host.url("probe"), "-H", f"Accept: {accept}")
    assert answer.status == 502
    assert answer.headers["content-type"].startswith(kind)
    assert answer.headers["x-request-id"] in answer.body
    if kind != "text/html":
        assert answer.json == {
            "type": "about:blank",
            "title": "Bad Gateway",
            "status": 502,
            "request_id": answer.headers["x-request-id"],
        }


def test_an_apps_own_errors_are_its_own(host, client):
    answer = client.get(host.url("probe", "/status/503"))
    assert (answer.status, answer.body) == (503, "the app says 503")


def test_an_apps_own_page_for_an_error(host, client):
    answer = client.get(host.url("probe", "/static/none.css"), "-H", "Accept: text/html")
    assert answer.status == 404
    assert "Our own page" in answer.body
    assert client.get(host.url("probe", "/static/none.css")).json["status"] == 404


def test_security_headers(host, client):
    headers = client.get(host.url("probe")).headers
    assert headers["content-security-policy"] == "default-src 'self'"
    assert headers["x-frame-options"] == "SAMEORIGIN"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "strict-origin-when-cross-origin"
    assert headers["server"] == "nginx"


def test_an_apps_own_security_header_wins(host, client):
    headers = client.get(host.url("probe", "/own-headers")).headers
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-request-id"] != "own"


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        (7900, {}, 200),
        (8100, {}, 414),
        (30000, {}, 414),
        (0, {"Cookie": 16000}, 200),
        (0, {"Cookie": 17000}, 431),
        (0, {"Cookie": 30000}, 431),
        (0, {"Authorization": 16000}, 200),
        (0, {"Authorization": 17000}, 431),
        (0, {"X-Long": 60000}, 200),
        (0, {f"X-{number}": 1 for number in range(995)}, 200),
        (0, {f"X-{number}": 1 for number in range(1005)}, 431),
        (0, {f"X-{number}": 10 for number in range(500)}, 200),
        (7900, {"Cookie": 16000, "Authorization": 8000, "Referer": 8000}, 200),
    ],
)
def test_what_the_app_s_server_does_not_take_nginx_refuses(host, client, version, query, headers, status):
    sent = [word for name, size in headers.items() for word in ("-H", f"{name}: {'a' * size}")]
    answer = client.get(host.url("probe", f"/seen?{'a' * query}"), version, *sent)
    assert answer.status == status, answer.error
    if status != 200:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json["status"] == status


def test_headers_that_nginx_has_no_room_for_are_refused(host, client):
    """Four do not fit in the buffer. Over HTTP/2 nginx has no answer, and curl sends no more than it takes."""
    sent = [word for number in range(4) for word in ("-H", f"X-Long-{number}: {'a' * 20000}")]
    # nginx answers before it has read all; curl then fails to write the rest, every now and then before it reads.
    answers = [client.get(host.url("probe", "/seen"), "--http1.1", *sent) for _time in range(5)]
    read = [answer for answer in answers if answer.exit != CANNOT_SEND]
    assert read, answers[-1].error
    assert {(answer.status, answer.json["status"]) for answer in read} == {(431, 431)}


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_an_answer_with_many_cookies_comes_through(host, client, version):
    answer = client.get(host.url("probe", "/cookies/20/1024"), version)
    assert (answer.status, answer.body) == (200, '{"cookies":20}\n')
    assert client.get(host.url("probe", "/cookies/40/1024"), version).status == 502


def _statuses(client, url, count):
    """Statuses of requests sent as fast as one connection does, and the seconds that it took."""
    script = 'curl -s --cacert "$1" $(yes "$0 -o /dev/null" | head -n "$2") -w "%{http_code} %{time_total}\\n"'
    lines = [line.split() for line in client.shell(script, url, client.root, str(count)).splitlines()]
    return [status for status, _ in lines], sum(float(seconds) for _, seconds in lines)
