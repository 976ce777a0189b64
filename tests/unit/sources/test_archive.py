# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives: their digest, and that they cannot lead outside."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources import model, resolve
from trees import archived, make_archive


def test_credentials_of_an_archive_are_not_shown(tmp_path: Path) -> None:
    (tmp_path / "archives").mkdir()
    text = b"no archive"
    digest = hashlib.sha256(text).hexdigest()
    (tmp_path / "archives" / digest).write_bytes(text)
    location = "https://user:hunter2@files.example.test/a.tar.gz?signature=hunter3"
    found = resolve.resolve({"kind": "archive", "archive": location, "sha256": digest}, tmp_path)
    assert found.label == f"https://files.example.test/a.tar.gz ({digest[:12]})"
    with pytest.raises(model.SourceError, match=r"https://files\.example\.test/a\.tar\.gz is not") as caught:
        archived(found, tmp_path)
    assert "hunter" not in str(caught.value)


@pytest.mark.parametrize("names", [["app-1.0/app.py", "app-1.0/b/c.py"], ["app.py", "b/c.py"]])
def test_single_top_directory_is_left_out(tmp_path: Path, names: list[str]) -> None:
    digest = make_archive(tmp_path / "a.tar.gz", dict.fromkeys(names, "x"))
    found = resolve.resolve(
        {"kind": "archive", "archive": str(tmp_path / "a.tar.gz"), "sha256": digest}, tmp_path / "cache"
    )
    assert archived(found, tmp_path) == ["app.py", "b/c.py"]


def test_wrong_digest_names_both(tmp_path: Path) -> None:
    digest = make_archive(tmp_path / "a.tar.gz", {"app.py": ""})
    found = resolve.resolve(
        {"kind": "archive", "archive": str(tmp_path / "a.tar.gz"), "sha256": "0" * 64}, tmp_path / "cache"
    )
    with pytest.raises(model.SourceError, match=f"0000, but the archive has {digest}"):
        archived(found, tmp_path)


@pytest.mark.parametrize(
    ("members", "links"),
    [
        ({"../evil": ""}, {}),
        ({"a/../../evil": ""}, {}),
        ({"app.py": ""}, {"l": "../../etc"}),
        ({"app.py": ""}, {"l": "/etc/passwd"}),
    ],
)
def test_archive_cannot_lead_outside(tmp_path: Path, members: dict[str, str], links: dict[str, str]) -> None:
    digest = make_archive(tmp_path / "a.tar.gz", {"app.py": "", **members}, links)
    found = resolve.resolve(
        {"kind": "archive", "archive": str(tmp_path / "a.tar.gz"), "sha256": digest}, tmp_path / "cache"
    )
    with pytest.raises(model.SourceError, match="leads out of the source"):
        archived(found, tmp_path)
