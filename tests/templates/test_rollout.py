# SPDX-License-Identifier: GPL-3.0-or-later
"""The order in which hosts activate an app, and what follows from a failure on the host that goes first."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.webops.wsgi.plugins.action import app_release
from ansible_collections.webops.wsgi.plugins.plugin_utils.rollout import (
    batches,
    leaders,
    size_of,
    to_finish,
    to_take_back,
    turn_of,
    withheld,
)
from render import app, renderer


@pytest.mark.parametrize(
    ("present", "first"),
    [
        ({"h1": ["api"], "h2": ["api"]}, {"h1": "h1", "h2": "h1"}),
        ({"h1": ["reports"], "h2": ["api"], "h3": ["api"]}, {"h2": "h2", "h3": "h2"}),
        ({"h1": [], "h2": ["api"]}, {"h2": "h2"}),
    ],
)
def test_the_first_host_that_has_an_app_goes_first(present: dict[str, list[str]], first: dict[str, str]) -> None:
    hosts = list(present)
    found = {host: leaders(host, hosts, present.__getitem__, ["api"])["api"] for host in first}
    assert found == first


def test_each_app_has_its_own_first_host() -> None:
    present = {"h1": ["a"], "h2": ["a", "b"]}
    assert leaders("h2", ["h1", "h2"], present.__getitem__, ["a", "b"]) == {"a": "h1", "b": "h2"}


def test_a_host_that_has_failed_does_not_go_first() -> None:
    assert leaders("h2", ["h2"], {"h1": ["a"], "h2": ["a"]}.__getitem__, ["a"]) == {"a": "h2"}


def test_no_host_is_asked_when_all_apps_are_found() -> None:
    asked: list[str] = []

    def present_on(host: str) -> list[str]:
        asked.append(host)
        return ["a"]

    leaders("h9", [f"h{number}" for number in range(10)], present_on, ["a"])
    assert asked == ["h0"]


def test_an_app_that_failed_where_it_went_first_goes_nowhere_else() -> None:
    facts: dict[str, dict[str, Any]] = {
        "first": {"wsgi_activated": {"b": "deploy"}, "wsgi_failed": {"a": 'app "a": broken'}},
        "gone": {"wsgi_activated": None, "wsgi_failed": {}},
        "later": {"wsgi_activated": {}, "wsgi_failed": {"b": "its own"}},
    }
    kept = withheld("me", {"a": "first", "b": "first", "c": "gone"}, facts.__getitem__)
    assert kept == {
        "a": 'app "a": was not activated on me, since it failed on first, which goes first',
        "c": 'app "c": was not activated on me, since gone, which goes first, failed',
    }


@pytest.mark.parametrize(
    ("batch", "hosts", "size", "turns"),
    [("100%", 19, 19, 1), ("100%", 0, 1, 1), ("25%", 19, 5, 4), ("2", 5, 2, 3), ("10%", 2, 1, 2), ("8", 3, 8, 1)],
)
def test_the_others_follow_in_batches(batch: str, hosts: int, size: int, turns: int) -> None:
    assert (size_of(batch, hosts), batches(batch, hosts)) == (size, turns)


def test_each_host_has_its_turn_with_an_app() -> None:
    present = {"h1": ["b"], "h2": ["a"], "h3": ["a"], "h4": ["a"], "h5": ["a"], "h6": ["a"]}
    found = {host: turn_of(host, "a", list(present), present.__getitem__, 2) for host in list(present)[1:]}
    assert found == {"h2": 0, "h3": 1, "h4": 1, "h5": 2, "h6": 2}


def test_a_failure_in_an_earlier_batch_stops_the_later_ones() -> None:
    facts: dict[str, dict[str, Any]] = {
        "first": {"wsgi_activated": {"a": "deploy"}},
        "second": {"wsgi_activated": {}, "wsgi_failed": {"a": "broken"}},
    }
    kept = withheld("me", {"a": "first"}, facts.__getitem__, {"a": ["second"]})
    assert kept == {"a": 'app "a": was not activated on me, since it failed on second, whose turn was before'}


def test_hosts_that_have_an_app_already_go_back_when_it_is_to_be_the_same_everywhere() -> None:
    facts: dict[str, dict[str, Any]] = {
        "h1": {"wsgi_before": {"a": "3", "b": "1"}},
        "h2": {"wsgi_before": {}, "wsgi_failed": {"a": "broken"}},
        "h3": {"wsgi_present": ["b"]},
    }
    found = to_take_back("h1", ["a"], ["h1", "h2"], facts.__getitem__, [])
    assert found == {"a": 'app "a": went back on h1, since it failed on h2'}
    assert to_take_back("h1", ["b"], ["h1", "h2"], facts.__getitem__, []) == {}
    assert list(to_take_back("h1", ["b"], ["h1", "h2"], facts.__getitem__, ["h3"])) == ["b"]
    assert to_take_back("h2", ["a"], ["h1", "h2"], facts.__getitem__, []) == {}, "it has gone back by itself"


def test_a_rollout_is_over_when_all_hosts_have_been_there_and_none_failed() -> None:
    facts: dict[str, dict[str, Any]] = {"h1": {}, "h2": {"wsgi_failed": {"b": "broken"}}}
    assert to_finish(["a", "b", "c"], ["c"], ["h1", "h2"], ["h1", "h2"], facts.__getitem__) == ["a"]
    assert to_finish(["a"], [], ["h1"], ["h1", "h2"], facts.__getitem__) == [], "one is not in the play"


class Host:
    """The controller's half of one host's tasks, with a remote half that notes what it is asked for."""

    def __init__(self, name: str, play: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
        self._facts = play[name]
        self.in_place: dict[str, dict[str, str]] = {}
        self.signatures: dict[str, str] = {}
        self._variables = {
            "inventory_hostname": name,
            "ansible_play_hosts": list(play),
            "ansible_facts": self._facts,
            "hostvars": {host: {"ansible_facts": facts} for host, facts in play.items()},
        }
        monkeypatch.setattr(app_release.ActionBase, "run", lambda *_arguments, **_more: {})
        monkeypatch.setattr(app_release, "Renderer", lambda *_arguments: renderer("release"))

    def activate(self, turn: str) -> dict[str, bool]:
        """Names of the apps that are activated, and whether their hooks run."""
        asked: list[dict[str, Any]] = []

        def remote(**options: Any) -> dict[str, Any]:
            asked.extend(options["module_args"]["releases"])
            self.signatures = {release["name"]: release["signature"] for release in asked}
            return {"releases": {release["name"]: {"action": "deploy"} for release in asked}, "failures": []}

        apps = [app(name) for name in self._facts["wsgi_present"]]
        action = app_release.ActionModule.__new__(app_release.ActionModule)
        action._task = SimpleNamespace(args={"apps": apps, "turn": turn, "in_place": self.in_place})
        action._execute_module = remote
        self._facts.update(action.run(task_vars=self._variables).get("ansible_facts", {}))
        return {release["name"]: release["run_hooks"] for release in asked}


def test_what_is_asked_through_the_proxy_is_the_app_s_own_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the inventory's variable, which may be a template, or missing."""
    asked: dict[str, Any] = {}
    monkeypatch.setattr(app_release.ActionBase, "run", lambda *_arguments, **_more: {})
    monkeypatch.setattr(app_release, "Renderer", lambda *_arguments: renderer("release"))
    action = app_release.ActionModule.__new__(app_release.ActionModule)
    action._task = SimpleNamespace(args={"apps": [app("api", nginx={"http_port": 8080, "https_port": 8443})]})
    action._execute_module = lambda **options: asked.update(options["module_args"]) or {"failures": []}
    action.run(task_vars={"nginx_proxy_http_port": "{{ port }}", "ansible_facts": {"wsgi_failed": {}}})
    (proxy,) = (release["proxy"] for release in asked["releases"])
    assert (proxy["http_port"], proxy["https_port"]) == (8080, 8443)


def test_an_app_is_activated_and_migrated_by_one_host_before_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    play: dict[str, dict[str, Any]] = {
        host: {"wsgi_present": names, "wsgi_activated": None, "wsgi_follows": {}, "wsgi_failed": {}}
        for host, names in {"h1": ["a"], "h2": ["b"], "h3": ["a", "b", "c"]}.items()
    }
    hosts = {name: Host(name, play, monkeypatch) for name in play}
    assert [host.activate("first") for host in hosts.values()] == [{"a": True}, {"b": True}, {"c": True}]
    assert [play[name]["wsgi_follows"] for name in play] == [{}, {}, {"a": "h1", "b": "h2"}]
    assert hosts["h3"].activate("others") == {"a": False, "b": False}
    assert play["h3"]["wsgi_activated"] == dict.fromkeys("abc", "deploy")


def test_a_host_whose_releases_are_in_place_is_not_asked_again_and_keeps_no_other_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    play: dict[str, dict[str, Any]] = {
        host: {"wsgi_present": ["a", "b"], "wsgi_activated": None, "wsgi_follows": {}, "wsgi_failed": {}}
        for host in ("h1", "h2")
    }
    first, second = (Host(name, play, monkeypatch) for name in play)
    assert first.activate("first") == {"a": True, "b": True}
    first.in_place = {name: {"release": "3", "signature": found} for name, found in first.signatures.items()}
    play["h1"]["wsgi_activated"] = None
    assert first.activate("first") == {}, "asks a host of which all is known"
    assert second.activate("first") == {}
    assert second.activate("others") == {"a": False, "b": False}
    first.in_place["b"]["signature"] = "another"
    assert first.activate("first") == {"a": True, "b": True}
