"""What others have done to a host: it is served all the same, or it is refused before anything of it goes dark."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import pytest

LATER = str(Path(__file__).parents[1] / "later.ini")
HOLDER = """
import fcntl, sys
file = open("/var/lib/dpkg/lock-frontend", "w")
fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def long_url(host, client):
    """A URL of the app under its long name, and how curl gets there."""
    label = f"feature-{'x' * 50}.branch-{'y' * 40}.preview.eu-central-1"
    name = f"{label}.internal.{host.name}.example.test"
    options = [word for port in (80, 443) for word in ("--resolve", f"{name}:{port}:{host.ipv4}")]

    def ask(path: str, *more: str, scheme: str = "https"):
        return client.get(f"{scheme}://{name}{path}", "--insecure", *options, *more)

    return ask


def test_a_long_name_and_one_that_a_wildcard_stands_for_are_served(host, client, long_url):
    assert long_url("/").json["asked_to"] == "serve"
    name = "any.wild.example.test"
    answer = client.get(f"https://{name}/", "--insecure", "--resolve", f"{name}:443:{host.ipv4}")
    assert (answer.status, answer.json["release"]) == (200, host.release("names"))


def test_a_post_over_http_is_still_one_over_https(long_url):
    assert long_url("/", "--data", "x", scheme="http").status == 308
    assert long_url("/", "--data", "x", "--location", scheme="http").json["method"] == "POST"


def test_static_files_where_srv_is_a_link(host, long_url):
    assert host.run("readlink -f /srv") == ("/data/srv" if host.name == "d12" else "/srv")
    answer = long_url("/static/a.txt")
    assert (answer.status, answer.body) == (200, "of the release in service\n")


def test_the_encoding_of_an_app_is_not_the_host_s(host, long_url):
    if host.name == "d12":
        assert "ISO-8859-1" in host.run("systemctl show-environment")
    assert {name.lower() for name in long_url("/").json["encodings"]} == {"utf-8"}


def test_pip_conf_of_the_host_is_for_its_people(hosts):
    host = next(host for host in hosts if host.name == "d12")
    assert "require-virtualenv" in host.run("cat /etc/pip.conf")
    assert host.run("ls /opt/wsgi").startswith("uv-"), "uv was not installed by the role"
    assert host.try_("ls /srv/names/current/app/venv/lib/*/site-packages/markupsafe").returncode == 0


def test_a_host_that_gets_out_by_a_proxy_alone_has_its_packages(hosts, client):
    host = next(host for host in hosts if host.name == "d13")
    asked = client.shell("cat /root/proxy.log").splitlines()
    assert asked, "the proxy was not asked"
    name = asked[0].partition(":")[0]
    assert host.try_(f"getent hosts {name}").returncode != 0, "there is another way out"
    assert host.try_("ls /srv/names/current/app/venv/lib/*/site-packages/markupsafe").returncode == 0


def test_a_run_says_what_it_waits_for_when_apt_is_held(hosts, command, apps):
    host = next(host for host in hosts if host.name == "d12")
    holder = subprocess.Popen(
        ["docker", "exec", "-i", host.container, "python3", "-c", HOLDER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout.readline() == "held\n"
    wanted = [{**apps["names"], "system_packages": ["ed"]}]
    run = subprocess.Popen(
        command("--limit", host.name, wsgi_apps=wanted),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    hang = threading.Timer(600, run.kill)
    hang.start()
    lines = []
    for line in run.stdout:
        lines.append(line)
        if "keeps apt from installing packages" in line and holder.poll() is None:
            holder.communicate()
    hang.cancel()
    holder.communicate()
    assert run.wait() == 0, "".join(lines)
    assert any("python3 (process " in line and "the run waits for it" in line for line in lines), "".join(lines)
    assert host.try_("test -x /usr/bin/ed || test -x /bin/ed").returncode == 0


def test_what_nginx_conf_itself_serves_is_not_taken_off_the_air(hosts, play, client):
    """Of a host that would lose something nothing is touched, and it is served once that is moved.

    Check mode says what would be done there without python3-apt, which Ansible's own module cannot do without.
    """
    host = next(host for host in hosts if host.name == "e13")
    inline = ["--resolve", f"inline.example.test:80:{host.ipv4}"]
    alone = ("-i", LATER, "--limit", host.name)
    run = play(*alone)
    assert run.code != 0
    for words in ("nginx serves what was written into /etc/nginx/nginx.conf", "move these server blocks"):
        assert words in run.output, run.output[-3000:]
    assert client.get("http://inline.example.test/", *inline).body == "inline"
    assert host.try_("test -e /srv/names").returncode != 0
    host.run("sed -i '/inline.example.test/d' /etc/nginx/nginx.conf && systemctl reload nginx")
    assert host.try_("python3 -c 'import apt'").returncode != 0
    said = play(*alone, "--check")
    assert said.code == 0, said.output
    assert "Would install python3-apt" in said.output
    run = play("-i", LATER)
    assert run.code == 0, run.output
    assert client.get(host.url("some", scheme="http")).json["release"] == "1"
