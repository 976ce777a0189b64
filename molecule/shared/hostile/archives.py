"""Archives and git trees that try to get out of where they are unpacked, one a row.

Each has what it holds and a part of the message that refuses it. Unit tests give them to the controller's half and to
the host's directly, scenarios give them to whole runs.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

DEEP = 60  # more links than Linux follows


@dataclass(frozen=True)
class Member:
    """One member of an archive."""

    name: str
    type: bytes = tarfile.REGTYPE
    target: str = ""
    text: str = ""
    mode: int = 0o644
    size: int = -1  # what the header says, when it does not say the truth


def file(name: str, text: str = "x", mode: int = 0o644) -> Member:
    return Member(name, text=text, mode=mode)


def link(name: str, target: str) -> Member:
    return Member(name, tarfile.SYMTYPE, target, mode=0o777)


def hard(name: str, target: str) -> Member:
    return Member(name, tarfile.LNKTYPE, target)


def folder(name: str, mode: int = 0o755) -> Member:
    return Member(name, tarfile.DIRTYPE, mode=mode)


def special(name: str, kind: bytes) -> Member:
    return Member(name, kind)


OUT = "leads out of the source"
BELOW = "which is a"
TWICE = "twice"
NEITHER = "which is not a file, a directory or a link"

# Refused wherever they are unpacked.
ARCHIVES: dict[str, tuple[Sequence[Member], str]] = {
    "climbs": ([file("../evil")], OUT),
    "climbs from within": ([file("a/../../evil")], OUT),
    "climbs and stays": ([file("a/../b")], OUT),
    "absolute name": ([file("/tmp/evil")], OUT),
    "absolute name with two slashes": ([file("//tmp/evil")], OUT),
    "name that is two dots": ([file("..")], OUT),
    "directory that climbs": ([folder("../evil")], OUT),
    "link to an absolute path": ([link("l", "/etc/passwd")], OUT),
    "link to the root": ([link("l", "/")], OUT),
    "link that climbs": ([link("l", "../../etc")], OUT),
    "link that climbs from a directory": ([link("a/b/l", "../../../etc")], OUT),
    "link that leaves and comes back": ([link("l", "../src/app.py")], OUT),
    "link through a link": ([folder("d"), link("d/up", ".."), link("out", "d/up/..")], OUT),
    "chain of links": ([folder("a/b"), link("x", "a/b"), link("a/b/y", "../.."), link("z", "x/y/..")], OUT),
    "chain of links, the last first": ([link("z", "x/y/.."), link("x", "a/b"), link("a/b/y", "../..")], OUT),
    "long chain that is out at its end": (
        [*(link(f"l{at}", f"l{at + 1}") for at in range(20)), link("l20", "../evil")],
        OUT,
    ),
    "chain longer than Linux follows": ([link(f"l{at}", f"l{at + 1}") for at in range(DEEP)], "in a circle"),
    "link to itself": ([link("l", "l")], "in a circle"),
    "links in a circle": ([link("a", "b"), link("b", "a")], "in a circle"),
    "file through a link": ([link("l", "."), file("l/evil")], BELOW),
    "file through a link out": ([link("l", "/tmp"), file("l/evil")], BELOW),
    "file through a link that comes later": ([file("l/evil"), link("l", "/tmp")], TWICE),
    "link below a link": ([link("l", "."), link("l/m", "x")], BELOW),
    "directory through a link": ([link("l", "."), folder("l/m")], BELOW),
    "directory that becomes a link": ([folder("d"), link("d", "/tmp"), file("d/evil")], TWICE),
    "file that becomes a link": ([file("f"), link("f", "/tmp/evil"), file("f")], TWICE),
    "link that becomes a file": ([link("f", "app.py"), file("f")], TWICE),
    "one name twice": ([file("f", "one"), file("f", "two")], TWICE),
    "one name twice, spelt otherwise": ([file("a/f"), file("a/./f")], TWICE),
    "one name twice, with two slashes": ([file("a/f"), file("a//f")], TWICE),
    "one name twice, with a dot first": ([file("f"), file("./f")], TWICE),
    "one name in two Unicode forms": ([file("caf\u00e9"), file("cafe\u0301")], "the same but for their Unicode form"),
    "file with a file below": ([file("f"), file("f/g")], BELOW),
    "file that was a directory": ([file("f/g"), file("f")], TWICE),
    "pipe": ([special("p", tarfile.FIFOTYPE)], NEITHER),
    "character device": ([special("d", tarfile.CHRTYPE)], NEITHER),
    "block device": ([special("d", tarfile.BLKTYPE)], NEITHER),
}
# The controller makes a file of a hard link, and only of one to a file of the archive; the host takes none at all.
HARD_LINKS: dict[str, Sequence[Member]] = {
    "hard link out": [hard("h", "/etc/shadow")],
    "hard link that climbs": [hard("h", "../../etc/shadow")],
    "hard link to what is not there": [hard("h", "nothing")],
    "hard link to a directory": [folder("d"), hard("h", "d")],
    "hard link to a link out": [link("l", "/etc/shadow"), hard("h", "l")],
}
# The controller drops these modes, the host refuses them.
MODES: dict[str, Member] = {
    "set-user-id": file("f", mode=0o4755),
    "set-group-id": file("f", mode=0o2755),
    "sticky": file("f", mode=0o1644),
    "directory with set-group-id": folder("d", mode=0o2775),
}


def write(target: Path, members: Sequence[Member]) -> str:
    """Write an archive with an app's file and these members; returns its SHA-256."""
    with tarfile.open(target, "w:gz", format=tarfile.PAX_FORMAT) as archive:
        for member in (file("app.py"), *members):
            entry = tarfile.TarInfo(member.name)
            entry.name = member.name  # as it is written
            entry.type, entry.linkname, entry.mode = member.type, member.target, member.mode
            content = member.text.encode() if member.type == tarfile.REGTYPE else b""
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return hashlib.sha256(target.read_bytes()).hexdigest()


# -- git trees ---------------------------------------------------------------------------------------------------

BLOB, LINK, TREE = "100644", "120000", "40000"
# What a tree has, in its order: mode, name, and a text or the rows of another tree.
Row = tuple[str, str, "str | Sequence[Row]"]
GIT_TREES: dict[str, tuple[Sequence[Row], str]] = {
    "one name twice, first a link": ([(LINK, "a", "/tmp"), (TREE, "a", [(BLOB, "evil", "x")])], TWICE),
    "one name twice, first a directory": ([(TREE, "a", [(BLOB, "evil", "x")]), (LINK, "a", "/tmp")], TWICE),
    "one file twice": ([(BLOB, "a", "one"), (BLOB, "a", "two")], TWICE),
    "link out": ([(LINK, "a", "../../etc")], OUT),
    "absolute link": ([(LINK, "a", "/etc/passwd")], OUT),
    "chain of links": ([(TREE, "d", [(LINK, "up", "..")]), (LINK, "out", "d/up/..")], OUT),
    "name that climbs": ([(TREE, "..", [(BLOB, "evil", "x")])], "invalid path"),  # git says it
    "name with a slash": ([(BLOB, "a/../../evil", "x")], "invalid path"),
}


def git_repository(folder: Path, rows: Sequence[Row]) -> str:
    """Make a bare repository whose branch C(main) has such a tree; returns its path."""
    _git(folder, "init", "--quiet", "--bare", "--initial-branch=main", str(folder))
    commit = f"tree {_tree(folder, rows)}\nauthor t <t> 0 +0000\ncommitter t <t> 0 +0000\n\nx\n"
    found = _object(folder, "commit", commit.encode())
    (folder / "refs/heads").mkdir(parents=True, exist_ok=True)
    (folder / "refs/heads/main").write_text(f"{found}\n")
    return str(folder)


def _tree(folder: Path, rows: Sequence[Row]) -> str:
    content = b""
    for mode, name, what in rows:
        found = _object(folder, "blob", what.encode()) if isinstance(what, str) else _tree(folder, what)
        content += f"{mode} {name}\0".encode() + bytes.fromhex(found)
    return _object(folder, "tree", content)


def _object(folder: Path, kind: str, content: bytes) -> str:
    return _git(folder, "hash-object", "-t", kind, "-w", "--stdin", "--literally", given=content)


def _git(folder: Path, *arguments: str, given: bytes = b"") -> str:
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["git", "-C", str(folder), *arguments], input=given, capture_output=True, check=True)
    return done.stdout.decode().strip()
