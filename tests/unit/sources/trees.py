# SPDX-License-Identifier: GPL-3.0-or-later
"""Trees, repositories and archives for tests, and what is in an archive."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
from pathlib import Path

from ansible_collections.webops.wsgi.plugins.plugin_utils.sources import model


def make_tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def archived(found: model.Source, folder: Path) -> list[str]:
    assert found.write
    found.write(folder / "out.tar.gz")
    with tarfile.open(folder / "out.tar.gz") as archive:
        return sorted(member.name for member in archive.getmembers() if not member.isdir())


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.test", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def make_archive(path: Path, members: dict[str, str], links: dict[str, str] | None = None) -> str:
    with tarfile.open(path, "w:gz") as archive:
        for name, text in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
        for name, target in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def refs(repository: Path) -> str:
    return git(repository, "for-each-ref")


def with_submodule(repository: Path) -> Path:
    make_tree(repository / "vendor", {"m.py": "", ".gitignore": "*.log\n", "x.log": ""})
    git(repository / "vendor", "init", "-q")
    git(repository / "vendor", "add", ".")
    git(repository / "vendor", "commit", "-qm", "m")
    return repository
