# SPDX-License-Identifier: GPL-3.0-or-later
"""Directories: what belongs to an app, and when its identity changes."""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources import directory, model, resolve
from trees import archived, git, make_tree, with_submodule


def resolve_path(root: Path, cache: Path) -> model.Source:
    return resolve.resolve({"kind": "path", "path": str(root)}, cache)


@pytest.mark.parametrize("within_git", [True, False])
def test_gitignore_is_honoured_inside_and_outside_a_repository(tmp_path: Path, within_git: bool) -> None:
    root = make_tree(
        tmp_path / "app", {"app.py": "", ".gitignore": "*.log\nbig/\n", "x.log": "", "big/data": "", "sub/y.log": ""}
    )
    if within_git:
        git(root, "init", "-q")
    assert archived(resolve_path(root, tmp_path), tmp_path) == [".gitignore", "app.py"]


@pytest.fixture
def service(repository: Path) -> Path:
    """A directory of a repository whose .gitignore leaves a file of it out."""
    make_tree(repository, {".gitignore": ".env\n", "service/app.py": "", "service/.env": "SECRET=1\n"})
    assert directory.list_files(repository / "service") == ["app.py"]
    return repository / "service"


def test_repository_of_another_user_is_refused_with_the_fix(service: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(model.SourceError, match=r"dubious ownership .* git config --global --add safe\.directory"):
        directory.list_files(service)


def test_repository_that_is_broken_is_refused(service: Path) -> None:
    shutil.rmtree(service.parent / ".git")
    (service.parent / ".git").write_text("gitdir: /nonexistent\n")
    with pytest.raises(model.SourceError, match="not a git repository: /nonexistent"):
        directory.list_files(service)


def test_repository_is_not_read_without_git(service: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(model.SourceError, match="install git here"):
        directory.list_files(service)


def test_repository_on_another_file_system_is_refused(tmp_path: Path) -> None:
    """As git sees a repository of which nothing but a directory `.git` is in sight."""
    root = make_tree(tmp_path / "mono/service", {"app.py": ""})
    (root.parent / ".git").mkdir()
    with pytest.raises(model.SourceError, match=r"git cannot tell .* not a git repository"):
        directory.list_files(root)


def test_ceiling_of_another_purpose_hides_no_repository(service: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(service.parent))
    assert directory.list_files(service) == ["app.py"]


@pytest.mark.parametrize("within_git", [True, False])
def test_files_that_git_leaves_out_for_one_person_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, within_git: bool
) -> None:
    files = {"app.py": "", ".gitignore": "*.log\n", "notes.txt": "", "venv/pyvenv.cfg": "", ".DS_Store": ""}
    root = make_tree(tmp_path / "app", files)
    if within_git:
        git(root, "init", "-q")
    make_tree(tmp_path, {"home/.config/git/ignore": "venv/\n.DS_Store\n"})
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert directory.list_files(root) == [".gitignore", "app.py", "notes.txt"]
    make_tree(tmp_path, {"home/.config/git/ignore": "notes.txt\n"})
    with pytest.raises(model.SourceError, match=r"has notes\.txt, which git leaves out for you alone"):
        directory.list_files(root)


@pytest.mark.parametrize("within_git", [True, False])
def test_directory_that_cannot_be_read_is_refused(within_git: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setenv("HOME", folder)
        root = make_tree(Path(folder), {"app.py": "", "closed/secret.py": ""})
        if within_git:
            git(root, "init", "-q")
        root.chmod(0o755)
        (root / "closed").chmod(0)
        with pytest.raises(model.SourceError, match="Permission denied") as caught, as_ordinary_user(root):
            resolve_path(root, root)
        (root / "closed").chmod(0o700)
        assert "closed" in str(caught.value)


@contextmanager
def as_ordinary_user(*owned: Path) -> Iterator[None]:
    """Root may read everything: be somebody else, who owns some files."""
    if os.geteuid():
        yield
        return
    for folder in owned:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, 65534, -1)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_leftovers_of_python_and_git_do_not_belong(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "app", {"app.py": "", "__pycache__/app.pyc": "", ".venv/bin/python": "", "old.pyc": ""})
    assert directory.list_files(root) == ["app.py"]


def test_file_deleted_but_not_committed_is_left_out(repository: Path) -> None:
    make_tree(repository, {"second.py": ""})
    git(repository, "add", ".")
    (repository / "second.py").unlink()
    assert directory.list_files(repository) == ["app.py"]


@pytest.mark.parametrize("change", ["content", "name", "executable", "link"])
def test_identity_follows_what_makes_a_tree_run_differently(tmp_path: Path, change: str) -> None:
    root = make_tree(tmp_path / "app", {"app.py": "one", "b.py": "two"})
    before = resolve_path(root, tmp_path).identity
    {
        "content": lambda: (root / "app.py").write_text("1on"),
        "name": lambda: (root / "b.py").rename(root / "c.py"),
        "executable": lambda: (root / "app.py").chmod(0o755),
        "link": lambda: (root / "l").symlink_to("app.py"),
    }[change]()
    assert resolve_path(root, tmp_path).identity != before


def test_identity_ignores_times_and_place(tmp_path: Path) -> None:
    one, two = make_tree(tmp_path / "one", {"app.py": "x"}), make_tree(tmp_path / "two", {"app.py": "x"})
    os.utime(one / "app.py", (1, 1))
    assert resolve_path(one, tmp_path).identity == resolve_path(two, tmp_path).identity


def test_hard_linked_files_both_arrive_whole(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "app", {"a": "same"})
    os.link(root / "a", root / "b")
    found = resolve_path(root, tmp_path)
    assert found.write
    found.write(tmp_path / "out.tar.gz")
    with tarfile.open(tmp_path / "out.tar.gz") as archive:
        assert {member.name: member.isreg() for member in archive} == {"a": True, "b": True}


def test_empty_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(model.SourceError, match=str(tmp_path)):
        resolve_path(tmp_path, tmp_path)


@pytest.mark.parametrize("within_git", [True, False])
@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("dist", ".gitignore:1:dist/"),
        ("assets", "assets/.gitignore:1:*"),
        ("styles.min", ".gitignore:2:*.css"),
        ("settings.local", ".gitignore:3:settings.local"),
        ("static", ""),
        ("mixed", ""),
        ("empty", ""),
    ],
)
def test_rule_that_leaves_all_of_a_directory_or_file_out_is_named(
    tmp_path: Path, within_git: bool, name: str, rule: str
) -> None:
    files = ["dist/main.js", "styles.min/a.css", "settings.local", "static/a.js", "mixed/a.css", "mixed/a.js"]
    root = make_tree(tmp_path / "app", {**dict.fromkeys(files, ""), "assets/.gitignore": "*\n", "assets/a.js": ""})
    make_tree(root, {".gitignore": "dist/\n*.css\nsettings.local\n"})
    (root / "empty").mkdir()
    if within_git:
        git(root, "init", "-q")
    assert directory.left_out(root, name) == rule


def test_nested_repository_comes_along_outside_a_repository_too(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "app", {"app.py": "", ".gitignore": "", "lib/lib.py": ""})
    git(root / "lib", "init", "-q")
    assert directory.list_files(root) == [".gitignore", "app.py", "lib/lib.py"]


@pytest.mark.parametrize("tracked", [True, False])
def test_submodule_of_a_path_comes_along(repository: Path, tmp_path: Path, tracked: bool) -> None:
    with_submodule(repository)
    if tracked:
        git(repository, "add", "vendor")
    assert archived(resolve_path(repository, tmp_path), tmp_path) == ["app.py", "vendor/.gitignore", "vendor/m.py"]


def test_empty_submodule_is_named(repository: Path, tmp_path: Path) -> None:
    git(with_submodule(repository), "add", "vendor")
    shutil.rmtree(repository / "vendor")
    (repository / "vendor").mkdir()
    with pytest.raises(model.SourceError, match="the submodule vendor is empty; run `git submodule update --init`"):
        resolve_path(repository, tmp_path)


def test_link_to_a_directory_stays(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "app", {"app/static/a.css": ""})
    (root / "static").symlink_to("app/static")
    assert archived(resolve_path(root, tmp_path), tmp_path) == ["app/static/a.css", "static"]


@pytest.mark.parametrize("within_git", [True, False])
def test_virtual_environments_do_not_belong(tmp_path: Path, within_git: bool) -> None:
    root = make_tree(tmp_path / "app", {"app.py": "", "env/pyvenv.cfg": "", "env/lib/x.py": "", "environment.py": ""})
    (root / "env/python").symlink_to("/usr/bin/python3")
    if within_git:
        git(root, "init", "-q")
    assert directory.list_files(root) == ["app.py", "environment.py"]


def test_pipes_and_sockets_do_not_belong(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "app", {"app.py": ""})
    os.mkfifo(root / "pipe")
    assert archived(resolve_path(root, tmp_path), tmp_path) == ["app.py"]
