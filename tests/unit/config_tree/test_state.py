"""config_tree_state: a tree that leaves nothing to do is told by its name, and no other is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.files import generation_of, is_numbered
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.spec import Spec
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.state import in_place
from tree_program import MAIN, Program, applied, make_spec, site


def asked(spec: Spec) -> str:
    """What a look at the host finds that does not know the files."""
    return in_place(Spec(spec.root, (), links=spec.links, running=spec.running, running_host=spec.running_host))


def test_a_tree_in_service(program: Program) -> None:
    spec = make_spec(program, site("api"))
    assert asked(spec) == ""
    generation = applied(spec).generation
    assert asked(spec) == generation == generation_of({item.dest: item for item in spec.files})


def copy(etc: Path) -> None:
    """As somebody makes it who means to come back."""
    live = etc / "tree.d" / os.readlink(etc / "tree").split("/")[1]
    shutil.copytree(live, f"{live}-backup")
    (etc / "tree").unlink()
    (etc / "tree").symlink_to(f"tree.d/{live.name}-backup")


def edit(etc: Path) -> None:
    (etc / "tree/sites/api.conf").write_text("edited\n")


SPOILT: dict[str, Callable[[Path], object]] = {
    "edited": edit,
    "mode": lambda etc: (etc / "tree/main.conf").chmod(0o600),
    "mode of a directory": lambda etc: (etc / "tree/sites").chmod(0o700),
    "a file more": lambda etc: (etc / "tree/sites/more.conf").write_text(""),
    "a directory more": lambda etc: (etc / "tree/more").mkdir(),
    "a link more": lambda etc: (etc / "tree/more").symlink_to("/etc"),
    "a file less": lambda etc: (etc / "tree/sites/api.conf").unlink(),
    "a name that is no text": lambda etc: open(os.fsencode(etc / "tree") + b"/\xff", "w").close(),
    "a group without a name": lambda etc: os.chown(etc / "tree/main.conf", -1, 54321),
    "something to sweep": lambda etc: (etc / "tree.d/.new-1-2").mkdir(),
    "somebody's copy": lambda etc: copy(etc),
    "a link into it": lambda etc: (etc / "main.conf").unlink(),
    "another generation in service": lambda etc: (etc.parent / "generation-in-service").write_text("0123456789abcdef"),
    "not known to have served": lambda etc: (etc / "tree.d/served").unlink(),
    "no tree": lambda etc: (etc / "tree").unlink(),
    "somebody's directory": lambda etc: ((etc / "tree").unlink(), (etc / "tree").mkdir(), (etc / "tree/x").touch()),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_a_tree_that_leaves_something_to_do(program: Program, spoil: Callable[[Path], object]) -> None:
    spec = make_spec(program, site("api"))
    applied(spec)
    assert asked(spec)
    spoil(program.folder / "etc")
    assert asked(spec) == ""
    if spoil is not SPOILT["somebody's directory"]:
        applied(spec)
        assert asked(spec)


def test_put_right_after_an_edit_it_has_a_number(program: Program) -> None:
    spec = make_spec(program, site("api"))
    name = applied(spec).generation
    edit(program.folder / "etc")
    numbered = applied(spec).generation
    assert asked(spec) == numbered != name
    assert is_numbered(numbered, name)
    assert not is_numbered(name, numbered)


def test_other_files_have_another_name(program: Program) -> None:
    spec = make_spec(program, site("api"))
    generation = applied(spec).generation
    for files in ([MAIN], [MAIN, site("api", "more;\n")], [MAIN, site("other")]):
        assert not is_numbered(generation, generation_of({item.dest: item for item in files}))
