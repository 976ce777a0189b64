# SPDX-License-Identifier: GPL-3.0-or-later
"""uWSGI's options: which it takes, which are refused, and what becomes of what is written."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.build.inputs import BuildInputs
from ansible_collections.webops.wsgi.plugins.module_utils.build.requirements import lacks_server
from ansible_collections.webops.wsgi.plugins.module_utils.failures.faults import faults
from ansible_collections.webops.wsgi.plugins.module_utils.failures.report import Failure, report
from ansible_collections.webops.wsgi.plugins.module_utils.managers.model import Log
from ansible_collections.webops.wsgi.plugins.plugin_utils.checks.run import examine, lines
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import load_schema
from ansible_collections.webops.wsgi.plugins.plugin_utils.servers.model import server
from ansible_collections.webops.wsgi.plugins.plugin_utils.servers.uwsgi import options
from render import app, render

UWSGI = server("uwsgi")
STARTED = """[uWSGI] getting INI configuration from /srv/api/releases/3/etc/uwsgi.ini
running "unix_signal:15 _exit" (asap)...
*** Starting uWSGI 2.0.30 (64bit) on [Sat Nov 28 11:37:56 2026] ***
your processes number limit is 96365
uwsgi socket 0 bound to UNIX address /run/api/3/sock fd 3
spawned uWSGI master process (pid: 6254)
spawned uWSGI worker 1 (pid: 6263, cores: 8)
"""
BROKEN = """Traceback (most recent call last):
  File "/srv/api/releases/3/etc/application.py", line 132, in <module>
    application = Answers(behind_proxy.BehindProxy(entrypoint.load(ENTRYPOINT), sent_by_proxy, PATH))
  File "/srv/api/releases/3/etc/entrypoint.py", line 23, in load
    app = getattr(importlib.import_module(module), ast.unparse(expression.func if called else expression))
  File "/srv/api/builds/b/src/app.py", line 15, in <module>
    raise RuntimeError("broken on purpose")
RuntimeError: broken on purpose
unable to load app 0 (mountpoint='') (callable not found or import error)
*** no app loaded. GAME OVER ***
OOPS ! failed loading app in worker 1 (pid 6263)
Sat Nov 28 11:37:57 2026 - need-app requested, destroying the instance...
SIGINT/SIGTERM received...killing workers...
goodbye to uWSGI.
VACUUM: unix socket /run/api/3/sock removed.
"""
LATE = """Sat Nov 28 11:38:01 2026 - *** HARAKIRI ON WORKER 1 (pid: 6419, try: 1, graceful: yes) ***
Sat Nov 28 11:38:01 2026 - HARAKIRI !!! worker 1 status !!!
DAMN ! worker 1 (pid: 6419) died, killed by signal 9 :( trying respawn ...
Respawned uWSGI worker 1 (new pid: 6702)
"""


def problems(**entry: Any) -> list[str]:
    """What is wrong with an app under uWSGI."""
    source = {"git": "https://git.example.com/api.git", "version": "v1.0"}
    described = {
        "name": "api",
        "source": source,
        "entrypoint": "app:app",
        "domains": ["a.test"],
        "server": "uwsgi",
        **entry,
    }
    given = {"certbot_email": "ops@example.com", "certbot_agree_tos": True}
    return lines(examine(load_schema(), list(given), given, [described], ["/"]).problems)


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"uwsgi": {"protocol": "uwsgi", "workers": 4, "cheaper": 1, "extra": {"reload-on-rss": 512, "log-slow": 100}}},
        {"uwsgi": {"package": "uwsgi", "version": "2.0.29", "log_format": '%(method) "%(uri)" 100%'}},
        {"uwsgi": {"extra": {"static-map": ["/a=/b", "/c=/d"], "thunder-lock": False}}},
        {"uwsgi": {"protocol": "uwsgi"}, "listen": "127.0.0.1:9100", "nginx": {"request_buffering": False}},
    ],
)
def test_good_input(entry: dict[str, Any]) -> None:
    assert problems(**entry) == []


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"uwsgi": {"protocol": "fastcgi"}}, ['uwsgi.protocol is "fastcgi"', "http, uwsgi"]),
        ({"uwsgi": {"workers": "many"}}, ['uwsgi.workers is "many"', "or auto"]),
        ({"uwsgi": {"version": ">=2.0"}}, ["does not pin uwsgi", "2.0.30.post1"]),
        ({"uwsgi": {"workers": 4, "cheaper": 4}}, ["uwsgi.cheaper is 4, no less than uwsgi.workers (4)", "3 or less"]),
        ({"uwsgi": {"buffer_size": 70000}}, ["uwsgi.buffer_size is 70000", "65535 or less"]),
        ({"uwsgi": {"buffer_size": 8192}}, ["uwsgi.buffer_size is 8192, too small", "large_header_buffers", "65535"]),
        ({"uwsgi": {"harakiri": 500}}, ["uwsgi.harakiri is 500 s, longer than nginx_proxy_read_timeout"]),
        ({"uwsgi": {"extra": {"processes": 4}}}, ["has processes, which has a variable", "uwsgi: {workers: ...}"]),
        *(
            ({"uwsgi": {"extra": {name: "x"}}}, [f"has {name}, which the release sets itself", f"remove {name}"])
            for name in (
                "socket",
                "http",
                "http-socket",
                "master",
                "daemonize",
                "uid",
                "chdir",
                "pidfile",
                "wsgi-file",
                "ini",
            )
        ),
        (
            {"uwsgi": {"extra": {"reload_on_rss": 5}}},
            ['has "reload_on_rss", which is not an option', "write reload-on-rss"],
        ),
        ({"uwsgi": {"extra": {"log-prefix": "$(HOME)"}}}, ["has $( or @("]),
        ({"uwsgi": {"log_format": "@(/etc/passwd)"}}, ["uwsgi.log_format has $( or @("]),
        ({"uwsgi": {"log_format": "a\nb = c"}}, ["has a line break"]),
        ({"uwsgi": {"extra": {"log-prefix": {"a": 1}}}}, ["neither a string nor a number nor a boolean"]),
        ({"env": {"UWSGI_HTTP": ":80"}}, ["env.UWSGI_HTTP is given, which uWSGI takes for an option"]),
        ({"gunicorn": {"timeout": 5}}, ["gunicorn has settings, but the app's server is uwsgi"]),
        ({"interface": "asgi"}, ["interface is asgi", "uwsgi"]),
    ],
)
def test_bad_input(entry: dict[str, Any], words: list[str]) -> None:
    (problem,) = problems(**entry)
    for word in words:
        assert word in problem


def test_the_known_options_are_those_of_the_version_that_is_installed() -> None:
    told = subprocess.run([Path(sys.executable).with_name("uwsgi"), "--help"], capture_output=True, text=True)
    assert options() == set(re.findall(r"^ +(?:-.\|)?--([\w.-]+)", told.stdout, re.MULTILINE))


def test_a_value_means_itself() -> None:
    """uWSGI takes %d and the like of a file for its own variables."""
    described = app(
        "api", server="uwsgi", uwsgi={"log_format": "100%d %(uri)", "extra": {"log-prefix": "%n", "a": [1, True]}}
    )
    text = render("uwsgi", "uwsgi.ini.j2", app=described)
    assert "\nlog-format = 100%%d %%(uri)\n" in text
    assert "\nlog-prefix = %%n\n" in text
    assert "\na = 1\na = true\n" in text


def test_who_brings_either_package_keeps_it() -> None:
    inputs = BuildInputs(
        "api",
        {},
        "x",
        "3.13",
        "/usr/bin/python3.13",
        server="pyuwsgi==2.0.30.post1",
        server_packages=["pyuwsgi", "uwsgi"],
    )
    assert lacks_server(inputs, {"flask": "3"})
    assert not lacks_server(inputs, {"uwsgi": "2.0.29"})
    assert not lacks_server(inputs, {"pyuwsgi": "2.0.29"})


def test_the_traceback_of_an_app_that_cannot_be_imported_comes_first() -> None:
    told = report(
        Failure(
            "api",
            "state",
            "api@3.service exited unexpectedly",
            Log("api@3", STARTED + BROKEN, "journalctl"),
            "",
            UWSGI.log,
        )
    )
    assert told.startswith('app "api": RuntimeError: broken on purpose\n')
    assert "application.py" not in told
    assert "no app loaded" not in told
    assert "unable to load" not in told


def test_an_option_that_uwsgi_refuses_is_named() -> None:
    text = STARTED + "[strict-mode] unknown config directive: sokcet\n"
    told = report(
        Failure("api", "state", "api@3.service exited unexpectedly", Log("api@3", text, "journalctl"), "", UWSGI.log)
    )
    assert "unknown config directive: sokcet" in told.splitlines()[0]


def test_a_late_worker_is_told() -> None:
    (fault,) = faults(STARTED + LATE, UWSGI.log)
    assert (fault.text, fault.fix) == (
        "a worker exceeded the server's time limit for a request",
        "raise uwsgi_harakiri, or answer sooner",
    )
