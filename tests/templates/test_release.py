"""The units of an app: what systemd reads of every template of the role release."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.webops.wsgi.plugins.action.app_release import Units, processes
from render import app, renderer

BACKGROUND = {
    "workers": [
        {"name": "celery", "command": "celery -A app worker", "replicas": 1, "stop_timeout": 60},
        {"name": "rq", "command": "rq worker $WSGI_REPLICA", "replicas": 2, "stop_timeout": 5},
    ],
    "timers": [
        {"name": "tidy", "command": "flask tidy && true", "on_calendar": "daily", "random_delay": 9, "timeout": 60}
    ],
}


def units(**overrides: Any) -> dict[str, Any]:
    """The texts of an app as the module gets them."""
    made = app(**overrides)
    return Units(renderer("release"), [made]).of(made)


def sections(text: str) -> dict[str, dict[str, list[str]]]:
    """A unit's settings by section; fails on a line that is none."""
    found: dict[str, dict[str, list[str]]] = {}
    section = ""
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            name, separator, value = line.partition("=")
            assert separator, f"no setting: {line!r}"
            found.setdefault(section, {}).setdefault(name, []).append(value)
    return found


def test_server_unit_has_its_surroundings_and_its_socket() -> None:
    service = sections(units()["files"]["api@.service"])["Service"]
    assert service["User"] == ["api"]
    assert "WSGI_SOCKET=/run/api/%i.sock" in service["Environment"]
    assert service["EnvironmentFile"] == ["/srv/api/releases/%i/etc/environment"]


def test_everything_of_an_app_is_in_the_same_sandbox() -> None:
    made = units(
        **BACKGROUND, release={"before_activate": "flask db upgrade", "memory_max": "1G"}, credentials={"k": "x"}
    )
    server = sections(made["settings"])["Service"]
    beside = [sections(unit["text"])["Service"] for unit in made["units"] if unit["kind"] != "timer"]
    assert len(beside) == 5
    for service in beside:
        for name, value in server.items():
            if name not in ("TimeoutStartSec", "TimeoutStopSec", "RestartSec", "RestartSteps", "RestartMaxDelaySec"):
                assert service[name] == value
        assert service["LoadCredential"] == ["k:/srv/api/releases/%i/credentials/k"]


def test_units_and_commands_of_workers_timers_and_hooks() -> None:
    made = units(**BACKGROUND, release={"after_activate": "flask warm"})
    assert {unit["name"]: unit["kind"] for unit in made["units"]} == {
        "api.celery@.service": "worker",
        "api.rq.1@.service": "worker",
        "api.rq.2@.service": "worker",
        "api.tidy@.service": "job",
        "api.tidy@.timer": "timer",
        "api.after-activate@.service": "hook",
    }
    texts = {unit["name"]: sections(unit["text"]) for unit in made["units"]}
    assert texts["api.rq.2@.service"]["Service"]["ExecStart"] == ["/srv/api/releases/%i/commands/rq"]
    assert "WSGI_REPLICA=2" in texts["api.rq.2@.service"]["Service"]["Environment"]
    assert texts["api.celery@.service"]["Service"]["TimeoutStopSec"] == ["60"]
    assert texts["api.tidy@.timer"]["Timer"]["OnCalendar"] == ["daily"]
    assert texts["api.tidy@.service"]["Service"]["Type"] == ["oneshot"]
    assert made["commands"]["celery"] == "#!/bin/sh\nset -e\nexec celery -A app worker\n"
    assert made["commands"]["tidy"] == "#!/bin/sh\nset -e\nflask tidy && true\n"


def test_an_address_has_a_socket_and_what_hands_on() -> None:
    made = units(listen="127.0.0.1:8000")["files"]
    assert sections(made["api.listen.socket"])["Socket"]["ListenStream"] == ["127.0.0.1:8000"]
    assert sections(made["api.listen.service"])["Service"]["ExecStart"][0].endswith(" /run/api/current.sock")
    assert set(units()["files"]) == {"api@.service", "api.target"}


@pytest.mark.parametrize("release", ["12", "13"])
def test_growing_pauses_where_systemd_has_them(release: str) -> None:
    made = app()
    host = {"release": release}
    text = Units(renderer("release", __wsgi_host=host), [made]).of(made)["settings"]
    assert ("RestartSteps" in text) == (release == "13")


def test_secrets_are_in_no_unit() -> None:
    made = app(secrets={"KEY": "hunter2"}, credentials={"pem": "hunter3"}, **BACKGROUND)
    assert "hunter" not in repr(Units(renderer("release"), [made]).of(made))
    assert len(list(processes(made))) == 4


def test_nginx_may_read_what_it_serves_of_the_state_and_no_more() -> None:
    def runtime(folder: str) -> str:
        made = app("api", nginx={"static": {"/files/": folder}})
        return Units(renderer("release"), [made]).of(made)["runtime"]

    text = runtime("/var/lib/api/up")
    assert text.splitlines()[-4:] == [
        "d /var/lib/api 0750 api api -",
        "a+ /var/lib/api - - - - u:www-data:--x",
        "d /var/lib/api/up 0750 api api -",
        "A+ /var/lib/api/up - - - - u:www-data:r-x,d:u:www-data:r-x",
    ]
    assert "/var/lib" not in runtime("static")
