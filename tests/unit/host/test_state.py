# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a state: packages, interpreters, ports and what rules a host out."""

from __future__ import annotations

import grp
import hashlib
import os
import pwd
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.host import marks, state

TRIXIE = {"ID": "debian", "VERSION_ID": "13", "PRETTY_NAME": "Debian GNU/Linux 13 (trixie)"}


def test_os_release_with_and_without_quotes() -> None:
    assert state.os_release('ID=debian\nVERSION_ID="13"\n') == {"ID": "debian", "VERSION_ID": "13"}


def test_only_installed_packages_count() -> None:
    status = (
        "Package: nginx\nStatus: install ok installed\nVersion: 1\n\n"
        "Package: certbot\nStatus: deinstall ok config-files\nVersion: 1\n\n"
        "Package: nginx-common\nStatus: install ok installed\nVersion: 1\n"
    )
    assert state.missing_packages(status, ["nginx", "certbot", "uv"]) == ["certbot", "uv"]


def test_a_package_that_another_one_provides_is_not_missing() -> None:
    status = "Package: mawk\nStatus: install ok installed\nProvides: awk, posix-awk (= 1)\nVersion: 1\n\n"
    assert state.missing_packages(status, ["awk", "posix-awk", "gawk"]) == ["gawk"]


LOCKED = """
import fcntl, sys
file = open(sys.argv[1], "rb+")
fcntl.lockf(file, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


def test_who_keeps_apt_from_installing_is_named(tmp_path: Path) -> None:
    assert state.holder_of_apt(tmp_path) == ""
    lock = tmp_path / "dpkg/lock"
    lock.parent.mkdir()
    lock.touch()
    assert state.holder_of_apt(tmp_path) == ""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", LOCKED, str(lock)], stdin=pipe, stdout=pipe) as holder:
        assert holder.stdin
        assert holder.stdout
        holder.stdout.readline()
        found = state.holder_of_apt(tmp_path)
        holder.stdin.close()
    assert found.startswith("python")
    assert found.endswith(f"(process {holder.pid})")


def test_interpreters_by_version(tmp_path: Path) -> None:
    for name in ("python3.11", "python3.13", "python3.13-config", "python3"):
        (tmp_path / name).touch(0o755)
    assert state.interpreters([tmp_path]) == {"3.11": f"{tmp_path}/python3.11", "3.13": f"{tmp_path}/python3.13"}


def test_default_python_follows_the_link(tmp_path: Path) -> None:
    (tmp_path / "python3.13").touch()
    (tmp_path / "python3").symlink_to("python3.13")
    assert state.default_python(tmp_path / "python3") == "3.13"


def test_listener_is_named_by_its_program() -> None:
    with socket.socket() as taken, socket.socket() as free:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        free.bind(("127.0.0.1", 0))
        port, other = taken.getsockname()[1], free.getsockname()[1]
        found = state.listeners([port, other])
    assert found[str(port)].startswith(("python", "pytest"))
    assert found[str(other)] == ""


@pytest.mark.parametrize(
    ("release", "python", "held", "expected"),
    [
        (TRIXIE, "3.13", {"80": "", "443": "nginx"}, []),
        (
            {"ID": "debian", "VERSION_ID": "11", "PRETTY_NAME": "Debian 11"},
            "3.11",
            {},
            ["Debian 11", "Debian 12 and 13"],
        ),
        ({"ID": "ubuntu", "VERSION_ID": "24.04"}, "3.12", {}, ["ubuntu 24.04"]),
        (TRIXIE, "3.9", {}, ["python3 is 3.9", "3.11 or newer"]),
        (TRIXIE, "3.13", {"80": "apache2"}, ["port 80 is taken by apache2", "stop and disable"]),
    ],
)
def test_host_that_cannot_serve(
    release: dict[str, str], python: str, held: dict[str, str], expected: list[str]
) -> None:
    found = "\n".join(state.problems(release, python, held))
    assert bool(found) == bool(expected)
    for words in expected:
        assert words in found


def test_managed_apps_are_those_with_releases(tmp_path: Path) -> None:
    (tmp_path / "api/releases/3").mkdir(parents=True)
    (tmp_path / "half/releases").mkdir(parents=True)
    (tmp_path / "ftp").mkdir()
    assert state.managed_apps(tmp_path) == ["api", "half"]


def test_version_of_a_missing_program_is_empty() -> None:
    assert state.program_version(["/nonexistent/nginx", "-v"], r"(\d+)") == ""


def test_nothing_is_foreign_on_a_fresh_host(tmp_path: Path) -> None:
    assert state.foreign("no-such-user", tmp_path / "srv", tmp_path / "lib", tmp_path / "units") == []


def test_what_bears_the_name_without_being_the_apps_is_named(tmp_path: Path) -> None:
    name = pwd.getpwuid(os.getuid()).pw_name
    (tmp_path / "srv" / name / "documents").mkdir(parents=True)
    (tmp_path / "units").mkdir()
    (tmp_path / "units" / f"{name}.target").write_text("[Unit]\n")
    found = state.foreign(name, tmp_path / "srv", tmp_path / "lib", tmp_path / "units")
    assert len(found) == 3
    for words, problem in zip(
        (f"the user {name} with home", f"the directory {tmp_path}", "the unit"), found, strict=True
    ):
        assert problem.startswith(f'app "{name}": the host has {words}')
        assert problem.endswith("rename the app or move that")


def test_what_the_app_has_made_is_its_own(tmp_path: Path) -> None:
    (tmp_path / "srv/api/builds").mkdir(parents=True)
    (tmp_path / "units").mkdir()
    (tmp_path / "units/api.target").write_text(f"# Everything of api, {marks.UNIT_MARK}\n")
    assert state.foreign("api", tmp_path / "srv", tmp_path / "lib", tmp_path / "units") == []


def test_data_of_another_user_is_foreign_and_of_a_removed_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "lib/api").mkdir(parents=True)
    (found,) = state.foreign("api", tmp_path / "srv", tmp_path / "lib", tmp_path / "units")
    assert f"{tmp_path}/lib/api of the user {pwd.getpwuid(os.getuid()).pw_name}" in found
    if os.getuid() == 0:
        os.chown(tmp_path / "lib/api", 54321, 54321)
        assert state.foreign("api", tmp_path / "srv", tmp_path / "lib", tmp_path / "units") == []


def test_data_kept_of_a_removed_app_is_its_own(tmp_path: Path) -> None:
    (tmp_path / "lib/api").mkdir(parents=True)
    (tmp_path / "lib/api" / marks.KEPT).touch()
    assert state.foreign("api", tmp_path / "srv", tmp_path / "lib", tmp_path / "units") == []


def test_user_of_a_package_is_foreign_wherever_its_home_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    munin = pwd.struct_passwd(("munin", "x", 990, 990, "Munin", f"{tmp_path}/lib/munin", "/bin/bash"))
    ours = pwd.struct_passwd(("munin", "x", 990, 990, marks.USER_MARK, f"{tmp_path}/lib/munin", "/usr/sbin/nologin"))
    folders = (tmp_path / "srv", tmp_path / "lib", tmp_path / "units")
    monkeypatch.setattr(state, "_user", lambda _name: munin)
    assert "the user munin" in state.foreign("munin", *folders)[0]
    monkeypatch.setattr(state, "_user", lambda _name: ours)
    assert state.foreign("munin", *folders) == []


def test_a_group_of_the_app_s_name_is_foreign(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its members would get to read what the app's group may."""
    folders = tmp_path / "srv", tmp_path / "lib", tmp_path / "units"
    monkeypatch.setattr(state.grp, "getgrnam", lambda name: grp.struct_group((name, "x", 1500, ["ann"])))
    (problem,) = state.foreign("api", *folders)
    assert problem.startswith('app "api": the host has the group api')
    own = pwd.struct_passwd(("api", "x", 999, 999, f"{marks.USER_MARK} api", "/var/lib/api", "/bin/false"))
    monkeypatch.setattr(state.pwd, "getpwnam", lambda _name: own)
    assert state.foreign("api", *folders) == []


SHIPPED_MAIN = """\
user www-data;
include {nginx}/modules-enabled/*.conf;
http {{
    # server {{ listen 80; }}
    include {nginx}/conf.d/*.conf;
    include sites-enabled/*;
}}
#mail {{
#    server {{
"""


@pytest.fixture
def shipped(tmp_path: Path) -> tuple[Path, Path]:
    """nginx's files as Debian ships them, and dpkg's notes of them."""
    nginx, status = tmp_path / "nginx", tmp_path / "status"
    files = {
        "nginx.conf": SHIPPED_MAIN.format(nginx=nginx),
        "sites-available/default": "server { listen 80 default_server; }\n",
    }
    for name, text in files.items():
        (nginx / name).parent.mkdir(parents=True, exist_ok=True)
        (nginx / name).write_text(text)
    noted = [
        f" {nginx / name} {hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()}"
        for name, text in files.items()
    ]
    status.write_text("Package: nginx-common\nConffiles:\n" + "\n".join(noted) + "\nDescription: nginx\n")
    for name in ("sites-enabled", "modules-enabled", "conf.d"):
        (nginx / name).mkdir()
    (nginx / "sites-enabled/default").symlink_to(nginx / "sites-available/default")
    (nginx / "modules-enabled/90-own.conf").write_text("stream { server { listen 5432; } }")
    return nginx, status


def test_nginx_as_debian_ships_it_serves_nothing_of_a_person_s(shipped: tuple[Path, Path]) -> None:
    assert state.foreign_sites(*shipped) == []
    with (shipped[0] / "nginx.conf").open("a") as main:
        main.write("worker_rlimit_nofile 4096;\n")
    assert state.foreign_sites(*shipped) == []


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("nginx.conf", "stream { server { listen 5432; proxy_pass 127.0.0.1:5433; } }\n"),
        ("nginx.conf", "http {\n\tserver\n\t{ listen 80; } }\n"),
        ("sites-available/default", "server { listen 80; server_name shop.example.com; }\n"),
        ("streams/db.conf", "server { listen 5432; }\n"),
    ],
)
def test_what_a_person_wrote_into_nginx_s_own_files_would_go_dark(
    shipped: tuple[Path, Path], file: str, text: str
) -> None:
    nginx, status = shipped
    (nginx / file).parent.mkdir(exist_ok=True)
    with (nginx / file).open("a") as changed:
        changed.write(text)
    if file.startswith("streams/"):
        with (nginx / "nginx.conf").open("a") as main:
            main.write("stream { include streams/*.conf; }\n")
    shown = "sites-enabled/default" if file.startswith("sites-") else file
    (problem,) = state.foreign_sites(nginx, status)
    assert problem.startswith(f"nginx serves what was written into {nginx}/{shown}, and would not any more")


def test_sites_that_would_go_dark_are_named(tmp_path: Path) -> None:
    for name in ("sites-enabled/default", "sites-enabled/legacy", "conf.d/shop.conf", "conf.d/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (problem,) = state.foreign_sites(tmp_path)
    assert f"{tmp_path}/sites-enabled/legacy, {tmp_path}/conf.d/shop.conf, and would not any more" in problem
    (tmp_path / "wsgi").symlink_to("wsgi.d/1")
    assert state.foreign_sites(tmp_path) == []


def test_an_address_that_the_inventory_gives_to_the_host_is_one_of_its_own() -> None:
    assert state.foreign_address("") == state.foreign_address("127.0.0.1") == []
    (text,) = state.foreign_address("192.0.2.7")
    assert "balancer_address is 192.0.2.7" in text
    assert "`ip address`" in text


def test_sites_that_apps_take_over_from_are_given_up(tmp_path: Path) -> None:
    files = {
        "sites-enabled/shop": "server { listen 80; server_name shop.example.com; }",
        "sites-enabled/both": "server { listen 80; server_name shop.example.com old.example.com; }",
        "conf.d/gzip.conf": "gzip on;",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    given_up = {"names": ["shop.example.com"], "places": []}
    (problem,) = state.foreign_sites(tmp_path, given_up=given_up)
    assert problem.startswith(f"nginx serves old.example.com by {tmp_path}/sites-enabled/both, and would not any more")
    (tmp_path / "sites-enabled/both").unlink()
    assert state.foreign_sites(tmp_path, given_up=given_up) == []
    assert state.foreign_sites(tmp_path, given_up={"names": [], "places": []})
