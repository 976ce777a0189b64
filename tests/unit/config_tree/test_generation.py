"""What lies in a tree: written, edited by hand, somebody else's."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.apply import apply
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.files import TreeError, TreeFile
from tree_program import Program, applied, check_valid, make_spec, site, snapshot, tree_only


def test_modes_do_not_follow_the_umask(program: Program) -> None:
    before = os.umask(0o077)
    try:
        apply(tree_only(program, site("api"), TreeFile("bin/start", "#!/bin/sh\n", 0o755)))
    finally:
        os.umask(before)
    tree = program.folder / "etc/tree"
    assert stat.S_IMODE(tree.stat().st_mode) == 0o755
    assert stat.S_IMODE((tree / "sites").stat().st_mode) == 0o755
    assert stat.S_IMODE((tree / "sites/api.conf").stat().st_mode) == 0o644
    assert stat.S_IMODE((tree / "bin/start").stat().st_mode) == 0o755


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(lambda tree: (tree / "sites/api.conf").write_text("by hand"), id="content"),
        pytest.param(lambda tree: (tree / "sites/api.conf").chmod(0o600), id="mode"),
        pytest.param(lambda tree: (tree / "sites").chmod(0o700), id="mode of a directory"),
        pytest.param(lambda tree: (tree / "sites/api.conf").unlink(), id="file removed"),
        pytest.param(lambda tree: (tree / "sites/new.conf").write_text("by hand"), id="file added"),
        pytest.param(lambda tree: (tree / "empty").mkdir(), id="directory added"),
        pytest.param(lambda tree: (tree / "sites/l.conf").symlink_to("/etc/passwd"), id="symlink added"),
    ],
)
def test_what_was_edited_by_hand_is_put_right(program: Program, edit: Callable[[Path], Any]) -> None:
    spec = make_spec(program, site("api"))
    first = applied(spec)
    edit(program.folder / "etc/tree")
    second = applied(spec)
    assert second.changed
    assert second.generation == f"{first.generation}-1" == program.generation()
    third = applied(spec)
    assert not third.changed
    assert third.generation == second.generation


def test_generation_removed_by_hand_is_written_again(program: Program) -> None:
    spec = make_spec(program, site("api"))
    first = applied(spec)
    shutil.rmtree(program.folder / "etc/tree.d" / first.generation)
    assert applied(spec).changed
    check_valid(program)


def test_a_directory_that_is_not_ours_is_refused(program: Program) -> None:
    root = program.folder / "etc/tree"
    root.mkdir()
    (root / "precious.conf").write_text("x")
    before = snapshot(program.folder / "etc")
    for check in (True, False):
        with pytest.raises(TreeError, match=r"directory with 1 entries \(precious.conf\) that this task did not write"):
            apply(make_spec(program, site("api")), check=check)
    assert snapshot(program.folder / "etc") == before


def test_an_empty_directory_gives_way(program: Program) -> None:
    (program.folder / "etc/tree").mkdir()
    assert applied(make_spec(program, site("api"))).changed
    assert (program.folder / "etc/tree").is_symlink()


def test_a_symlink_to_elsewhere_and_a_file_are_refused(program: Program) -> None:
    root = program.folder / "etc/tree"
    root.symlink_to("/usr/share")
    with pytest.raises(TreeError, match="is a symlink to /usr/share, expected one into"):
        apply(make_spec(program))
    root.unlink()
    root.write_text("x")
    with pytest.raises(TreeError, match="is a file, expected nothing or a symlink"):
        apply(make_spec(program))


def test_a_group_that_does_not_exist_is_refused(program: Program) -> None:
    with pytest.raises(TreeError, match='group "nobody-has-this" does not exist'):
        apply(tree_only(program, TreeFile("a", "", 0o640, "", "nobody-has-this")))
