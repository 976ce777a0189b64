# SPDX-License-Identifier: GPL-3.0-or-later
"""A Compose project's deployment: what serves while it goes on, when it fails, and when it is killed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.compose.deploy import Deployment
from ansible_collections.webops.wsgi.plugins.module_utils.compose.engine import ComposeError, Container
from ansible_collections.webops.wsgi.plugins.module_utils.compose.layout import NUMBER, Paths
from ansible_collections.webops.wsgi.plugins.module_utils.compose.model import App, Wanted


class KilledError(BaseException):
    """The run was killed."""


class Engine:
    """An engine whose containers are empty. It kills the run before one of its effects where it is told to."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.running: dict[str, Container] = {}
        self.images: set[str] = set()
        self.sick: set[str] = set()  # servers that answer badly
        self.ending: set[str] = set()  # services that end at once
        self.read = ""
        self.refuses_tree = False
        self.certificates: dict[str, str] = {}
        self.shown: dict[str, str] = {}
        self.order = "o1"
        self.authority_refuses = False
        self.effects = 0
        self.kill_at = 0
        self.done: list[str] = []

    def _effect(self, what: str) -> None:
        self.effects += 1
        if self.effects == self.kill_at:
            raise KilledError
        self.done.append(what)

    def _document(self) -> dict[str, Any]:
        import yaml

        return dict(yaml.safe_load((self.root / "compose.yaml").read_text()))

    def check(self) -> None: ...

    def has_image(self, name: str) -> bool:
        return name in self.images

    def build(self, service: str) -> None:
        self._effect(f"build {service}")
        self.images.add(self._document()["services"][service]["image"])

    def pull(self, image: str, registry: Mapping[str, Any]) -> None:
        raise ComposeError(f"no image {image}")

    def forget_image(self, name: str) -> None:
        self._effect(f"forget {name}")
        self.images.discard(name)

    def up(self, services: Iterable[str], recreate: bool = False, orphans: bool = False) -> None:
        self._effect(f"up {' '.join(services)}")
        known = self._document()["services"]
        for name in list(services) or [one for one in known if "profiles" not in known[one]]:
            if name not in self.running or recreate:
                state = "exited" if name in self.ending else "running"
                self.running[name] = Container(name, name, state, config=json.dumps(known[name]))
                if name == "nginx":
                    self.read = (self.root / "nginx/current").readlink().name
        for name in set(self.running) - set(known) if orphans else ():
            del self.running[name]

    def remove(self, services: Iterable[str]) -> None:
        self._effect(f"remove {' '.join(services)}")
        for name in services:
            self.running.pop(name, None)

    def once(self, service: str, command: str, seconds: int) -> None:
        self._effect(f"once {command}")

    def ask(self, service: str) -> str:
        return "GET / answered 500" if service in self.sick else ""

    def edge(self, *arguments: str) -> str:
        if arguments[0] == "unread":
            return "yes" if self.shown != self.certificates else ""
        self._effect(f"edge {arguments[0]}")
        if arguments[0] == "reload":
            self.read = (self.root / "nginx/current").readlink().name
            self.shown = dict(self.certificates)
        return "0"

    def issued(self) -> dict[str, str]:
        return self.certificates

    def certify(self, app: str) -> None:
        self._effect(f"certify {app}")
        if self.authority_refuses:
            raise ComposeError("has no certificate of an authority")
        self.certificates[app] = self.order

    def try_tree(self, tree: str) -> None:
        if self.refuses_tree:
            raise ComposeError("nginx: unknown directive")

    def tree_in_service(self) -> str:
        return self.read

    def hashes(self) -> dict[str, str]:
        return {name: json.dumps(one) for name, one in self._document()["services"].items()}

    def containers(self) -> list[Container]:
        return list(self.running.values())

    def log(self, service: str) -> str:
        return f"last words of {service}"

    def serves(self) -> str:
        """The release that clients get, if it can answer."""
        link = self.root / "apps/api/current"
        number = link.readlink().name if link.is_symlink() else ""
        up = self.running.get(f"api-{number}"), self.running.get("nginx")
        return number if all(one and one.state == "running" for one in up) and f"api-{number}" not in self.sick else ""


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return Engine(tmp_path / "project")


def wanted(
    version: str, workers: int = 0, tree: str = "t1", services: dict[str, Any] | None = None, **app: Any
) -> Wanted:
    own = {f"api-{NUMBER}": {"image": f"api:{version}"}}
    own |= {f"api-{NUMBER}-w{number}": {"image": f"api:{version}"} for number in range(workers)}
    about = {"services": own, "source": version, "hooks": {"before-activate": 5}, "start_timeout": 0, "interval": 0}
    about |= {"successes": 1, "settle": 0, "drain": 5}
    options = {
        "build": {"context": "./images/api"},
        "context": {"Containerfile": {"text": "x", "mode": 0o644}},
        "keep": 2,
    }
    base = {"name": "p", "services": {"nginx": {"image": "nginx:1"}, **(services or {})}, "volumes": {}}
    one = App(
        "api",
        10001,
        version,
        f"api:{version}",
        about,
        {},
        {"environment": {"text": "", "mode": 0o444}},
        **{**options, **app},
    )
    return Wanted(
        base,
        [one],
        {"images/nginx/edge": {"text": "#!", "mode": 0o755}},
        {"nginx.conf": {"text": "", "mode": 0o644}},
        tree,
        {},
    )


def run(engine: Engine, wish: Wanted) -> Any:
    return Deployment(Paths(engine.root), wish, engine, sleep=lambda _seconds: None).run()


def test_first_run_and_second(engine: Engine) -> None:
    assert run(engine, wanted("a")).failures == {}
    assert engine.serves() == "1"
    engine.done.clear()
    assert run(engine, wanted("a")).reasons == []
    assert engine.done == []


def test_another_version_takes_over_and_the_old_one_goes(engine: Engine) -> None:
    run(engine, wanted("a", workers=1))
    assert set(engine.running) == {"nginx", "api-1", "api-1-w0"}
    run(engine, wanted("b"))
    assert engine.serves() == "2"
    assert set(engine.running) == {"nginx", "api-2"}
    assert engine.done.index("up api-2") < engine.done.index("remove api-1 api-1-w0")


@pytest.mark.parametrize("fault", ["sick", "ending"])
def test_a_bad_release_is_taken_away(engine: Engine, fault: str) -> None:
    run(engine, wanted("a"))
    getattr(engine, fault).add("api-2")
    report = run(engine, wanted("b"))
    assert "release 1 still serves" in report.failures["api"]
    assert "last words of api-2" in report.failures["api"]
    assert engine.serves() == "1"
    assert set(engine.running) == {"nginx", "api-1"}
    run(engine, wanted("a"))  # what its image is built from is put back
    assert run(engine, wanted("a")).reasons == []
    # And it goes well once it is good.
    engine.sick.clear()
    engine.ending.clear()
    assert run(engine, wanted("c")).failures == {}
    assert engine.serves() == "3"


def test_what_nginx_does_not_answer_after_the_switch_is_gone_back_from(engine: Engine) -> None:
    run(engine, wanted("a"))
    paths = Paths(engine.root)
    report = run(engine, wanted("b", through=lambda: "500" if paths.serving("api") == "2" else ""))
    assert "was not healthy through nginx: 500" in report.failures["api"]
    assert engine.serves() == "1"


def test_a_tree_that_nginx_refuses_changes_nothing(engine: Engine) -> None:
    run(engine, wanted("a"))
    engine.refuses_tree = True
    with pytest.raises(ComposeError, match="unknown directive"):
        run(engine, wanted("b", tree="t2"))
    assert engine.serves() == "1"
    assert engine.read == "t1"
    engine.refuses_tree = False
    assert run(engine, wanted("b", tree="t2")).failures == {}
    assert engine.read == "t2"


def test_going_back_takes_what_the_release_had(engine: Engine) -> None:
    run(engine, wanted("a"))
    run(engine, wanted("b"))
    deployment = Deployment(Paths(engine.root), wanted("b"), engine, sleep=lambda _seconds: None)
    assert deployment.roll_back(wanted("b").apps[0], "previous").failures == {}
    assert engine.serves() == "1"
    with pytest.raises(ComposeError, match="no release previous to go back to; there is none"):
        deployment.roll_back(wanted("b").apps[0], "previous")


def test_releases_and_images_beyond_those_to_keep_are_removed(engine: Engine) -> None:
    for version in "abcd":
        run(engine, wanted(version))
    assert Paths(engine.root).numbers("api") == ["4", "3"]
    assert engine.images == {"nginx:1", "api:c", "api:d"}


def test_what_is_not_running_is_started_and_what_is_left_over_removed(engine: Engine) -> None:
    run(engine, wanted("a"))
    del engine.running["api-1"]
    engine.running["api-0"] = Container("api-0", "api-0", "running")
    assert run(engine, wanted("a")).reasons == ["api-1 does not run", "api-0 is left over"]
    assert set(engine.running) == {"nginx", "api-1"}


def test_a_reload_that_was_lost_is_made_good(engine: Engine) -> None:
    run(engine, wanted("a"))
    engine.read = "t0"
    assert run(engine, wanted("a")).reasons == ["nginx has not read its tree"]
    assert engine.read == "t1"


def test_further_services_are_replaced_when_their_lines_change(engine: Engine) -> None:
    run(engine, wanted("a", services={"redis": {"image": "redis:7"}}))
    run(engine, wanted("a", services={"redis": {"image": "redis:8"}}))
    assert "redis:8" in engine.running["redis"].config
    run(engine, wanted("a"))
    assert "redis" not in engine.running


def with_order(order: str) -> Wanted:
    return Wanted(**{**vars(wanted("a")), "orders": {"api": order}})


def test_a_certificate_is_asked_for_once_and_for_other_names_again(engine: Engine) -> None:
    assert run(engine, with_order("o1")).failures == {}
    assert engine.done.index("certify api") > engine.done.index("up api-1")
    assert engine.done[-1] == "edge reload"
    assert run(engine, with_order("o1")).reasons == []
    engine.order = "o2"
    assert run(engine, with_order("o2")).reasons == ["certificate api is not issued"]
    assert engine.certificates == {"api": "o2"}


def test_a_certificate_that_certbot_got_meanwhile_is_shown(engine: Engine) -> None:
    run(engine, with_order("o1"))
    engine.certificates["api"] = "o2"  # by its own clock
    assert run(engine, with_order("o2")).reasons == ["nginx has not read its certificates"]
    assert engine.shown == {"api": "o2"}


def test_an_app_without_a_certificate_serves_and_the_run_fails(engine: Engine) -> None:
    engine.authority_refuses = True
    assert "has no certificate of an authority" in run(engine, with_order("o1")).failures["api"]
    assert engine.serves() == "1"
    engine.authority_refuses = False
    assert run(engine, with_order("o1")).failures == {}


def test_nobody_asks_for_an_app_that_has_gone(engine: Engine) -> None:
    wish = with_order("o1")
    order = {"secrets/certbot/api.ini": {"text": "x", "mode": 0o444}}
    run(engine, Wanted(**{**vars(wish), "files": {**wish.files, **order}}))
    assert (engine.root / "secrets/certbot/api.ini").exists()
    run(engine, Wanted(**{**vars(wish), "apps": [], "orders": {}}))
    assert not (engine.root / "secrets/certbot/api.ini").exists()


def test_an_app_that_is_not_wanted_goes(engine: Engine) -> None:
    run(engine, wanted("a"))
    wish = wanted("a")
    run(engine, Wanted(**{**vars(wish), "apps": []}))
    assert set(engine.running) == {"nginx"}
    assert not (engine.root / "secrets/api").exists()


def test_nothing_is_started_where_only_the_directory_is_wanted(engine: Engine) -> None:
    wish = Wanted(**{**vars(wanted("a")), "start": False})
    assert run(engine, wish).failures == {}
    assert run(engine, wish).reasons == []
    assert engine.done == []
    assert Paths(engine.root).serving("api") == "1"


def test_a_service_for_development_is_nobody_s_business(engine: Engine) -> None:
    service = {"image": "x", "command": [f"/{NUMBER}"], "profiles": ["development"]}
    run(engine, wanted("a", development=service))
    assert engine._document()["services"]["api-development"]["command"] == ["/1"]
    assert "api-development" not in engine.running
    engine.running["api-development"] = Container("api-development", "d", "running")
    assert run(engine, wanted("a", development=service)).reasons == []


def test_killed_before_any_effect_a_good_release_serves_and_the_next_run_ends_it(tmp_path: Path) -> None:
    at, ended = 0, False
    while not ended:
        at += 1
        engine = Engine(tmp_path / str(at))
        run(engine, wanted("a", workers=1))
        engine.kill_at, engine.effects = at, 0
        try:
            run(engine, wanted("b", workers=1, tree="t2"))
            ended = True
        except KilledError:
            pass
        assert engine.serves() in ("1", "2"), at
        engine.kill_at = 0
        assert run(engine, wanted("b", workers=1, tree="t2")).failures == {}, at
        number = engine.serves()
        assert set(engine.running) == {"nginx", f"api-{number}", f"api-{number}-w0"}, at
        assert run(engine, wanted("b", workers=1, tree="t2")).reasons == [], at
    assert at > 5
