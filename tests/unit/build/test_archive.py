# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives of source trees: what is taken, and that nothing gets out, on the controller and on the host."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Sequence
from pathlib import Path

import archives
import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.build import archive as tree_archive
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources import model, resolve

ROWS = [pytest.param(*row, id=name) for name, row in archives.ARCHIVES.items()]


@pytest.fixture(autouse=True, params=["data_filter", "no data_filter"])
def python(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian 12's Python has no filters for archives."""
    if request.param == "no data_filter":
        for name in ("data_filter", "tar_filter", "fully_trusted_filter"):
            monkeypatch.delattr(tarfile, name, raising=False)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory in a directory: what gets out of it is seen."""
    (tmp_path / "outside/home").mkdir(parents=True)
    return tmp_path / "outside/home"


def unpack(archive: Path, home: Path) -> None:
    with archive.open("rb") as stream:
        tree_archive.unpack(stream, home / "src", 1_600_000_000)


def resolved(archive: Path, digest: str) -> model.Source:
    wanted = {"kind": "archive", "archive": str(archive), "sha256": digest}
    return resolve.resolve(wanted, archive.parent / "cache")


@pytest.mark.parametrize(("members", "message"), ROWS)
def test_controller_refuses(tmp_path: Path, members: Sequence[archives.Member], message: str) -> None:
    found = resolved(tmp_path / "a.tar.gz", archives.write(tmp_path / "a.tar.gz", members))
    assert found.write
    with pytest.raises(model.SourceError, match=r"source\.archive .*a\.tar\.gz has ") as caught:
        found.write(tmp_path / "out.tar.gz")
    assert message in str(caught.value)


@pytest.mark.parametrize(("members", "message"), ROWS)
def test_host_refuses(tmp_path: Path, home: Path, members: Sequence[archives.Member], message: str) -> None:
    archives.write(tmp_path / "a.tar.gz", members)
    with pytest.raises(tree_archive.TreeError) as caught:
        unpack(tmp_path / "a.tar.gz", home)
    assert message in str(caught.value)
    assert os.listdir(home.parent) == ["home"]
    assert os.listdir(home) == ["src"]
    assert not Path("/tmp/evil").exists()


@pytest.mark.parametrize("members", [pytest.param(row, id=name) for name, row in archives.HARD_LINKS.items()])
def test_hard_links_are_to_files_of_the_archive(tmp_path: Path, home: Path, members: Sequence[archives.Member]) -> None:
    found = resolved(tmp_path / "a.tar.gz", archives.write(tmp_path / "a.tar.gz", members))
    assert found.write
    with pytest.raises(model.SourceError, match=r"a (hard )?link to"):
        found.write(tmp_path / "out.tar.gz")
    with pytest.raises(tree_archive.TreeError):
        unpack(tmp_path / "a.tar.gz", home)


def test_hard_link_to_a_file_becomes_a_file(tmp_path: Path, home: Path) -> None:
    members = [archives.file("f", "text"), archives.hard("h", "f")]
    found = resolved(tmp_path / "a.tar.gz", archives.write(tmp_path / "a.tar.gz", members))
    assert found.write
    found.write(tmp_path / "out.tar.gz")
    unpack(tmp_path / "out.tar.gz", home)
    assert (home / "src/h").read_text() == "text"
    assert (home / "src/h").stat().st_nlink == 1


@pytest.mark.parametrize("member", [pytest.param(row, id=name) for name, row in archives.MODES.items()])
def test_special_modes_are_dropped_by_the_controller_and_refused_by_the_host(
    tmp_path: Path, home: Path, member: archives.Member
) -> None:
    found = resolved(tmp_path / "a.tar.gz", archives.write(tmp_path / "a.tar.gz", [member]))
    with pytest.raises(tree_archive.TreeError, match="set-id and sticky bits"):
        unpack(tmp_path / "a.tar.gz", home)
    assert found.write
    found.write(tmp_path / "out.tar.gz")
    with (tmp_path / "out.tar.gz").open("rb") as stream:
        tree_archive.unpack(stream, tmp_path / "taken", 0)
    assert not (tmp_path / "taken" / member.name).stat().st_mode & tree_archive.SPECIAL_BITS


@pytest.mark.parametrize(("rows", "message"), [pytest.param(*row, id=key) for key, row in archives.GIT_TREES.items()])
def test_git_trees_that_no_git_makes(tmp_path: Path, rows: Sequence[archives.Row], message: str) -> None:
    repository = archives.git_repository(tmp_path / "repository", [(archives.BLOB, "app.py", "x"), *rows])
    found = resolve.resolve({"kind": "git", "git": repository, "version": "main"}, tmp_path / "cache")
    assert found.write
    with pytest.raises(model.SourceError, match=r"source\.git .*repository") as caught:
        found.write(tmp_path / "out.tar.gz")
    assert message in str(caught.value)


def test_sane_tree_arrives_as_it_is(tmp_path: Path, home: Path) -> None:
    root = tmp_path / "tree"
    (root / "static/css").mkdir(parents=True)
    (root / "static/css/a.css").write_text("a{}")
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o6775)
    links = {"current": "static/css", "static/up": "../run.sh", "dangling": "static/none", "two": "current/a.css"}
    for name, target in links.items():
        (root / name).symlink_to(target)
    tree_archive.pack(root, ["static/css/a.css", "run.sh", *links], tmp_path / "a.tar.gz")
    unpack(tmp_path / "a.tar.gz", home)
    made = home / "src"
    assert {name: os.readlink(made / name) for name in links} == links
    assert (made / "two").read_text() == "a{}"
    assert stat.S_IMODE((made / "run.sh").stat().st_mode) == 0o755
    assert {path.lstat().st_mtime for path in made.rglob("*")} == {1_600_000_000}


def test_directory_that_is_named_twice_is_one(tmp_path: Path, home: Path) -> None:
    members = [archives.folder("d"), archives.file("d/f"), archives.folder("d/")]
    archives.write(tmp_path / "a.tar.gz", members)
    unpack(tmp_path / "a.tar.gz", home)
    assert (home / "src/d/f").exists()


@pytest.mark.parametrize("limit", ["MAX_BYTES", "MAX_NAMES"])
def test_limits_are_named(tmp_path: Path, home: Path, limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_archive, limit, 2_000_000 if limit == "MAX_BYTES" else 3)
    members = [archives.file(f"f{at}", "\0" * 1_000_000) for at in range(4)]
    found = resolved(tmp_path / "a.tar.gz", archives.write(tmp_path / "a.tar.gz", members))
    message = "larger than 2 MB unpacked, at 'f" if limit == "MAX_BYTES" else "more than 3 files, at 'f"
    with pytest.raises(tree_archive.TreeError, match=message):
        unpack(tmp_path / "a.tar.gz", home)
    assert found.write
    with pytest.raises(model.SourceError, match=message):
        found.write(tmp_path / "out.tar.gz")


def test_header_without_end_is_not_read(tmp_path: Path, home: Path) -> None:
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        entry = tarfile.TarInfo("././@LongLink")
        entry.type, entry.size = tarfile.GNUTYPE_LONGNAME, 2_000_000
        archive.addfile(entry, io.BytesIO(b"a" * entry.size))
    with pytest.raises(tree_archive.TreeError, match="extended header of 2000000 bytes, the limit is 1000000"):
        unpack(tmp_path / "a.tar.gz", home)


def test_directory_that_leads_out_is_named_before_anything_is_sent(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/settings.py").symlink_to("/etc/app/settings.py")
    with pytest.raises(model.SourceError, match=r"source\.path .* has 'settings.py', a link to '/etc/app/settings.py'"):
        resolve.resolve({"kind": "path", "path": str(tmp_path / "tree")}, tmp_path / "cache")
