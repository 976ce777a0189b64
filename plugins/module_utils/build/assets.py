# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Static files made ready for the web server when an app is built, so that a request costs it nothing but a copy.

Files that compress well get copies beside them that nginx sends as they are (C(gzip_static), C(brotli_static)). Files
whose names carry a digest of their contents are kept in C(/srv/<app>/assets) as long as any build has them: a browser
that shows a page of the release before can still load what that page names. They are hard links, so they take no room
of their own.
"""

from __future__ import annotations

import gzip
import os
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

ASSETS = "assets"

# Pictures, fonts (woff2) and archives are compressed already.
COMPRESSIBLE = frozenset(
    {".css", ".csv", ".html", ".js", ".json", ".map", ".md", ".mjs", ".svg", ".txt", ".wasm", ".webmanifest", ".xml"}
)
SMALLEST = 256  # bytes; what does not fill one packet arrives no sooner for being smaller
LEVEL = 9  # of gzip: done once, so the smallest is best
BROTLI = ["brotli", "--best", "--stdout"]  # Debian's program; its best is 11


def compress(folders: Iterable[Path], brotli: bool = False) -> None:
    """Write compressed copies beside each file that becomes smaller by it; one that the app ships is left alone.

    Args:
        folders: Where the files are.
        brotli: Whether to write C(.br) beside C(.gz).

    Raises:
        OSError: A copy cannot be written, or there is no program C(brotli).
        subprocess.CalledProcessError: C(brotli) failed.
    """
    for folder in folders:
        # A list, since copies are no files to compress.
        for path in list(_files(folder)):
            if path.suffix.lower() not in COMPRESSIBLE or path.stat().st_size < SMALLEST:
                continue
            _write_smaller(path, ".gz", _gzip)
            if brotli:
                _write_smaller(path, ".br", _brotli)


def _write_smaller(path: Path, suffix: str, pack: Callable[[Path], bytes]) -> None:
    target, found = path.with_name(f"{path.name}{suffix}"), path.stat()
    if target.exists():
        return
    packed = pack(path)
    if len(packed) < found.st_size:
        target.write_bytes(packed)
        os.utime(target, (found.st_mtime, found.st_mtime))


def _gzip(path: Path) -> bytes:
    # No time in the copy: equal files stay equal.
    return gzip.compress(path.read_bytes(), LEVEL, mtime=0)


def _brotli(path: Path) -> bytes:
    return subprocess.run([*BROTLI, str(path)], check=True, capture_output=True).stdout


def links_out(source: Path, folders: Iterable[str], persistent: Iterable[str] = ()) -> Iterator[Path]:
    """Symlinks in public directories that lead out of the source tree, where nginx would show what it may read.

    Args:
        source: The source tree.
        folders: Its public directories.
        persistent: Its directories that are links into the app's state directory.
    """
    kept = {source / name for name in persistent}
    for name in folders:
        if not _inside(source / name, source):
            if not kept.intersection((source / name, *(source / name).parents)):
                yield source / name
            continue
        for here, inside, names in os.walk(source / name):
            found = {Path(here, each) for each in (*inside, *names)} - kept
            yield from sorted(path for path in found if path.is_symlink() and not _inside(path, source))


def inside(source: Path, folders: Iterable[str]) -> list[str]:
    """Those of the directories that are in the source tree, wherever links lead."""
    return [name for name in folders if _inside(source / name, source)]


def _inside(path: Path, source: Path) -> bool:
    # Not Path.resolve, which fails for links that lead in a circle.
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(source))


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
