# SPDX-License-Identifier: GPL-3.0-or-later
"""A move from what a person has set up: who takes over from whom, what keeps it from happening, how it ends."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webops.wsgi.plugins.action.adopt_finish import message
from ansible_collections.webops.wsgi.plugins.module_utils.adopt import finish, proxy
from ansible_collections.webops.wsgi.plugins.module_utils.release.health import Answer
from ansible_collections.webops.wsgi.plugins.plugin_utils.adopt import moves


def found(name: str, *domains: str, **more: Any) -> dict[str, Any]:
    """An app as the host is found to run it."""
    where = f"/etc/systemd/system/{name}.service"
    return {
        "program": {"name": name, "where": where, "manager": "systemd", "sockets": []},
        "start": {"entrypoint": f"{name}:app"},
        "source": {"path": f"/home/ada/{name}"},
        "site": {"names": list(domains), "passes_to": [f"unix:/run/{name}.sock"]} if domains else None,
        "lineage": None,
        "workers": [],
        "data": [],
        **more,
    }


def app(name: str, *domains: str, state: str = "present") -> dict[str, Any]:
    """An app as the inventory has it."""
    release = {"health_path": "/", "health_status": ["200-499"]}
    return {"name": name, "domains": list(domains), "state": state, "tls": "letsencrypt", "release": release}


def test_who_takes_over_from_whom() -> None:
    apps = [
        app("store", "Shop.example.com"),
        app("worker"),
        app("other", "other.example.com"),
        app("gone", state="absent"),
    ]
    there = [found("shop", "shop.example.com", "www.example.com"), found("worker"), found("gone")]
    moved = moves.moves(apps, there)
    assert [(move.app["name"], move.found["program"]["name"]) for move in moved] == [
        ("store", "shop"),
        ("worker", "worker"),
    ]
    assert moves.given_up(apps, moved) == {
        "names": ["other.example.com", "shop.example.com"],
        "places": ["unix:/run/shop.sock"],
    }
    assert [question["domain"] for question in moves.questions(moved)] == ["Shop.example.com"]


def test_nothing_to_take_over() -> None:
    (problem,) = moves.problems("web1", [app("new", "new.example.com")], [found("shop", "shop.example.com")], [], False)
    assert "(new) is one that the host runs already (/etc/systemd/system/shop.service)" in problem


def test_data_is_not_left_behind_unsaid() -> None:
    data = [{"path": "db.sqlite3", "kind": "sqlite", "size": 200_000, "age": 90}]
    moved = moves.moves([app("shop", "a.test")], [found("shop", "a.test", data=data)])
    (problem,) = moves.problems("web1", [], [], moved, False)
    assert (
        'web1: app "shop": a release begins without the data in /home/ada/shop: db.sqlite3 (0.2 MB, written 1 min'
        in problem
    )
    assert "-e data=carried" in problem
    assert not moves.problems("web1", [], [], moved, True)


def test_workers_are_stopped_as_well() -> None:
    worker = {"name": "shop-celery", "where": "/x.service", "manager": "systemd", "sockets": [], "command": "celery"}
    moved = moves.moves(
        [app("shop", "a.test")], [found("shop", "a.test", workers=[worker], lineage={"name": "a.test"})]
    )
    assert [program["name"] for program in moves.programs(moved)] == ["shop", "shop-celery"]
    assert moves.lineages(moved) == ["a.test"]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("server { listen 443 ssl; server_name a.test; location / { proxy_pass http://unix:/run/a.sock; } }", []),
        ("server { listen 80; server_name a.test old.a.test *.a.test; }", ["old.a.test", "*.a.test"]),
        ("server { listen 80 default_server; return 444; }", []),
        ("server { listen [::]:80; server_name _; location / { proxy_pass http://unix:/run/a.sock; } }", []),
        (
            "server { location / { proxy_pass http://127.0.0.1:9000; } }",
            ["requests for any name, which go to 127.0.0.1:9000"],
        ),
        ("server { listen 8080; server_name a.test; }", ["port 8080"]),
        ("stream { server { listen 5432; } }", ["a stream block"]),
        ("gzip on; upstream a { server unix:/run/a.sock; }", []),
        ("http { server { server_name b.test; } }", ["b.test"]),
    ],
)
def test_what_nginx_would_not_serve_any_more(text: str, left: list[str]) -> None:
    assert proxy.others(text, {"a.test"}, {"unix:/run/a.sock"}) == left


class Programs:
    """Calls of programs, and what systemd says of units."""

    def __init__(self, state: str = "ActiveState=active\nUnitFileState=enabled\n") -> None:
        self.state, self.calls = state, list[str]()

    def __call__(self, command: Sequence[str]) -> str:
        if "show" in command:
            return self.state
        self.calls.append(" ".join(command))
        return ""


QUESTION = finish.Question("shop", "shop.example.com", "/", ["200-499"], True)
SHOP = finish.Old("shop", "/etc/systemd/system/shop.service", "systemd", ["shop.socket"])


def host(root: Path, programs: Programs, answer: Answer | None = None) -> finish.Host:
    replaced = root / "etc/nginx/wsgi.d/replaced/etc/nginx/nginx.conf"
    replaced.parent.mkdir(parents=True)
    replaced.write_text("old\n")
    (root / "proc").mkdir()
    return finish.Host(root=root, run=programs, ask=lambda *_: answer or Answer(status=200))


def test_what_served_before_is_stopped_and_the_way_back_said(tmp_path: Path) -> None:
    programs = Programs()
    renewal = tmp_path / "etc/letsencrypt/renewal/shop.conf"
    renewal.parent.mkdir(parents=True)
    renewal.write_text("[renewalparams]\nauthenticator = standalone\n")
    given: tuple[Any, ...] = (host(tmp_path, programs), [SHOP], [QUESTION], ["shop"], 0)
    predicted = finish.finish(*given, check=True)
    assert (programs.calls, renewal.read_text().count("standalone")) == ([], 1)
    done = finish.finish(*given, check=False)
    assert done == predicted
    assert programs.calls == ["systemctl disable --now --quiet shop.socket shop.service"]
    assert done.back == [
        "systemctl enable --now shop.socket shop.service",
        "cp -a --remove-destination /etc/nginx/wsgi.d/replaced/etc/nginx/nginx.conf /etc/nginx/nginx.conf",
        "systemctl reload nginx",
        "mv /etc/letsencrypt/renewal/shop.conf.by-hand /etc/letsencrypt/renewal/shop.conf",
    ]
    assert "authenticator = webroot" in renewal.read_text()
    assert "would stop" in message("web1", {"busy": False, "stopped": done.stopped, "back": done.back}, True)
    assert "The way back" in message("web1", {"busy": False, "stopped": done.stopped, "back": done.back}, False)


def test_one_that_clients_do_not_get_gives_nginx_its_files_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finish, "PATIENCE", 0)
    monkeypatch.setattr(finish, "PAUSE", 0)
    programs = Programs()
    with pytest.raises(finish.FinishError, match=r"clients of shop\.example\.com would not be served: 502") as raised:
        finish.finish(host(tmp_path, programs, Answer("502", 502)), [SHOP], [QUESTION], [], 0, check=False)
    assert "nginx has its old configuration back, and what served before was not stopped" in str(raised.value)
    assert (tmp_path / "etc/nginx/nginx.conf").read_text() == "old\n"
    assert programs.calls == ["systemctl reload nginx.service"]


def test_a_login_that_nginx_asks_for_is_an_answer(tmp_path: Path) -> None:
    done = finish.finish(host(tmp_path, Programs(), Answer("401", 401)), [SHOP], [QUESTION], [], 0, check=False)
    assert done.stopped == ["systemd: shop"]


def test_requests_that_the_old_configuration_still_serves_are_waited_for(tmp_path: Path) -> None:
    programs = Programs()
    there = host(tmp_path, programs)
    (tmp_path / "proc/7").mkdir()
    (tmp_path / "proc/7/cmdline").write_text("nginx: worker process is shutting down\0")
    done = finish.finish(there, [SHOP], [QUESTION], [], 0, check=False)
    assert (done.busy, done.changed, programs.calls) == (True, False, [])
    assert "run the same again later" in message("web1", {"busy": True, "stopped": [], "back": []}, False)


def test_what_is_stopped_already_is_left_alone(tmp_path: Path) -> None:
    there = host(tmp_path, Programs("ActiveState=inactive\nUnitFileState=disabled\n"))
    done = finish.finish(there, [SHOP], [QUESTION], ["shop"], 0, check=False)
    assert done == finish.Done()
    assert "nothing left to stop" in message("web1", {"busy": False, "stopped": [], "back": []}, False)


SUPERVISED = (
    "[program:other]\ncommand=x\n\n[program:shop]  ; the shop\ncommand=y\nautostart=true\n[program:last]\ncommand=z\n"
)


def test_a_program_of_supervisor_is_not_started_any_more(tmp_path: Path) -> None:
    programs, old = Programs(), finish.Old("shop", "/etc/supervisor/conf.d/shop.conf", "supervisor")
    there = host(tmp_path, programs)
    path = there.at(old.where)
    path.parent.mkdir(parents=True)
    path.write_text(SUPERVISED)
    done = finish.finish(there, [old], [], [], 0, check=False)
    assert path.read_text() == SUPERVISED.replace(
        "[program:shop]  ; the shop\n", "[program:shop]  ; the shop\nautostart=false\n"
    ).replace("autostart=true\n", "")
    assert programs.calls == ["supervisorctl stop shop:*"]
    assert done.back[:2] == [f"mv {old.where}.by-hand {old.where}", "supervisorctl start shop:*"]
    assert path.with_name("shop.conf.by-hand").read_text() == SUPERVISED
    assert not finish.finish(there, [old], [], [], 0, check=False).changed


def test_a_file_of_the_emperor_s_is_set_aside(tmp_path: Path) -> None:
    old = finish.Old("shop", "/etc/uwsgi/sites/shop.ini", "emperor")
    there = host(tmp_path, Programs())
    there.at(old.where).parent.mkdir(parents=True)
    there.at(old.where).write_text("[uwsgi]\n")
    done = finish.finish(there, [old], [], [], 0, check=False)
    assert done.back[0] == f"mv {old.where}.by-hand {old.where}"
    assert not finish.finish(there, [old], [], [], 0, check=False).changed
