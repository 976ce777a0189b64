"""config_tree: what becomes of a tree on a host, step by step, in check mode, and killed at each step."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.apply import apply
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.files import TreeError, TreeFile
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.spec import Spec
from tree_program import Program, applied, check_valid, killed_at, make_spec, site, snapshot

STEPS = ["written", "validated", "named", "switched", "linked", "reloaded", "marked", "swept"]


def test_first_run_then_nothing_to_do(program: Program) -> None:
    spec = make_spec(program, site("api"))
    first = applied(spec)
    etc = program.folder / "etc"
    assert first.changed
    assert first.reloaded
    assert os.readlink(etc / "tree") == f"tree.d/{first.generation}"
    assert os.readlink(etc / "main.conf") == "tree/main.conf"
    assert (etc / "tree.d/replaced" / str(etc / "main.conf").lstrip("/")).read_text() == "the package's own\n"
    assert program.generation() == first.generation
    before = snapshot(etc)
    second = applied(spec)
    assert not second.changed
    assert second.diff == []
    assert not second.reloaded
    assert snapshot(etc) == before
    assert program.count() == 1


def test_check_mode_on_a_host_that_has_nothing(tmp_path: Path) -> None:
    root = tmp_path / "etc/nginx/wsgi"
    spec = Spec(
        root=str(root),
        files=[TreeFile("nginx.conf", "x\n")],
        links={str(tmp_path / "etc/nginx/nginx.conf"): "wsgi/nginx.conf"},
        validate="no-such-validator -t {preview}/nginx.conf",
        reload="no-such-program reload",
        running="http://127.0.0.1:1/generation",
    )
    outcome = apply(spec, check=True)
    assert outcome.changed
    assert outcome.reloaded
    assert outcome.warnings == [f"{root} was not validated: no-such-validator is not on this host yet"]
    assert [entry["before"] for entry in outcome.diff] == ["", "", ""]
    assert list(tmp_path.iterdir()) == []


def test_check_mode_writes_nothing(program: Program) -> None:
    applied(make_spec(program, site("api")))
    before = snapshot(program.folder)
    assert apply(make_spec(program, site("api", "more;\n")), check=True).changed
    assert snapshot(program.folder) == before


def test_check_mode_says_what_the_validator_would(program: Program) -> None:
    applied(make_spec(program, site("api")))
    before = snapshot(program.folder)
    with pytest.raises(TreeError, match=r'app "api": sites/api.conf, line 2'):
        apply(make_spec(program, site("api", "wrong 1;\n")), check=True)
    assert snapshot(program.folder) == before


@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("point", STEPS)
def test_killed_anywhere_the_tree_is_valid_and_the_next_run_finishes(program: Program, point: str, fresh: bool) -> None:
    if not fresh:
        applied(make_spec(program, site("api"), site("old")))
    spec = make_spec(program, site("api", "more;\n"), site("new"))
    assert killed_at(spec, point) or (point == "linked" and not fresh)
    check_valid(program)
    outcome = applied(spec)
    check_valid(program)
    assert program.generation() == outcome.generation
    assert sorted(p.name for p in (program.folder / "etc/tree/sites").iterdir()) == ["api.conf", "new.conf"]
    assert not [name for name in os.listdir(program.folder / "etc/tree.d") if name.startswith(".")]
    generations = [p for p in (program.folder / "etc/tree.d").iterdir() if p.is_dir() and not p.is_symlink()]
    assert len([p for p in generations if p.name != "replaced"]) <= 2
    assert not applied(spec).changed


def test_killed_while_going_back(program: Program) -> None:
    first = applied(make_spec(program, site("api")))
    program.broken.touch()
    assert killed_at(make_spec(program, site("api", "more;\n")), "returned")
    check_valid(program)
    assert os.readlink(program.folder / "etc/tree") == f"tree.d/{first.generation}"
    program.broken.unlink()
    assert not applied(make_spec(program, site("api"))).changed
