"""What is carried over, and what diff mode shows."""

from __future__ import annotations

import grp
import os
import stat

from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.apply import apply
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.files import TreeFile
from tree_program import Program, applied, make_spec, site, tree_only


def test_keep_carries_files_and_directories_over(program: Program) -> None:
    stamped = TreeFile("sites/gone.conf", "made by @GENERATION@;\n", 0o640)
    applied(make_spec(program, site("api"), stamped, TreeFile("more/gone/a", "a"), TreeFile("more/left", "b")))
    spec = make_spec(
        program,
        site("api", "changed;\n"),
        keep=dict.fromkeys(["sites/*ne.conf", "more/gone", "sites/never.conf"], "the app"),
    )
    second = applied(spec)
    tree = program.folder / "etc/tree"
    assert (tree / "sites/gone.conf").read_text() == f"made by {second.generation};\n"
    assert stat.S_IMODE((tree / "sites/gone.conf").stat().st_mode) == 0o640
    assert (tree / "more/gone/a").is_file()
    assert not (tree / "more/left").exists()
    assert not applied(spec).changed
    assert "sites/gone.conf" not in str(second.diff)


def test_a_listed_file_wins_over_keep(program: Program) -> None:
    applied(make_spec(program, site("api")))
    applied(make_spec(program, site("api", "new;\n"), keep={"sites/api.conf": "", "sites": ""}))
    assert "new" in (program.folder / "etc/tree/sites/api.conf").read_text()


def test_diff_shows_each_file_that_differs_and_nothing_else(program: Program) -> None:
    applied(make_spec(program, site("api"), site("same"), site("old")))
    diff = apply(make_spec(program, site("api", "more;\n"), site("same"), site("new")), check=True).diff
    by_header = {entry["after_header"]: (entry["before"], entry["after"]) for entry in diff}
    root = str(program.folder / "etc/tree")
    assert by_header.pop(f"{root}/sites/api.conf") == ("site api;\n", "site api;\nmore;\n")
    assert by_header.pop(f"{root}/sites/old.conf") == ("site old;\n", "")
    assert by_header.pop(f"{root}/sites/new.conf") == ("", "site new;\n")
    assert list(by_header) == [f"{root} (link)"]


def test_a_file_that_others_may_not_read_is_not_shown(program: Program) -> None:
    group = grp.getgrgid(os.getegid()).gr_name
    hidden = TreeFile("passwords/api", "ann:$6$secret-hash\n", 0o640, 'app "api"', group)
    (entry,) = [entry for entry in applied(tree_only(program, hidden)).diff if "passwords" in entry["after_header"]]
    assert "secret-hash" not in entry["after"]
    assert "(mode 0640)" in entry["after"]
    assert not applied(tree_only(program, hidden)).changed
    changed = TreeFile("passwords/api", "ann:$6$another-hash\n", 0o640, 'app "api"', group)
    (entry,) = [entry for entry in applied(tree_only(program, changed)).diff if "passwords" in entry["after_header"]]
    assert entry["before"] != entry["after"]
