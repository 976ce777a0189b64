# SPDX-License-Identifier: GPL-3.0-or-later
"""`make release`, in a clone."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path

import pytest
from roles import ROOT
from testbed import errors, release


def git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone of what is here, changes included, as a collection that Ansible finds."""
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "Ada")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "ada@example.com")
    root = tmp_path / "ansible_collections" / "webops" / "wsgi"
    subprocess.run(["git", "clone", "--quiet", "--no-tags", str(ROOT), str(root)], check=True)
    changes = subprocess.run(["git", "diff", "HEAD", "--binary"], cwd=ROOT, check=True, capture_output=True).stdout
    if changes:
        subprocess.run(["git", "apply", "-"], cwd=root, input=changes, check=True)
        git(root, "commit", "--quiet", "--all", "--message", "What is not committed yet")
    return root


def test_a_release_has_changelog_tag_and_tarball(clone: Path, tmp_path: Path) -> None:
    tarball = release.release("7.1.0", clone, tmp_path)
    assert git(clone, "describe", "--tags").strip() == "v7.1.0"
    assert not git(clone, "status", "--porcelain")
    assert not list((clone / release.FRAGMENTS).glob("*.yml"))
    assert "v7.1.0" in (clone / "CHANGELOG.rst").read_text()
    assert "webops.wsgi.explain" in (clone / "CHANGELOG.rst").read_text().replace("\n", "")
    assert "\nversion: 7.1.0\n" in (clone / "galaxy.yml").read_text()
    with tarfile.open(tarball) as content:
        names = content.getnames()
    assert {"MANIFEST.json", "README.md", "LICENSE", "CHANGELOG.rst", "meta/runtime.yml"} <= set(names)
    with pytest.raises(errors.TestbedError, match=r"7\.0\.9 is not later than 7\.1\.0"):
        release.release("7.0.9", clone, tmp_path)
    with pytest.raises(errors.TestbedError, match="nothing to release"):
        release.release("7.1.1", clone, tmp_path)


def test_a_tree_with_changes_is_refused(clone: Path, tmp_path: Path) -> None:
    (clone / "new").touch()
    with pytest.raises(errors.TestbedError, match="the tree has changes"):
        release.release("7.1.0", clone, tmp_path)


@pytest.mark.parametrize("version", ["", "1", "v1.2.3", "1.2.3-rc1", "1.2.3; rm"])
def test_what_is_no_version(version: str) -> None:
    with pytest.raises(errors.TestbedError, match="is no version"):
        release.check(version, [])


def test_versions_are_compared_as_numbers() -> None:
    release.check("0.10.0", ["v0.9.1", "v0.2.0", "other"])
    with pytest.raises(errors.TestbedError, match="not later"):
        release.check("0.9.1", ["v0.9.1"])
