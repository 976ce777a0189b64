# SPDX-License-Identifier: GPL-3.0-or-later
"""What git says of the version of a source."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources import resolve, versions
from trees import archived, git, make_tree


@pytest.mark.parametrize(
    ("tag", "version"),
    [
        ("v1.4.2", "1.4.2"),
        ("1.4", "1.4"),
        ("v2.0-rc1", "2.0rc1"),
        ("api-v1.2.0", "1.2.0"),
        ("services/api/1.2.0", "1.2.0"),
        ("release-2024.10", "2024.10"),
        ("nightly", ""),
        ("v2-old", ""),
        ("", ""),
    ],
)
def test_version_of_a_tag(tag: str, version: str) -> None:
    assert versions.tag_version(tag) == version


def said(repository: Path, version: str, cache: Path) -> str:
    found = resolve.resolve({"kind": "git", "git": str(repository), "version": version}, cache)
    archived(found, cache.parent)
    return found.version()


def commit(repository: Path, *tags: str) -> str:
    git(repository, "commit", "-q", "--allow-empty", "-m", "next")
    for tag in tags:
        git(repository, "tag", tag)
    return git(repository, "rev-parse", "HEAD")


@pytest.mark.parametrize(
    ("tags", "version"),
    [
        (["v2.3.0"], "2.3.1.dev1"),
        (["v2.4rc1"], "2.4rc2.dev1"),
        (["v2.4.dev3"], "2.4.dev1"),
        (["api-2.3"], "2.4.dev1"),
        (["deployed-1x"], "2.dev2"),  # after v1 of the fixture
    ],
)
def test_commit_after_a_tag(repository: Path, tmp_path: Path, tags: list[str], version: str) -> None:
    commit(repository, *tags)
    name = commit(repository)
    assert said(repository, "main", tmp_path / "cache") == f"{version}+g{name[:7]}"
    assert said(repository, name, tmp_path / "cache") == f"{version}+g{name[:7]}"


def test_tag_that_is_named_is_the_version_and_another_build(repository: Path, tmp_path: Path) -> None:
    commit(repository, "v2.3.0", "v2.3.1")
    wanted = [{"kind": "git", "git": str(repository), "version": name} for name in ("v2.3.0", "v2.3.1", "main")]
    found = [resolve.resolve(source, tmp_path / "cache") for source in wanted]
    assert [one.version() for one in found[:2]] == ["2.3.0", "2.3.1"]
    assert len({str(one.identity) for one in found}) == 3


def test_tag_that_came_after_the_commit_is_seen(repository: Path, tmp_path: Path) -> None:
    name = commit(repository)
    assert said(repository, name, tmp_path / "cache") == f"2.dev1+g{name[:7]}"
    git(repository, "tag", "v5.0")
    assert said(repository, name, tmp_path / "cache") == "5.0"


def test_history_without_a_version(repository: Path, tmp_path: Path) -> None:
    git(repository, "tag", "-d", "v1")
    name = commit(repository, "nightly")
    assert said(repository, "main", tmp_path / "cache") == f"0.1.dev2+g{name[:7]}"


def test_work_tree(repository: Path, tmp_path: Path) -> None:
    make_tree(repository, {"service/app.py": ""})
    found = resolve.resolve({"kind": "path", "path": str(repository / "service")}, tmp_path)
    assert found.version() == "1"
    (repository / "app.py").write_text("changed")
    assert re.fullmatch(r"2\.dev0\+g[0-9a-f]{7}\.dirty", found.version())


def test_directory_outside_a_repository_has_none(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "app", {"app.py": ""})
    assert resolve.resolve({"kind": "path", "path": str(root)}, tmp_path).version() == ""


def test_directory_without_git_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    root = make_tree(tmp_path / "app", {"app.py": ""})
    assert resolve.resolve({"kind": "path", "path": str(root)}, tmp_path).version() == ""
