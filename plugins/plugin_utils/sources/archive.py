# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A tar archive as a source, from a file or an address, with its digest."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import tarfile
import zlib
from pathlib import Path
from typing import IO

from ansible_collections.webops.wsgi.plugins.module_utils.build import archive as tree_archive
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources.cache import mark_used
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources.lfs import pointers_of_archive
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources.model import (
    NETWORK_TIMEOUT,
    Source,
    SourceError,
    exclusive,
    naming,
    some,
    without_credentials,
)


def resolve_archive(location: str, sha256: str, cache: Path) -> Source:
    stored = cache / "archives" / sha256
    return Source(
        {"archive": sha256},
        f"{without_credentials(location)} ({sha256[:12]})",
        lambda target: _repack(_stored_archive(location, sha256, stored), without_credentials(location), target),
    )


def _stored_archive(location: str, sha256: str, stored: Path) -> Path:
    with exclusive(stored):
        if stored.exists():
            mark_used(stored)
            return stored
        partial = stored.with_suffix(".partial")
        found = _download(location, partial)
        if found != sha256:
            partial.unlink()
            raise SourceError(
                f"source.sha256 of {without_credentials(location)} is {sha256}, but the archive has {found}; "
                "if the new content is what you want, write that digest instead"
            )
        partial.rename(stored)
    return stored


def _download(location: str, target: Path) -> str:
    digest = hashlib.sha256()
    try:
        with _opened(location) as stream, target.open("wb") as copy:
            while block := stream.read(1 << 20):
                digest.update(block)
                copy.write(block)
    except (OSError, ValueError) as error:
        raise SourceError(f"source.archive {without_credentials(location)} cannot be read: {error}") from None
    return digest.hexdigest()


def _opened(location: str) -> IO[bytes]:
    if "://" not in location:
        return open(location, "rb")
    # Not at the top: a run with nothing to fetch need not wait for it.
    from ansible.module_utils.urls import ConnectionError as RefusedError
    from ansible.module_utils.urls import open_url

    try:
        stream: IO[bytes] = open_url(location, timeout=NETWORK_TIMEOUT)
    except RefusedError as error:  # no OSError: a certificate that is not trusted, for one
        raise OSError(str(error)) from error
    return stream


def _repack(archive: Path, location: str, target: Path) -> None:
    """Copy an archive's files, without the single top-level directory that release archives have."""
    shown = without_credentials(location)
    try:
        with naming(f"source.archive {shown}"):
            tree_archive.repack(archive, target, strip_top=True)
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise SourceError(f"source.archive {shown} is not a tar archive: {error}") from None
    pointers = pointers_of_archive(target)
    if pointers:
        raise SourceError(
            f"source.archive {shown} has pointers of Git LFS in the place of {some(pointers)}; make it from a "
            "work tree where `git lfs pull` has run"
        )
