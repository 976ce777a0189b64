"""Links that lead into a tree."""

from __future__ import annotations

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.apply import apply
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.files import TreeError
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.spec import Spec
from tree_program import Program, applied, check_valid, make_spec, site


def test_a_link_replaced_by_hand_is_made_again(program: Program) -> None:
    spec = make_spec(program, site("api"))
    applied(spec)
    (program.folder / "etc/main.conf").unlink()
    (program.folder / "etc/main.conf").write_text("from a package upgrade\n")
    assert applied(spec).changed
    check_valid(program)
    assert not applied(spec).changed


def test_a_link_in_a_directory_of_its_own(program: Program) -> None:
    etc = program.folder / "etc"
    (etc / "conf.d").mkdir()
    (etc / "conf.d/other.conf").write_text("")
    spec = make_spec(program, site("api"), links={str(etc / "conf.d/main.conf"): "../tree/main.conf"})
    checker = program.script("look", "assert open(sys.argv[1] + '/conf.d/main.conf').read().startswith('generation')")
    spec = Spec(**{**spec.__dict__, "validate": f"{checker} {{preview}}", "reload": "", "running": ""})
    assert applied(spec).changed
    assert (etc / "conf.d/main.conf").resolve() == (etc / "tree/main.conf").resolve()
    assert (etc / "conf.d/other.conf").is_file()


def test_a_directory_where_a_link_goes_is_refused(program: Program) -> None:
    (program.folder / "etc/main.conf").unlink()
    (program.folder / "etc/main.conf").mkdir()
    with pytest.raises(TreeError, match=r"main.conf is a directory, expected a file, a symlink or nothing"):
        apply(make_spec(program))
