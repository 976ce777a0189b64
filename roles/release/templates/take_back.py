"""Takes back what nginx was let read of the app's state, where no release needs it any more; prepare.j2 runs it."""

import contextlib
import os
import pwd
import re
import struct
import sys
from pathlib import Path

ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
USER, OWN_GROUP, GROUP, MASK = 0x02, 0x04, 0x08, 0x10  # tags of entries, see linux/posix_acl.h
ENTRY = struct.Struct("<HHI")  # tag, permissions, id
VERSION = 4  # bytes before the first entry
WAY = 1  # to pass through a directory, no more
SHARED = re.compile(r'^A\+ "(.+)" - ', re.MULTILINE)
NGINX = pwd.getpwnam("www-data").pw_uid


def main(ended: bool) -> None:
    own = Path(os.environ["WSGI_RELEASE_DIR"])
    current = own.parent.parent / "current"
    serves = shared(current)
    if not ended:  # another release may serve until this one has proved itself
        wanted = shared(own) | serves
        given = set().union(*map(shared, own.parent.iterdir()))
    elif current.exists() and current.samefile(own):
        return
    else:
        wanted, given = serves, shared(own)
    for path in sorted(given - wanted):
        take_back(path, wanted)
    for path in wanted:
        if entry(path) == WAY:  # it was on the way to another one; what follows gives all of it
            restrict(path, 0)


def shared(release: Path) -> set[Path]:
    """The directories that a release lets nginx read, from what it runs itself: the app cannot change that."""
    with contextlib.suppress(OSError):
        return {Path(path) for path in SHARED.findall((release / "prepare").read_text())}
    return set()


def take_back(path: Path, wanted: set[Path]) -> None:
    """Take the access to one directory back, to all in it, and to the way there."""

    def narrow(place: Path) -> None:
        if not any(place.is_relative_to(other) for other in wanted):
            restrict(place, needed(place))

    def needed(place: Path) -> int:
        return WAY if any(other.is_relative_to(place) for other in wanted) else 0

    home = Path(os.environ["HOME"])
    for place in path.parents:
        if place.is_relative_to(home):
            narrow(place)
    if path.is_symlink() or (entry(path) == needed(path) and not acl(path, DEFAULT)):
        return
    for folder, _, files in os.walk(path, topdown=False):  # itself last: what was interrupted begins anew
        for name in files:
            narrow(Path(folder, name))
        narrow(Path(folder))


def acl(place: Path, name: str) -> list[tuple[int, int, int]]:
    """The entries of an ACL; none without one, as a link has."""
    with contextlib.suppress(OSError):
        return list(ENTRY.iter_unpack(os.getxattr(place, name, follow_symlinks=False)[VERSION:]))
    return []


def entry(place: Path) -> int:
    """What nginx may do there."""
    return next((may for tag, may, who in acl(place, ACCESS) if (tag, who) == (USER, NGINX)), 0)


def restrict(place: Path, allowed: int) -> None:
    """Leave nginx no more than this, and nothing of what is made there. Others' entries stay."""
    for name, may in ((ACCESS, allowed), (DEFAULT, 0)):
        had = acl(place, name)
        rest = [one for one in had if (one[0], one[2]) != (USER, NGINX)]
        if may and len(rest) < len(had):
            rest = sorted([*rest, (USER, may, NGINX)], key=lambda one: (one[0], one[2]))
        if rest == had:
            continue
        with contextlib.suppress(PermissionError):  # of another owner
            if any(tag in (USER, GROUP) for tag, _, _ in rest):
                write(place, name, rest)
            elif name == DEFAULT:
                os.removexattr(place, name, follow_symlinks=False)
            else:  # a mask is for what is gone; what it limits must not grow
                mask = next(may for tag, may, _ in had if tag == MASK)
                plain = [(tag, may & mask if tag == OWN_GROUP else may, who) for tag, may, who in rest if tag != MASK]
                write(place, name, plain)


def write(place: Path, name: str, entries: list[tuple[int, int, int]]) -> None:
    value = struct.pack("<I", 2) + b"".join(ENTRY.pack(*one) for one in entries)
    os.setxattr(place, name, value, follow_symlinks=False)


main(sys.argv[1:] == ["ended"])
