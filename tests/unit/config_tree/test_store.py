"""Which generations stay, and two runs at once."""

from __future__ import annotations

import os

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree import store as config_tree_store
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.apply import apply
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.files import TreeError
from tree_program import Program, applied, make_spec, site, tree_only


def test_a_change_replaces_the_whole_tree_and_keeps_the_one_before(program: Program) -> None:
    first = applied(make_spec(program, site("api"), site("old")))
    second = applied(make_spec(program, site("api", "more;\n")))
    third = applied(make_spec(program, site("api", "most;\n")))
    etc = program.folder / "etc"
    assert sorted(p.name for p in (etc / "tree/sites").iterdir()) == ["api.conf"]
    assert sorted(os.listdir(etc / "tree.d")) == sorted(
        [second.generation, third.generation, "previous", "replaced", "served"]
    )
    assert os.readlink(etc / "tree.d/previous") == second.generation
    assert first.generation not in os.listdir(etc / "tree.d")


def test_going_back_to_the_tree_before(program: Program) -> None:
    first = applied(make_spec(program, site("api")))
    applied(make_spec(program, site("api", "more;\n")))
    again = applied(make_spec(program, site("api")))
    assert again.changed
    assert again.generation == first.generation == program.generation()


def test_two_runs_at_once_wait_for_each_other(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = tree_only(program, site("api"))
    apply(spec)
    monkeypatch.setattr(config_tree_store, "LOCK_TIMEOUT", 0.2)
    with (
        config_tree_store.locked(spec.store),
        pytest.raises(TreeError, match="another run has been at work"),
    ):
        apply(tree_only(program, site("api", "more;\n")))
