# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Git LFS: pointers that stand in the place of files, and the files, as the program git-lfs fetches them.

A pointer is known by its content, as git-lfs knows it, see https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md.
"""

from __future__ import annotations

import re
import shutil
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from ansible_collections.webops.wsgi.plugins.plugin_utils.sources.git_program import git, git_protocol
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources.model import SourceError, some, without_credentials

SIZES = range(100, 1024)  # of a pointer, in bytes
POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\r?\n(?:ext-.*\n)*oid sha256:([0-9a-f]{64})\r?\nsize [0-9]+\r?\n"
)


def pointers_of_directory(root: Path, files: Iterable[str]) -> list[str]:
    """The files of a directory that are pointers."""
    small = (name for name in files if not (root / name).is_symlink() and (root / name).stat().st_size in SIZES)
    return [name for name in small if POINTER.fullmatch((root / name).read_bytes())]


def pointers_of_archive(path: Path) -> dict[str, str]:
    """The members of a tar archive that are pointers, and the objects that they stand for."""
    found = {}
    with tarfile.open(path) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isreg() and member.size in SIZES else None
            pointer = POINTER.fullmatch(content.read()) if content else None
            if pointer:
                found[member.name] = pointer[1].decode()
    return found


def fill_in(exported: Path, url: str, mirror: Path, commit: str) -> None:
    """Put the files into an archive of a commit whose pointers stand there.

    Args:
        exported: An archive without compression.
        url: The repository.
        mirror: The copy of it that has the commit.
        commit: Which one.

    Raises:
        SourceError: There is no git-lfs, or it cannot fetch them.
    """
    pointers = pointers_of_archive(exported)
    if not pointers:
        return
    said = f"source.git {without_credentials(url)} has {some(pointers)} in Git LFS"
    if not shutil.which("git-lfs"):
        raise SourceError(f"{said}, and this machine has no git-lfs to fetch them with; install it here")
    try:
        objects = _fetched(url, mirror, commit)
    except SourceError as error:
        raise SourceError(f"{error}; it has {some(pointers)} in Git LFS") from None
    missing = [name for name, found in pointers.items() if not _stored(objects, found).is_file()]
    if missing:
        raise SourceError(f"{said}, and its server does not have {some(missing)}; run `git lfs push --all` for it")
    _replace(exported, {name: _stored(objects, found) for name, found in pointers.items()})


def _fetched(url: str, mirror: Path, commit: str) -> Path:
    """Fetch the objects of a commit; returns where they are."""
    objects = mirror / "lfs"
    # git-lfs reads the commit's .lfsconfig from HEAD, and its place from the settings of the mirror before all others.
    git(["-C", str(mirror), "update-ref", "--no-deref", "HEAD", commit], url)
    git(["-C", str(mirror), "config", "lfs.storage", str(objects)], url)
    address = Path(url).as_uri() if git_protocol(url) == "file" and url.startswith("/") else url
    git(["-C", str(mirror), "lfs", "fetch", "--include=", "--exclude=", address, commit], url)
    return objects / "objects"


def _stored(objects: Path, digest: str) -> Path:
    return objects / digest[:2] / digest[2:4] / digest


def _replace(exported: Path, files: Mapping[str, Path]) -> None:
    filled = exported.with_name("filled.tar")
    with tarfile.open(exported) as source, tarfile.open(filled, "w", format=tarfile.PAX_FORMAT) as target:
        for member in source:
            if member.name in files:
                with files[member.name].open("rb") as content:
                    member.size = files[member.name].stat().st_size
                    target.addfile(member, content)
            else:
                target.addfile(member, source.extractfile(member) if member.isreg() else None)
    filled.replace(exported)
