# SPDX-License-Identifier: GPL-3.0-or-later
"""Git LFS: no pointer is deployed as if it were the file."""

from __future__ import annotations

import hashlib
import os
import sys
import tarfile
from pathlib import Path

import pytest
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources import model, resolve
from trees import archived, git, make_archive, make_tree

CONTENT = "weights " * 500
OBJECT = hashlib.sha256(CONTENT.encode()).hexdigest()
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{OBJECT}\nsize {len(CONTENT)}\n"

# What git runs for `git lfs fetch`, with a directory as the server. The mirror says where objects are kept.
STAND_IN = f"""#!{sys.executable}
import os, pathlib, shutil, subprocess, sys
assert sys.argv[1:4] == ["fetch", "--include=", "--exclude="], sys.argv
assert sys.argv[4].startswith("file:///"), sys.argv
head = subprocess.check_output(["git", "rev-parse", "HEAD"], text=True).strip()
assert head == sys.argv[5], "where it reads .lfsconfig"
kept = subprocess.check_output(["git", "config", "lfs.storage"], text=True).strip()
for found in pathlib.Path(os.environ["LFS_SERVER"]).iterdir():
    target = pathlib.Path(kept, "objects", found.name[:2], found.name[2:4], found.name)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(found, target)
"""


@pytest.fixture
def git_lfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git-lfs; returns the directory of its server."""
    program = make_tree(tmp_path / "bin", {"git-lfs": STAND_IN}) / "git-lfs"
    program.chmod(0o755)
    server = make_tree(tmp_path / "server", {OBJECT: CONTENT})
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("LFS_SERVER", str(server))
    return server


@pytest.fixture
def large(repository: Path) -> Path:
    """A repository with a pointer, and with a text about pointers, which is none."""
    make_tree(repository, {"data/model.bin": POINTER, "README": f"A pointer:\n{POINTER}", "app.sh": ""})
    (repository / "app.sh").chmod(0o755)
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "large")
    return repository


def resolved(repository: Path, cache: Path) -> model.Source:
    return resolve.resolve({"kind": "git", "git": str(repository), "version": "main"}, cache)


def test_files_are_fetched(large: Path, git_lfs: Path, tmp_path: Path) -> None:
    assert archived(resolved(large, tmp_path / "cache"), tmp_path) == ["README", "app.py", "app.sh", "data/model.bin"]
    with tarfile.open(tmp_path / "out.tar.gz") as archive:
        member = archive.extractfile("data/model.bin")
        assert member
        assert member.read().decode() == CONTENT
        assert archive.getmember("app.sh").mode == 0o755


def test_file_of_a_submodule_is_fetched(large: Path, git_lfs: Path, tmp_path: Path) -> None:
    outer = make_tree(tmp_path / "outer", {"app.py": ""})
    git(outer, "init", "-q")
    git(outer, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(large), "vendor")
    git(outer, "commit", "-qm", "one")
    wanted = {"kind": "git", "git": str(outer), "version": "main", "submodules": True}
    archived(resolve.resolve(wanted, tmp_path / "cache"), tmp_path)
    with tarfile.open(tmp_path / "out.tar.gz") as archive:
        assert archive.getmember("vendor/data/model.bin").size == len(CONTENT)


def test_without_git_lfs_the_files_are_named(large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _program: None)
    with pytest.raises(model.SourceError, match=r"has data/model\.bin in Git LFS.* no git-lfs .* install it here"):
        archived(resolved(large, tmp_path / "cache"), tmp_path)


def test_file_that_the_server_does_not_have_is_named(large: Path, git_lfs: Path, tmp_path: Path) -> None:
    (git_lfs / OBJECT).unlink()
    with pytest.raises(model.SourceError, match=r"does not have data/model\.bin; run `git lfs push --all`"):
        archived(resolved(large, tmp_path / "cache"), tmp_path)


def test_pointer_in_a_directory_is_refused(large: Path, tmp_path: Path) -> None:
    with pytest.raises(
        model.SourceError, match=r"pointers of Git LFS in the place of data/model\.bin; run `git lfs pull`"
    ):
        resolve.resolve({"kind": "path", "path": str(large)}, tmp_path / "cache")


def test_pointer_in_an_archive_is_refused(tmp_path: Path) -> None:
    digest = make_archive(tmp_path / "a.tar.gz", {"x/app.py": "", "x/model.bin": POINTER})
    wanted = {"kind": "archive", "archive": str(tmp_path / "a.tar.gz"), "sha256": digest}
    with pytest.raises(model.SourceError, match=r"pointers of Git LFS in the place of model\.bin"):
        archived(resolve.resolve(wanted, tmp_path / "cache"), tmp_path)
