# SPDX-License-Identifier: GPL-3.0-or-later
"""One app's failure is its own: what the play does with it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.webops.wsgi.plugins.plugin_utils import app_failures
from ansible_collections.webops.wsgi.plugins.plugin_utils.app_failures import by_app, settle

ACTION: Any = SimpleNamespace(_templar=SimpleNamespace(template=lambda value: value))
BROKEN = {"a": 'app "a": no such module\n  more'}


def test_messages_are_told_apart_by_the_app_that_they_name() -> None:
    assert by_app(['app "a": x', 'app "b" is being deployed', 'app "a": y']) == {
        "a": 'app "a": x\napp "a": y',
        "b": 'app "b" is being deployed',
    }
    assert by_app(["no app is named"]) == {"": "no app is named"}


def test_a_play_that_collects_failures_goes_on_and_remembers_them(monkeypatch: pytest.MonkeyPatch) -> None:
    warned: list[str] = []
    monkeypatch.setattr(app_failures.Display(), "warning", warned.append)
    variables = {
        "__wsgi_failures": "collect",
        "inventory_hostname": "h1",
        "ansible_facts": {"wsgi_failed": {"z": "before"}},
    }
    result = settle(ACTION, {"failed": True, "msg": "…", "exception": "…", "changed": True}, BROKEN, variables)
    assert result == {"changed": True, "ansible_facts": {"wsgi_failed": {"z": "before", **BROKEN}}}
    assert warned == ['h1: app "a" failed. The others go on; why it failed is reported at the end']


@pytest.mark.parametrize("variables", [{}, {"__wsgi_failures": "stop"}])
def test_a_play_that_does_not_fails(variables: dict[str, str]) -> None:
    result = settle(ACTION, {"changed": False}, BROKEN, variables)
    assert result["failed"]
    assert result["msg"] == BROKEN["a"]


def test_what_concerns_no_single_app_is_no_app_s_own() -> None:
    assert settle(ACTION, {}, {"": "the host is on fire"}, {"__wsgi_failures": "collect"})["failed"]
