"""The ways in: names, protocols, and proxies in front."""

from __future__ import annotations

import json
import re
import time

import pytest
from testbed import labs

HERE = "curl -sk --resolve {domain}:443:127.0.0.1"


def test_other_names_redirect_to_one(host, client):
    answer = client.get(host.url("second", "/a?b=c"), "-X", "POST", "--data", "x")
    assert answer.status == 308
    assert answer.headers["location"] == host.url("probe", "/a?b=c")
    plain = client.get(host.url("second", "/a?b=c", scheme="http"))
    assert plain.headers["location"] == host.url("probe", "/a?b=c")
    assert "strict-transport-security" in answer.headers


def test_http3_where_nginx_has_it(host, client):
    answer = client.get(host.url("probe"))
    if host.name == "d12":
        assert "alt-svc" not in answer.headers
        return
    assert answer.headers["alt-svc"] == 'h3=":443"; ma=86400'
    quic = client.get(host.url("probe", "/seen"), "--http3-only")
    assert (quic.version, quic.status) == ("3", 200), f"no HTTP/3: {quic.error}"
    assert quic.json["headers"]["Host"] == host.domain("probe")
    unknown = client.get(
        "https://unknown.example.test/", "--http3-only", "--connect-to", f"::{host.domain('probe')}:443"
    )
    assert unknown.exit != 0, "an unknown name got an answer over HTTP/3"


@pytest.mark.parametrize(
    ("forwarded", "client_seen"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("198.51.100.9, 203.0.113.7", "203.0.113.7"),
        ("203.0.113.7, 127.0.0.1", "203.0.113.7"),
    ],
)
def test_a_trusted_proxy_names_the_client(host, forwarded, client_seen):
    ask = HERE.format(domain=host.domain("probe"))
    told = host.run(
        f"{ask} -H 'X-Forwarded-For: {forwarded}' -H 'X-Forwarded-Proto: http' {host.url('probe', '/seen')}"
    )
    assert f'"X-Forwarded-For":"{client_seen}"' in told
    assert '"X-Forwarded-Proto":"http"' in told
    assert f'"client":"{client_seen}"' in told
    assert '"scheme":"http"' in told


def test_a_limit_is_of_the_client_and_not_of_the_proxy_in_front(host):
    ask = HERE.format(domain=host.domain("probe")) + " -o /dev/null -w '%{http_code} '"
    url = host.url("probe", "/api/keyed/x")
    one, other = (f"-H 'X-Forwarded-For: 198.51.100.{number}'" for number in (1, 2))
    assert host.run(f"{ask} {one} {url}; {ask} {one} {url}; {ask} {other} {url}").split() == ["200", "429", "200"]


def test_nginx_counts_for_the_host_itself_alone(host, client):
    ask = "curl -s -H 'Host: generation.wsgi.internal' http://127.0.0.1/status"
    assert "Active connections" in host.run(ask)
    assert client.get(f"http://{host.ipv4}/status", "-H", "Host: generation.wsgi.internal").status == 0


def test_prometheus_gets_numbers(host, client):
    told = host.run("curl -s http://127.0.0.1:9113/metrics")
    requests = re.search(r"^nginx_http_requests_total (\S+)$", told, re.MULTILINE)
    assert requests, told[:500]
    assert float(requests[1]) > 0
    assert client.get(f"http://{host.ipv4}:9113/metrics").exit != 0, "anybody may ask the exporter"


@pytest.fixture(scope="module")
def behind(hosts, client, play_once):
    """A host behind a proxy that speaks the PROXY protocol, an app for unknown names, a sampled log; and back."""
    (host,) = [host for host in hosts if host.name == "d13"]
    settings = {
        "nginx_proxy_proxy_protocol": True,
        "nginx_proxy_trusted_proxies": [f"{client.ipv4}/32"],
        "nginx_proxy_default_app": "probe",
        "nginx_proxy_access_log_sample": 0.1,
    }
    run = play_once("--limit", host.name, **settings)
    assert run.code == 0, run.output
    yield host
    back = play_once()  # also what the tests of deployments and of a path that changes have left
    assert back.code == 0, back.output
    assert client.get(host.url("probe")).status == 200
    assert client.get(host.url("probe", "/below/healthz")).status == 200
    assert client.get(f"http://{host.ipv4}/").exit != 0


def test_proxy_protocol(behind, client):
    """From a proxy that speaks it, the client's address comes with the connection; without it there is no answer."""
    spoken = client.get(behind.url("probe", "/seen"), "-4", "--haproxy-clientip", "203.0.113.8")
    assert spoken.json["headers"]["X-Forwarded-For"] == "203.0.113.8"
    assert client.get(behind.url("probe"), "-4").exit != 0


def test_a_default_app_answers_under_unknown_names(behind, client):
    proxied = ["--haproxy-clientip", "203.0.113.8"]
    by_address = client.get(f"http://{behind.ipv4}/seen", *proxied)
    assert by_address.json["headers"]["Host"] == behind.ipv4
    assert client.get(f"http://{behind.ipv4}/below/", *proxied).json["app"] == "below"
    secure = client.get("https://unknown.example.test/", *proxied, "-k", "--connect-to", f"::{behind.ipv4}:443")
    assert secure.json["app"] == "probe"
    known = client.get(behind.url("probe", "/", scheme="http"), "-4", *proxied)
    assert (known.status, known.headers["location"]) == (308, behind.url("probe"))


def test_a_sample_of_the_log_has_every_error(behind, client):
    mark = str(time.time_ns())
    ask = 'curl -s -4 --cacert "$1" --haproxy-clientip 203.0.113.8 -o /dev/null'
    asked = [behind.url("probe", f"/status/[{statuses}]?{mark}") for statuses in ("200-398:2", "400-419")]
    client.shell(f'{ask} "$0"; {ask} "$2"', asked[0], client.root, asked[1])
    log = "/var/log/nginx/probe.access.log"
    counted = f"""grep {mark} {log} | grep -c '"http.response.status_code":4' || true"""
    labs.wait_for(lambda: behind.run(counted) == "20", "a line of every error in the log")
    lines = [json.loads(line) for line in behind.run(f"grep {mark} {log}").splitlines()]
    errors = [line for line in lines if line["http.response.status_code"] >= 400]
    assert len(errors) == 20
    # Of 100, a share of 0.1; outside 1 to 29 once in 30,000 runs.
    assert 1 <= len(lines) - len(errors) <= 29
