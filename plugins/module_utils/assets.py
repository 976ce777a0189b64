# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Static files made ready for the web server when an app is built, so that a request costs it nothing but a copy.

Files that compress well get a copy beside them that nginx sends as it is (C(gzip_static)). Files whose names carry a
digest of their contents are kept in C(/srv/<app>/assets) as long as any build has them: a browser that shows a page of
the release before can still load what that page names. They are hard links, so they take no room of their own.
"""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

ASSETS = "assets"

# Pictures, fonts (woff2) and archives are compressed already.
COMPRESSIBLE = frozenset(
    {".css", ".csv", ".html", ".js", ".json", ".map", ".md", ".mjs", ".svg", ".txt", ".wasm", ".webmanifest", ".xml"}
)
SMALLEST = 256  # bytes; what does not fill one packet arrives no sooner for being smaller
LEVEL = 9  # of gzip: done once, so the smallest is best


def compress(folders: Iterable[Path]) -> None:
    """Write a compressed copy beside each file that becomes smaller by it; one that the app ships is left alone."""
    for folder in folders:
        for path in _files(folder):
            target = path.with_name(f"{path.name}.gz")
            if path.suffix.lower() not in COMPRESSIBLE or path.stat().st_size < SMALLEST or target.exists():
                continue
            _compress(path, target)


def _compress(path: Path, target: Path) -> None:
    plain, stamp = path.read_bytes(), path.stat().st_mtime
    # No time in the copy: equal files stay equal.
    packed = gzip.compress(plain, LEVEL, mtime=0)
    if len(packed) < len(plain):
        target.write_bytes(packed)
        os.utime(target, (stamp, stamp))


def keep(app: Path, source: Path, folders: Iterable[str], fingerprint: str) -> None:
    """Keep the files of a build whose names carry a digest, and let go of those that no build has any more.

    Args:
        app: The app's directory, C(/srv/<app>).
        source: The build's source tree.
        folders: Its public directories.
        fingerprint: Regular expression that is found in the name of such a file; empty for none.
    """
    assets = app / ASSETS
    for name in folders if fingerprint else ():
        for path in _files(source / name):
            if re.search(fingerprint, path.name):
                _link(path, assets, path.relative_to(source))
    for path in list(_files(assets)):
        if path.stat().st_nlink == 1:
            path.unlink()


def _link(path: Path, assets: Path, name: Path) -> None:
    target = assets / name
    for folder in (*reversed(target.relative_to(assets).parents), target.relative_to(assets).parent):
        (assets / folder).mkdir(mode=0o755, exist_ok=True)
        (assets / folder).chmod(0o755)
    scratch = target.with_name(f".{target.name}.new")
    scratch.unlink(missing_ok=True)
    scratch.hardlink_to(path)
    # The newest build's file, so that those of builds that are gone can go.
    scratch.replace(target)
    scratch.unlink(missing_ok=True)  # replace leaves it where both are the same file already


def _files(folder: Path) -> Iterator[Path]:
    """Regular files below a directory, those left out whose name begins with a dot; symlinks are not followed."""
    if folder.is_symlink():  # to where the app writes
        return
    for here, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(here, name)
            if not name.startswith(".") and path.is_file() and not path.is_symlink():
                yield path
