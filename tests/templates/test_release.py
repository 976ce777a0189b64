"""The units of an app: what systemd reads of every template of the role release."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any

import pytest
from ansible_collections.webops.wsgi.plugins.action.app_release import Units, environment
from ansible_collections.webops.wsgi.plugins.module_utils.release import layout
from ansible_collections.webops.wsgi.plugins.module_utils.release.shares import shared
from ansible_collections.webops.wsgi.plugins.plugin_utils.managers.processes import processes
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


OF_THE_SERVER = (
    "TimeoutStartSec",
    "TimeoutStopSec",
    "RestartSec",
    "RestartSteps",
    "RestartMaxDelaySec",
    "ReadWritePaths",
)


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


@pytest.mark.parametrize(("source", "folder"), [({}, "src"), ({"subdirectory": "services/api"}, "src/services/api")])
def test_app_runs_in_its_own_directory_of_the_source(source: dict[str, str], folder: str) -> None:
    service = sections(units(source={"kind": "path", "path": "/src", **source})["files"]["api@.service"])["Service"]
    assert service["WorkingDirectory"] == [f"/srv/api/releases/%i/app/{folder}"]


def test_server_unit_has_its_surroundings_and_its_socket() -> None:
    service = sections(units()["files"]["api@.service"])["Service"]
    assert service["User"] == ["api"]
    assert service["EnvironmentFile"] == ["/srv/api/releases/%i/etc/environment"]


def test_encodings_are_not_the_host_s_but_the_app_s_own() -> None:
    made = units(**BACKGROUND, env={"LC_TIME": "de_DE.UTF-8"}, secrets={"LC_NAME": "x"})
    services = [text for name, text in made["files"].items() if name == "api@.service"]
    services += [unit["text"] for unit in made["units"] if unit["name"].endswith(".service")]
    for service in (sections(text)["Service"] for text in services):
        assert "LANG=C.UTF-8" in service["Environment"]
        unset = service["UnsetEnvironment"][0].split()
        assert unset[:4] == ["LANGUAGE", "LC_CTYPE", "LC_NUMERIC", "LC_COLLATE"], "an order of its own in each run"
        assert not {"LC_TIME", "LC_NAME", "LANG"} & set(unset)


def test_the_journal_has_the_app_s_name() -> None:
    made = units(**BACKGROUND, listen="127.0.0.1:8000", release={"before_activate": "flask db upgrade"})
    services = {**made["files"], **{unit["name"]: unit["text"] for unit in made["units"]}}
    named = {name: sections(text)["Service"]["SyslogIdentifier"] for name, text in services.items() if "Exec" in text}
    assert named.pop("api@.service") == ["api"]
    assert named.pop("api.instance@.service") == ["api"]
    assert named.pop("api.rq.2@.service") == ["api.rq"]
    assert named == {
        f"{name}{at}.service": [name]
        for name, at in [
            ("api.celery", "@"),
            ("api.rq", ".1@"),
            ("api.tidy", "@"),
            ("api.before-activate", "@"),
            ("api.listen", ""),
        ]
    }


def test_a_system_call_that_is_refused_is_an_error_the_app_sees() -> None:
    made = units(listen="127.0.0.1:8000")
    for text in (made["settings"], made["files"]["api.listen.service"]):
        assert sections(text)["Service"]["SystemCallErrorNumber"] == ["EPERM"]


def test_everything_of_an_app_is_in_the_same_sandbox() -> None:
    made = units(
        **BACKGROUND, release={"before_activate": "flask db upgrade", "memory_max": "1G"}, credentials={"k": "x"}
    )
    server = sections(made["settings"])["Service"]
    beside = [sections(unit["text"])["Service"] for unit in made["units"] if unit["kind"] != "timer"]
    assert len(beside) == 5
    for service in beside:
        for name, value in server.items():
            if name not in (*OF_THE_SERVER, "Environment"):
                assert service[name] == value
        assert service["LoadCredential"] == ["k:/srv/api/releases/%i/credentials/k"]


PLACES = {
    "files": {"a.cfg": "hunter2"},
    "credentials": {"key.json": "hunter3"},
    "env": {"A": "{files}/a.cfg", "B": 'say "50%" \\ of\n{credentials}/key.json:{files}', "C": "{other}"},
}


def test_paths_of_files_and_credentials_are_in_every_program_of_the_release() -> None:
    made = units(**BACKGROUND, **PLACES, release={"before_activate": "flask db upgrade"})
    texts = [made["settings"], *(unit["text"] for unit in made["units"] if unit["kind"] != "timer")]
    assert len(texts) == 6
    for text in texts:
        lines = sections(text)["Service"]["Environment"]
        assert '"A=/srv/api/releases/%i/files/a.cfg"' in lines
        assert r'"B=say \"50%%\" \\ of\n%d/key.json:/srv/api/releases/%i/files"' in lines
        assert "hunter" not in text
    assert environment(app(**PLACES)) == 'C="{other}"\n'


def test_a_word_in_braces_means_nothing_without_files() -> None:
    made = {**PLACES, "files": {}, "credentials": {}}
    assert units(**made) == units()
    assert '="{files}/a.cfg"' in environment(app(**made))


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
    assert set(units()["files"]) == {"api@.service", "api.instance@.service", "api.target"}


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


def test_an_app_may_be_restarted_as_often_as_a_person_wants() -> None:
    made = units()["files"]
    for name in ("api@.service", "api.instance@.service"):
        assert sections(made[name])["Unit"]["StartLimitIntervalSec"] == ["0"]


def test_an_instance_writes_to_no_other_place_in_run_than_its_own() -> None:
    made = units()
    server = sections(made["settings"])
    assert server["Service"]["ReadWritePaths"] == ["/run/api/%i"]
    assert "WSGI_SOCKET=/run/api/%i/sock" in server["Service"]["Environment"]
    assert server["Unit"]["Requires"] == ["api.instance@%i.service"]
    directory = sections(made["files"]["api.instance@.service"])["Service"]
    (mount,) = (command for command in directory["ExecStart"] if "mount -t" in command)
    for option in ("size=", "nr_inodes=", "nosymfollow", "nodev", "nosuid", "noexec"):
        assert option in mount
    assert "d /run/api 0711 root root -" in made["runtime"].splitlines()


def test_systemd_changes_the_owner_of_no_directory_that_the_app_can_replace() -> None:
    made = units(persistent=["instance", "data/deep"], **BACKGROUND)
    for text in (made["settings"], *(unit["text"] for unit in made["units"] if unit["kind"] != "timer")):
        service = sections(text)["Service"]
        assert service["StateDirectory"] == ["api"]
        assert service["ExecStartPre"] == ["/srv/api/releases/%i/prepare"], "not as the app's user"
    assert units()["prepare"] == ""


@pytest.fixture
def prepared(tmp_path: Path) -> Callable[..., Path]:
    """Runs what prepares the directories of an app; returns its home directory."""
    release, home = tmp_path / "release", tmp_path / "home"
    (release / "app").mkdir(parents=True)
    home.mkdir()

    def run(**overrides: Any) -> Path:
        script = release / "prepare"
        script.write_text(units(**overrides)["prepare"])
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(home), "WSGI_RELEASE_DIR": str(release)}
        subprocess.run(["sh", str(script)], env=environment, check=True, umask=0o077)
        return home

    return run


def test_directories_of_an_app_are_made_and_what_the_source_ships_is_there_once(
    prepared: Callable[..., Path], tmp_path: Path
) -> None:
    seed = tmp_path / "release" / "app" / "seed" / "it's" / "deep"
    seed.mkdir(parents=True)
    (seed / "config.py").write_text("shipped")
    home = prepared(persistent=["it's/deep", "instance"])
    assert (home / "instance").is_dir()
    kept = home / "it's" / "deep" / "config.py"
    assert kept.read_text() == "shipped"
    kept.write_text("changed by the app")
    prepared(persistent=["it's/deep", "instance"])
    assert kept.read_text() == "changed by the app"
    assert sorted(path.name for path in home.iterdir()) == ["instance", "it's"]


def test_files_of_an_app_begin_with_what_the_source_ships(prepared: Callable[..., Path], tmp_path: Path) -> None:
    seed = tmp_path / "release/app/seed/db.sqlite3"
    seed.parent.mkdir()
    seed.write_text("shipped")
    seed.chmod(0o440)
    names = ["db.sqlite3", "data/seen"]
    home = prepared(persistent_files=names)
    (home / "data/seen").write_text("the app's")
    (home / "db.sqlite3").write_text("changed by the app")
    prepared(persistent_files=names)
    assert (home / "db.sqlite3").read_text() == "changed by the app"
    assert sorted(path.name for path in home.iterdir()) == ["data", "db.sqlite3"]


def test_nginx_may_read_what_it_serves_of_the_state_and_no_more(tmp_path: Path) -> None:
    text = units(nginx={"static": {"/files/": "/var/lib/api/up"}})["prepare"]
    assert [line for line in text.splitlines() if "www-data" in line] == [
        'a+ "/var/lib/api" - - - - u:www-data:--x',
        'A+ "/var/lib/api/up" - - - - u:www-data:r-x,d:u:www-data:r-x',
    ]
    assert units(nginx={"static": {"/files/": "static"}})["prepare"] == ""
    release = tmp_path / "api/releases/1"
    release.mkdir(parents=True)
    (release / "prepare").write_text(text)
    assert shared(layout.Paths(root=tmp_path), "api", "1") == {PurePath("up")}, "nothing of it would be taken back"


def test_an_app_does_not_see_the_others() -> None:
    paths = ["/srv/shared", "-/srv/maybe", "/mnt/data", "/srvdata"]
    service = sections(units(release={"writable_paths": paths})["settings"])["Service"]
    assert "/srv:ro" in service["TemporaryFileSystem"]
    # The whole directory, so that no release is held by a mount.
    assert service["BindReadOnlyPaths"] == ["/srv/api"]
    assert service["BindPaths"] == ["/srv/shared", "-/srv/maybe"]
    hidden = " ".join(service["InaccessiblePaths"]).split()
    assert {"-/etc/wsgi.d", "-/etc/nginx", "-/etc/letsencrypt", "-/var/log/nginx"} <= set(hidden)


def test_an_instance_s_directory_that_is_gone_fails_no_unit() -> None:
    """The run that retires a release takes the mount away too, and may be quicker than the unit that stops."""
    (stop,) = sections(units()["files"]["api.instance@.service"])["Service"]["ExecStop"]
    assert stop.startswith("-")
