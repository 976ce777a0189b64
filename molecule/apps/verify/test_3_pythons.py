"""A Python that Debian does not have: uv installs it, an app runs in it, a patch release of it is another one."""

from __future__ import annotations

import hashlib
import json
import subprocess

import pytest

VERSION = "3.11"  # Debian 12's own, which Debian 13 lacks: it stands for a build of python-build-standalone
PORT = 8097
MIRROR = f"http://127.0.0.1:{PORT}"
FOLDER = "/opt/wsgi/pythons"
APP = {
    "name": "older",
    "source": {"package": "httpbin", "version": "0.10.4"},
    "entrypoint": "httpbin:app",
    "domains": ["older.example.test"],
    "listen": "127.0.0.1:8098",
    "python": {"version": VERSION},
    "release": {"keep": 1},
}


@pytest.fixture(scope="module")
def d12(hosts):
    return next(host for host in hosts if host.name == "d12")


@pytest.fixture(scope="module")
def d13(hosts, d12):
    """A host with a mirror of two patch versions, in the layout of the real one, and what uv is to know of them."""
    host = next(host for host in hosts if host.name == "d13")
    packed = subprocess.run(
        ["docker", "exec", d12.container, "sh", "-c", _pack()], check=True, capture_output=True
    ).stdout
    host.run("mkdir -p /opt/mirror/20990101 /etc/uv")
    _write(host, "/opt/mirror/20990101/python.tar.gz", packed)
    host.run(
        f"systemd-run --quiet --unit=mirror python3 -m http.server --bind 127.0.0.1 --directory /opt/mirror {PORT}"
    )
    _know(host, 1, hashlib.sha256(packed).hexdigest())
    yield host
    host.run("systemctl stop mirror; rm -r /opt/mirror /etc/uv")


@pytest.mark.usefixtures("d13")
def test_a_mirror_that_cannot_be_reached_is_the_app_s_failure_and_named(play):
    run = _deploy(play, python_app_python_mirror="http://127.0.0.1:1")
    assert run.code != 0
    for words in (
        f'app "older": python.version is "{VERSION}", which this host does not have and uv could not install: ',
        "http://127.0.0.1:1/20990101/python.tar.gz",
        "Set python_app_python_mirror to a mirror",
    ):
        assert words in run.output, run.output


def test_check_mode_says_what_would_be_installed(d13, play):
    run = _deploy(play, "--check", "--diff")
    assert run.code == 0, run.output[-3000:]
    assert f"+Python {VERSION}: {FOLDER}/{VERSION}" in run.output
    assert d13.try_(f"ls -d {FOLDER}/cpython-*").returncode != 0


def test_the_app_runs_in_the_python_that_the_host_lacked(d13, play):
    run = _deploy(play)
    assert run.code == 0, run.output[-3000:]
    assert _serving_python(d13) == f"{FOLDER}/cpython-3.11.1-linux-x86_64-gnu/bin/python3.11"
    assert json.loads(d13.run("curl -sf http://127.0.0.1:8098/get?x=1"))["args"] == {"x": "1"}
    assert d13.run(f"find {FOLDER} ! -uid 0 -o -perm /022 ! -type l") == ""
    assert _deploy(play).changed == []


def test_a_later_uv_brings_the_patch_release_and_the_one_before_goes_with_its_last_build(d13, play):
    """What a raised python_app_uv_version does: what is there is an earlier uv's."""
    d13.run(f"cd {FOLDER} && mv {VERSION}-by-uv-* {VERSION}-by-uv-0.0.1 && touch -d yesterday cpython-3.11.1-*")
    _know(d13, 2, hashlib.sha256(_read(d13, "/opt/mirror/20990101/python.tar.gz")).hexdigest())
    before = d13.release("older")
    run = _deploy(play)
    assert run.code == 0, run.output[-3000:]
    assert d13.release("older") != before
    assert "cpython-3.11.2-" in _serving_python(d13)
    assert d13.run(f"ls {FOLDER}").split() == [
        f"{VERSION}-by-uv-0.13.9",
        "cpython-3.11-linux-x86_64-gnu",
        "cpython-3.11.2-linux-x86_64-gnu",
    ]


def _deploy(play, *options, **variables):
    asked = {"python_app_python_mirror": MIRROR, "wsgi_apps": [APP], **variables}
    return play("--limit", "d13", *options, playbook="deploy", **asked)


def _serving_python(host):
    return host.run("readlink -f /srv/older/current/app/venv/bin/python")


def _pack():
    """Debian's interpreter as a build of python-build-standalone lies in its archive."""
    return (
        "cd /usr && tar c --dereference --transform 's,^,python/,' --exclude=__pycache__ --exclude='*/test/*' "
        f"--exclude='sitecustomize.py' bin/python{VERSION} lib/python{VERSION} | gzip -1"
    )


def _know(host, patch, digest):
    """Have uv know one patch version, by the address that the mirror stands for."""
    known = {
        "name": "cpython", "arch": {"family": "x86_64", "variant": None}, "os": "linux", "libc": "gnu",
        "major": 3, "minor": 11, "patch": patch, "prerelease": "", "variant": None, "build": "20990101",
        "url": "https://github.com/astral-sh/python-build-standalone/releases/download/20990101/python.tar.gz",
        "sha256": digest,
    }  # fmt: skip
    _write(host, "/etc/uv/pythons.json", json.dumps({f"cpython-3.11.{patch}-linux-x86_64-gnu": known}).encode())
    _write(host, "/etc/uv/uv.toml", b'python-downloads-json-url = "/etc/uv/pythons.json"\n')


def _write(host, path, content):
    subprocess.run(["docker", "exec", "-i", host.container, "sh", "-c", f"cat >{path}"], input=content, check=True)


def _read(host, path):
    return subprocess.run(["docker", "exec", host.container, "cat", path], check=True, capture_output=True).stdout
