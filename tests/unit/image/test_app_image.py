# SPDX-License-Identifier: GPL-3.0-or-later
"""An app's own Containerfile: where it is looked for, and what it gets to see."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.image.engine import EngineError
from ansible_collections.webops.wsgi.plugins.modules.app_image import _own_recipe


@pytest.fixture
def asked(tmp_path: Path) -> dict[str, Any]:
    """Options of the module, with a source that has a Containerfile and a package."""
    archive = tmp_path / "source.tar.gz"
    with tarfile.open(archive, "w:gz") as tree:
        for name, text in {"docker/Dockerfile": b"FROM x\n", "app/__init__.py": b""}.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(text), 0o644
            tree.addfile(member, io.BytesIO(text))
    files = {"Containerfile": {"text": "USER 1\n", "mode": 0o644}}
    return {
        "archive": str(archive),
        "stamp": 1_000_000_000,
        "own": "docker/Dockerfile",
        "containerfile": "Containerfile",
        "files": files,
    }


def test_it_is_added_to_and_its_source_is_readable_whatever_the_umask_is(asked: dict[str, Any], tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        recipe = _own_recipe(asked, tmp_path / "source", tmp_path / "context")
    finally:
        os.umask(before)
    assert Path(recipe).read_text() == "FROM x\nUSER 1\n"
    assert (tmp_path / "source/app").stat().st_mode & 0o777 == 0o755


def test_one_that_the_source_lacks(asked: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r'image.containerfile is "Dockerfile", which is no file of the source'):
        _own_recipe({**asked, "own": "Dockerfile"}, tmp_path / "source", tmp_path / "context")
