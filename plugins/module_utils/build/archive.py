# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tar archives of source trees: one check for every tree, made on the controller and again on the host.

What is refused: names that are absolute or have C(..), a name twice (a directory may be), a file or a link with
something below it, links that lead out of the tree however many links that takes, hard links, devices, pipes, and more
than an application's source is. Modes are reduced to the executable bit: the controller drops set-id and sticky bits,
which source directories shared by a group have for reasons of their own, and the host refuses them, since the
controller sends none. Owners and times are left out.

Nothing here needs C(tarfile.data_filter), which Debian 12's Python does not have. This module has no imports beyond the
standard library: its text is sent into the sandbox of a build.
"""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

MAX_NAMES = 200_000
MAX_BYTES = 8_000_000_000  # unpacked
MAX_HEADER = 1_000_000  # bytes of one extended header: a name and a link, with room to spare
MAX_LINKS = 40  # on the way to one file, as Linux has it
SPECIAL_BITS = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX

FILE, DIRECTORY, LINK = "file", "directory", "link"


class TreeError(Exception):
    """A tree that is not taken; the message names the member and what is wrong with it, C(fix) what to do."""

    def __init__(self, message: str, fix: str = "remove it from the source, or replace it with a plain file") -> None:
        super().__init__(message)
        self.fix = fix


class _Member(tarfile.TarInfo):
    """A member whose extended header cannot fill the memory."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        extended = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
        if self.type in (*extended, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK) and self.size > MAX_HEADER:
            raise TreeError(f"has an extended header of {self.size} bytes, the limit is {MAX_HEADER}")
        member: tarfile.TarInfo = super()._proc_member(archive)  # type: ignore[misc]
        return member


class Tree:
    """The names of a tree, checked one by one as they are added, and the links at the end."""

    def __init__(self) -> None:
        self.links: dict[str, str] = {}
        self._kinds: dict[str, str] = {"": DIRECTORY}
        self._folded: dict[str, str] = {}
        self._bytes = 0

    def add(self, name: str, kind: str, size: int = 0, target: str = "") -> str:
        """Add a member and return its normalised name.

        Args:
            name: The name as it is written.
            kind: C(FILE), C(DIRECTORY) or C(LINK).
            size: Bytes of a file.
            target: Where a link leads.

        Raises:
            TreeError: It does not belong in a tree.
        """
        normal = normalised(name)
        for parent in _parents(normal):
            if self._kinds.setdefault(parent, DIRECTORY) != DIRECTORY:
                raise TreeError(f"has {name!r} below {parent!r}, which is a {self._kinds[parent]}")
        if normal in self._kinds and not kind == self._kinds[normal] == DIRECTORY:
            raise TreeError(f"has the name {name!r} twice")
        other = self._folded.setdefault(unicodedata.normalize("NFC", normal), normal)
        if other != normal:
            raise TreeError(f"has the names {other!r} and {normal!r}, which are the same but for their Unicode form")
        self._kinds[normal] = kind
        if kind == LINK:
            self.links[normal] = target
        self._count(name, size)
        return normal

    def _count(self, name: str, size: int) -> None:
        self._bytes += size
        if self._bytes > MAX_BYTES:
            raise TreeError(f"is larger than {MAX_BYTES // 1_000_000} MB unpacked, at {name!r}")
        if len(self._kinds) > MAX_NAMES:
            raise TreeError(f"has more than {MAX_NAMES} files, at {name!r}")

    def check_links(self) -> None:
        """Follow every link through the tree.

        Raises:
            TreeError: One leads out of the tree, or in a circle.
        """
        for name, target in self.links.items():
            wrong = self._astray(name)
            if wrong:
                raise TreeError(
                    f"has {name!r}, a link to {target!r}, which {wrong}",
                    "put what it leads to into the source in its place, or name a source that holds both, and the "
                    "app's directory in it with source.subdirectory",
                )

    def _astray(self, name: str) -> str:
        """What is wrong with where a link leads; empty when nothing is. It may lead to what is not there."""
        here: list[str] = []
        ahead = name.split("/")[::-1]
        followed = 0
        while ahead:
            part = ahead.pop()
            if part == "..":
                if not here:
                    return "leads out of the source"
                here.pop()
                continue
            if part in ("", "."):
                continue
            target = self.links.get("/".join((*here, part)))
            if target is None:
                here.append(part)
                continue
            followed += 1
            if followed > MAX_LINKS:
                return "leads in a circle"
            if target.startswith("/"):
                return "leads out of the source"
            ahead.extend(target.split("/")[::-1])
        return ""


def normalised(name: str) -> str:
    """The one form of a relative name.

    Raises:
        TreeError: It is absolute, has C(..) or is empty.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts:
        raise TreeError(f"has {name!r}, which leads out of the source")
    if not parts:
        raise TreeError(f"has {name!r}, which is not the name of a file")
    return "/".join(parts)


def _parents(name: str) -> Iterator[str]:
    end = name.find("/")
    while end > 0:
        yield name[:end]
        end = name.find("/", end + 1)


# -- on the controller -------------------------------------------------------------------------------------------


def survey(root: Path, names: Iterable[str]) -> Tree:
    """The tree that files and links of a directory make.

    Raises:
        TreeError: They make none that is taken.
    """
    tree = Tree()
    for name in names:
        found = (root / name).lstat()
        if stat.S_ISLNK(found.st_mode):
            tree.add(name, LINK, target=os.readlink(root / name))
        elif stat.S_ISREG(found.st_mode):
            tree.add(name, FILE, found.st_size)
        else:
            raise TreeError(f"has {name!r}, which is not a file, a directory or a link")
    tree.check_links()
    return tree


def pack(root: Path, names: Sequence[str], target: Path) -> None:
    """Write files and links of a directory as a canonical archive.

    Raises:
        TreeError: They make no tree that is taken.
    """
    links = survey(root, names).links
    with _canonical_archive(target) as archive:
        for name in names:
            if name in links:
                archive.addfile(_entry(name, LINK, target=links[name]))
                continue
            with (root / name).open("rb") as content:
                found = os.fstat(content.fileno())
                runs = bool(found.st_mode & stat.S_IXUSR)
                archive.addfile(_entry(name, FILE, found.st_size, runs), content)


def repack(source: Path, target: Path, strip_top: bool = False) -> None:
    """Copy an archive as a canonical one.

    Args:
        source: Any tar archive, compressed or not.
        target: The archive to write.
        strip_top: Whether to leave out a single directory at the top, as release archives have.

    Raises:
        TreeError: It holds no tree that is taken.
        tarfile.TarError: It is not a tar archive.
    """
    tree = Tree()
    with tarfile.open(source, tarinfo=_Member) as archive:
        members = list(_members(archive))
        top = _single_top(members) if strip_top else ""
        with _canonical_archive(target) as copy:
            for member in members:
                name = normalised(member.name)[len(top) :].lstrip("/")
                if name:
                    _copy(archive, member, tree, name, copy)
    tree.check_links()


def add(target: Path, files: Mapping[str, Path]) -> None:
    """Write a canonical archive again, with further files.

    Raises:
        TreeError: It has such names already.
    """
    whole = target.with_name(f"{target.name}.whole")
    tree = Tree()
    with tarfile.open(target) as archive, _canonical_archive(whole) as copy:
        for member in archive:
            _copy(archive, member, tree, member.name, copy)
        for name, path in files.items():
            size = path.stat().st_size
            with path.open("rb") as content:
                copy.addfile(_entry(tree.add(name, FILE, size), FILE, size), content)
    whole.replace(target)


def _members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The members of an archive, no more of them and no larger than a tree may be."""
    seen = total = 0
    for member in archive:
        if member.isdir() and member.name.strip("./") == "" and ".." not in member.name:
            continue
        seen, total = seen + 1, total + member.size
        if seen > MAX_NAMES:
            raise TreeError(f"has more than {MAX_NAMES} files, at {member.name!r}")
        if total > MAX_BYTES:  # before the next header is looked for behind all these bytes
            raise TreeError(f"is larger than {MAX_BYTES // 1_000_000} MB unpacked, at {member.name!r}")
        yield member


def _single_top(members: list[tarfile.TarInfo]) -> str:
    names = [(normalised(member.name), member.isdir()) for member in members]
    tops = {name.split("/")[0] for name, _folder in names}
    top = tops.pop() if len(tops) == 1 else ""
    is_folder = all("/" in name or folder for name, folder in names)
    return top if top and is_folder and any("/" in name for name, _folder in names) else ""


def _copy(archive: tarfile.TarFile, member: tarfile.TarInfo, tree: Tree, name: str, copy: tarfile.TarFile) -> None:
    runs = bool(member.mode & stat.S_IXUSR)
    if member.isdir():
        copy.addfile(_entry(tree.add(name, DIRECTORY), DIRECTORY))
    elif member.issym():
        copy.addfile(_entry(tree.add(name, LINK, target=member.linkname), LINK, target=member.linkname))
    elif member.isreg() or member.islnk():
        content = _content(archive, member)
        size = content.seek(0, os.SEEK_END)
        content.seek(0)
        copy.addfile(_entry(tree.add(name, FILE, size), FILE, size, runs), content)
    else:
        raise TreeError(f"has {member.name!r}, which is not a file, a directory or a link")


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    """The content of a file; a hard link has that of the file it names, which must be in the archive."""
    try:
        content = archive.extractfile(member)
    except (KeyError, RecursionError):
        content = None
    if content is None:
        raise TreeError(f"has {member.name!r}, a hard link to {member.linkname!r}, which is not a file before it")
    return content


def _canonical_archive(target: Path) -> tarfile.TarFile:
    return tarfile.open(target, "w:gz", compresslevel=3, format=tarfile.PAX_FORMAT)


def _entry(name: str, kind: str, size: int = 0, runs: bool = False, target: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type = {FILE: tarfile.REGTYPE, DIRECTORY: tarfile.DIRTYPE, LINK: tarfile.SYMTYPE}[kind]
    entry.size, entry.linkname = size, target
    entry.mode = 0o755 if runs or kind == DIRECTORY else 0o644
    entry.uname = entry.gname = "root"
    return entry


# -- on the host -------------------------------------------------------------------------------------------------


def unpack(stream: IO[bytes], target: Path, stamp: int) -> None:
    """Unpack an archive that the controller made into a new directory, reading it once.

    Links come last, so that nothing can be written through one.

    Args:
        stream: The compressed archive.
        target: A directory that does not exist yet.
        stamp: Modification time of everything in it. nginx makes a file's ETag from its time and size: with one time
            for all sources a changed file could keep its tag.

    Raises:
        TreeError: It holds what the controller does not send.
        tarfile.TarError: It is damaged.
        OSError: It cannot be written.
    """
    tree = Tree()
    target.mkdir(mode=0o755)
    with tarfile.open(fileobj=stream, mode="r|gz", tarinfo=_Member) as archive:
        for member in archive:
            _unpack_member(archive, member, tree, target)
    tree.check_links()
    for name, link in tree.links.items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(link)
    for folder, folders, files in os.walk(target):
        for name in (*folders, *files):
            os.utime(os.path.join(folder, name), (stamp, stamp), follow_symlinks=False)


def _unpack_member(archive: tarfile.TarFile, member: tarfile.TarInfo, tree: Tree, target: Path) -> None:
    if member.mode & SPECIAL_BITS:
        raise TreeError(f"has {member.name!r} with mode {member.mode:o}, set-id and sticky bits are not taken")
    if member.isdir():
        (target / tree.add(member.name, DIRECTORY)).mkdir(parents=True, exist_ok=True)
    elif member.issym():
        tree.add(member.name, LINK, target=member.linkname)
    elif member.isreg() and not member.issparse():
        path = target / tree.add(member.name, FILE, member.size)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = archive.extractfile(member)
        mode = 0o755 if member.mode & stat.S_IXUSR else 0o644
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with os.fdopen(descriptor, "wb") as copy:
            if content:
                shutil.copyfileobj(content, copy)
    else:
        raise TreeError(f"has {member.name!r}, which is not a file, a directory or a link")
