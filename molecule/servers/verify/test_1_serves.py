"""What an app is told and how it is confined, whichever server runs it."""

from __future__ import annotations

import json
import re
import subprocess
import time

import pytest
from testbed import labs

EXPOSURE_LIMIT = 1.5  # of `systemd-analyze security`: 0 is best, 10 worst
FORGED = {
    "X-Forwarded-For": "192.0.2.99",
    "X-Forwarded-Proto": "http",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Port": "99",
    "X-Forwarded-Prefix": "/evil",
    "X-Real-IP": "192.0.2.99",
    "Forwarded": "for=192.0.2.99;proto=http",
    "Script-Name": "/evil",
    "Script_Name": "/evil",
    "X-Script-Name": "/evil",
    "Remote-Addr": "192.0.2.99",
    "Path-Info": "/evil",
}
CLAIMED = set(FORGED.values()) - {"http"}


def test_an_app_sees_its_client_and_itself(host, client, ask, name):
    told = ask(host, name, "/seen?a=b%20c", "-4", "-H", "X-Request-ID: trace-0123456789").json
    assert told["REMOTE_ADDR"] == client.ipv4
    assert told["wsgi.url_scheme"] == "https"
    assert (told["SCRIPT_NAME"], told["PATH_INFO"], told["QUERY_STRING"]) == (f"/{name}", "/seen", "a=b%20c")
    assert told["HTTP_HOST"] == told["HTTP_X_FORWARDED_HOST"] == host.domain("front")
    assert told["HTTP_X_REQUEST_ID"] == "trace-0123456789"


def test_what_a_client_claims_is_worth_nothing(host, client, ask, name):
    sent = [word for header, value in FORGED.items() for word in ("-H", f"{header}: {value}")]
    told = ask(host, name, "/seen", "-4", *sent).json
    assert (told["REMOTE_ADDR"], told["wsgi.url_scheme"], told["SCRIPT_NAME"]) == (client.ipv4, "https", f"/{name}")
    assert (told["HTTP_X_FORWARDED_FOR"], told["HTTP_X_REAL_IP"]) == (client.ipv4, client.ipv4)
    assert told["HTTP_X_FORWARDED_PROTO"] == "https"
    harmless = {"HTTP_X_SCRIPT_NAME", "HTTP_REMOTE_ADDR", "HTTP_PATH_INFO", "HTTP_SCRIPT_NAME"}  # nobody reads them
    assert not [header for header, value in told.items() if value in CLAIMED and header not in harmless]


def test_the_access_log_is_the_same(host, client, ask, name):
    """nginx writes it, whatever a server would call things."""
    told = f"log-{time.time_ns()}"
    assert ask(host, name, "/seen?a=1", "-4", "-H", f"X-Request-ID: {told}").status == 200
    look = f"grep -F {told} /var/log/nginx/{name}.access.log"
    labs.wait_for(lambda: host.try_(look).returncode == 0, "the line in the log")
    line = json.loads(host.run(look))
    assert (line["http.request.id"], line["client.ip"]) == (told, client.ipv4)
    assert (line["http.request.method"], line["http.response.status_code"]) == ("GET", 200)
    assert line["url.original"] == f"/{name}/seen?a=1"
    assert float(line["nginx.upstream.time"]) >= 0


def test_static_files_are_nginx_s(host, ask, name):
    answer = ask(host, name, "/static/style.css")
    assert (answer.status, answer.body.strip()) == (200, "body { color: #123 }")
    assert answer.headers["content-type"].startswith("text/css")


def test_nothing_but_nginx_and_ssh_listens_on_tcp(host):
    listening = host.run("ss --listening --tcp --numeric --processes --no-header")
    programs = set(re.findall(r'users:\(\("([^"]+)"', listening))
    assert programs <= {"nginx", "sshd", "systemd"}, listening


def test_every_process_is_the_app_s_user_s(host, name):
    instance = host.instance(name)
    if host.supervised:
        listed = f"ps -o user:32=,args= -p $(pgrep -d , -g $(supervisorctl pid {instance}))"
    else:
        listed = f"ps -eo user:32=,cgroup:200=,args= | grep -F '/{instance}' | grep -v grep"
    processes = host.run(listed).splitlines()
    assert {line.split()[0] for line in processes} == {name}, processes


def test_the_sandbox_is_tight(host, name):
    if host.supervised:  # it has none; see roles/release/README.md
        status = host.run(f"cat /proc/$(supervisorctl pid {host.instance(name)})/status")
        assert {"NoNewPrivs:\t1", "CapBnd:\t0000000000000000", "Umask:\t0077"} <= set(status.splitlines()), status
        return
    report = host.run(f"systemd-analyze security --no-pager {host.instance(name)} | tail -n 1")
    assert float(report.split(":")[1].split()[0]) <= EXPOSURE_LIMIT, report


@pytest.mark.parametrize("size", [200, 60_000])
def test_long_headers_reach_the_app(host, ask, name, size):
    told = ask(host, name, "/seen", "-H", f"X-Long: {'x' * size}").json
    assert told["HTTP_X_LONG"] == "x" * size


def test_all_serve_again_after_a_reboot(hosts, ask, name):
    """One restart of each host for all servers."""
    for host in hosts:
        if host.try_("test -e /run/restarted").returncode:
            subprocess.run(["docker", "restart", host.container], check=True, capture_output=True)
            labs.wait_booted(host.container)
            host.run("touch /run/restarted")
        labs.wait_for(lambda host=host: ask(host, name).status == 200, f"an answer of {name} on {host.name}")
