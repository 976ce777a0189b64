# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of trees that their makers may still change."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.build import copying

ROOM = 10_000_000


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    made = tmp_path / "made"
    (made / "lib/inner").mkdir(parents=True)
    (made / "lib/inner/a.py").write_text("a = 1\n")
    os.utime(made / "lib/inner/a.py", (1_600_000_000, 1_600_000_000))
    (made / "run").write_text("#!/bin/sh\n")
    (made / "run").chmod(0o777)
    (made / "python").symlink_to("/usr/bin/python3")
    return made


def copied(tree: Path) -> Path:
    copying.copy_tree(tree, tree.with_name("copy"), os.getuid(), ROOM)
    return tree.with_name("copy")


def test_copy_has_names_contents_times_and_the_executable_bit(tree: Path) -> None:
    copy = copied(tree)
    assert sorted(os.path.relpath(path, copy) for path in copy.rglob("*")) == [
        "lib",
        "lib/inner",
        "lib/inner/a.py",
        "python",
        "run",
    ]
    assert (copy / "lib/inner/a.py").read_text() == "a = 1\n"
    assert (copy / "lib/inner/a.py").stat().st_mtime == 1_600_000_000
    assert os.readlink(copy / "python") == "/usr/bin/python3"
    modes = {path.name: stat.S_IMODE(path.lstat().st_mode) for path in copy.rglob("*") if not path.is_symlink()}
    assert modes == {"lib": 0o755, "inner": 0o755, "a.py": 0o644, "run": 0o755}


def test_what_was_open_or_has_another_name_does_not_reach_the_copy(tree: Path) -> None:
    """A change of owner would leave both."""
    os.link(tree / "run", tree.parent / "other-name")
    with (tree / "run").open("a") as held:
        copy = copied(tree)
        held.write("evil")
    (tree.parent / "other-name").write_text("evil")
    assert (copy / "run").read_text() == "#!/bin/sh\n"


def make_set_id(tree: Path) -> None:
    (tree / "run").chmod(0o6755)
    (tree / "lib").chmod(0o3777)


def test_set_id_and_sticky_bits_are_dropped(tree: Path) -> None:
    make_set_id(tree)
    copy = copied(tree)
    assert {stat.S_IMODE((copy / name).stat().st_mode) for name in ("run", "lib")} == {0o755}


def deep(tree: Path) -> None:
    here = os.getcwd()
    os.chdir(tree)
    for _ in range(copying.MAX_DEPTH + 1):
        os.mkdir("d")
        os.chdir("d")
    os.chdir(here)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda tree: os.mkfifo(tree / "lib/pipe"), "has made/lib/pipe, which is not a file, a directory or a link"),
        (lambda tree: os.truncate(tree / "run", 10**12), "does not fit on the disk, at made/run"),
        (deep, "more than 100 directories inside each other"),
    ],
)
def test_what_is_not_copied_is_named(tree: Path, spoil: Callable[[Path], None], message: str) -> None:
    spoil(tree)
    with pytest.raises(copying.CopyError, match=message):
        copied(tree)


def test_files_of_others_are_not_read(tree: Path) -> None:
    """Such as the second name of a file that the maker cannot read."""
    with pytest.raises(copying.CopyError, match="which belongs to another user"):
        copying.copy_tree(tree, tree.with_name("copy"), os.getuid() + 1, ROOM)


@pytest.mark.parametrize("name", ["made", "lib"])
def test_links_are_not_followed(tree: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even one that takes the place of a directory once that has been looked at."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/key").write_text("s")
    if name == "made":
        tree.rename(tmp_path / "away")
        tree.symlink_to(tmp_path / "secret")
    else:
        copy_inner = copying._copy_inner

        def swapped(*arguments: object) -> None:
            if (tree / "lib").is_symlink() is False:
                (tree / "lib").rename(tree / "away")
                (tree / "lib").symlink_to(tmp_path / "secret")
            copy_inner(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(copying, "_copy_inner", swapped)
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        copied(tree)
    assert not list((tmp_path / "copy").rglob("key"))
