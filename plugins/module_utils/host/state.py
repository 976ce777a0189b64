# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host is and has, read in bulk: one look instead of one task for each question."""

from __future__ import annotations

import fcntl
import glob
import grp
import hashlib
import ipaddress
import os
import pwd
import re
import socket
import struct
import subprocess
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from ansible_collections.webops.wsgi.plugins.module_utils.adopt import proxy
from ansible_collections.webops.wsgi.plugins.module_utils.host.marks import KEPT, SEEN, USER_MARK
from ansible_collections.webops.wsgi.plugins.module_utils.image.kept import has_image
from ansible_collections.webops.wsgi.plugins.module_utils.managers import foreign as managers

FLOCK = "@hhqqi"  # struct flock, see fcntl(2)
LISTEN = "0A"  # the state TCP_LISTEN in /proc/net/tcp, see include/net/tcp_states.h of Linux
SUPPORTED_DEBIAN = ("12", "13")
OLDEST_PYTHON = (3, 11)


def os_release(text: str) -> dict[str, str]:
    """The assignments of an os-release file."""
    pairs = re.findall(r'^([A-Z_]+)="?([^"\n]*)"?$', text, re.MULTILINE)
    return dict(pairs)


def missing_packages(status: str, wanted: Iterable[str]) -> list[str]:
    """The wanted Debian packages that are not installed.

    Args:
        status: Text of /var/lib/dpkg/status.
        wanted: Package names.
    """
    installed = set()
    for paragraph in status.split("\n\n"):
        if "\nStatus: install ok installed\n" in paragraph and paragraph.startswith("Package: "):
            installed.add(paragraph[len("Package: ") : paragraph.index("\n")])
            _line, provides, rest = paragraph.partition("\nProvides: ")
            if provides:  # such as awk, which is not a package of its own
                names = rest.partition("\n")[0].split(",")
                installed.update(name.split()[0] for name in names if name.strip())
    return [name for name in wanted if name not in installed]


def holder_of_apt(folder: Path = Path("/var/lib"), proc: Path = Path("/proc")) -> str:
    """The program that keeps others from installing packages; empty where none does."""
    for name in ("dpkg/lock-frontend", "dpkg/lock", "apt/lists/lock"):
        try:
            with (folder / name).open("rb+") as file:
                asked = struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
                kind, *_range, pid = struct.unpack(FLOCK, fcntl.fcntl(file, fcntl.F_GETLK, asked))
        except OSError:  # nothing has been installed yet
            continue
        if kind != fcntl.F_UNLCK:
            return f"{_name(pid, proc)} (process {pid})"
    return ""


def _name(pid: int, proc: Path) -> str:
    try:
        return (proc / str(pid) / "comm").read_text().strip()
    except OSError:  # it has ended, or is in another namespace
        return "another program"


def interpreters(folders: Iterable[Path] = (Path("/usr/local/bin"), Path("/usr/bin"))) -> dict[str, str]:
    """The host's Python interpreters by version, C({"3.13": "/usr/bin/python3.13"}); earlier folders win."""
    found: dict[str, str] = {}
    for folder in folders:
        for path in sorted(folder.glob("python3.*")):
            version = path.name.removeprefix("python")
            if re.fullmatch(r"3\.\d+", version) and os.access(path, os.X_OK):
                found.setdefault(version, str(path))
    return found


def default_python(path: Path = Path("/usr/bin/python3")) -> str:
    """The version that the host's C(python3) is; empty where there is none."""
    name = os.path.basename(os.path.realpath(path))
    return name.removeprefix("python") if re.fullmatch(r"python3\.\d+", name) else ""


def listeners(ports: Iterable[int], proc: Path = Path("/proc")) -> dict[str, str]:
    """The program that listens on each TCP port; empty where the port is free.

    Programs whose name the kernel does not tell are called C(pid unknown).
    """
    inodes: dict[int, set[str]] = {}
    for _address, port, inode in _listening(proc):
        inodes.setdefault(port, set()).add(inode)
    wanted = {str(port): inodes.get(port, set()) for port in ports}
    owners = _owners(set().union(*wanted.values()), proc) if any(wanted.values()) else {}
    return {
        port: next((owners[inode] for inode in sockets if inode in owners), "pid unknown") if sockets else ""
        for port, sockets in wanted.items()
    }


def listening_addresses(port: int, proc: Path = Path("/proc")) -> set[str]:
    """The addresses, as the kernel writes them, on which somebody listens at a TCP port."""
    return {address for address, found, _inode in _listening(proc) if found == port}


def _listening(proc: Path) -> Iterator[tuple[str, int, str]]:
    """Address, port and inode of every TCP socket that listens."""
    for table in ("tcp", "tcp6"):
        try:
            lines = (proc / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if fields[3] == LISTEN:
                address, _colon, port = fields[1].rpartition(":")
                yield address, int(port, 16), fields[9]


def _owners(inodes: set[str], proc: Path) -> dict[str, str]:
    owners = {}
    for process in proc.glob("[0-9]*"):
        try:
            for descriptor in (process / "fd").iterdir():
                inode = os.readlink(descriptor).removeprefix("socket:[").removesuffix("]")
                if inode in inodes:
                    owners[inode] = (process / "comm").read_text().strip()
        except OSError:  # the process ended meanwhile
            continue
    return owners


def existing_users(names: Iterable[str]) -> list[str]:
    """Those of the names that are users of the host."""
    return [name for name in names if _user(name)]


def _user(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _group(name: str) -> grp.struct_group | None:
    try:
        return grp.getgrnam(name)
    except KeyError:
        return None


def foreign(
    app: str,
    root: Path = Path("/srv"),
    state: Path = Path("/var/lib"),
    units: Path = Path("/etc/systemd/system"),
) -> list[str]:
    """What on the host bears the app's name without being the app's, each with the fix.

    A user, a directory or a unit that somebody else made must neither be taken over nor, with the app, be removed.
    """
    found = []
    user = _user(app)
    if user and not user.pw_gecos.startswith(USER_MARK):
        found.append(f"the user {app} with home {user.pw_dir}")
    elif not user and _group(app):
        # A removed app's group goes with its user, unless somebody else has joined it.
        found.append(f"the group {app}, whose members could read the app's files")
    folder = root / app
    if (
        folder.exists()
        and not any((folder / part).is_dir() for part in ("builds", "releases"))
        and any(folder.iterdir())
    ):
        found.append(f"the directory {folder}")
    owner = _owner(state / app)
    if owner not in ("", app) and not (state / app / KEPT).exists():
        found.append(f"the directory {state / app} of the user {owner}")
    found += managers.foreign(app, units)
    return [
        f'app "{app}": the host has {thing}, which is not this app\'s; rename the app or move that' for thing in found
    ]


def _owner(path: Path) -> str:
    """The user who owns a path; empty for no path, and for the owner that a removed app has left behind."""
    try:
        return pwd.getpwuid(path.stat().st_uid).pw_name
    except (OSError, KeyError):
        return ""


def foreign_sites(
    nginx: Path = Path("/etc/nginx"),
    status: Path = Path("/var/lib/dpkg/status"),
    given_up: Mapping[str, Collection[str]] | None = None,
) -> list[str]:
    """What nginx serves on this host and would not any more, since the role nginx_proxy owns all of nginx.

    Args:
        nginx: Its directory.
        status: What dpkg knows of files.
        given_up: C(names) that apps of ours are about to answer to, and C(places) that they take over from.
    """
    if (nginx / "wsgi").is_symlink():
        return []
    sites = [path for path in sorted((nginx / "sites-enabled").glob("*")) if path.name != "default"]
    sites += sorted((nginx / "conf.d").glob("*.conf"))
    main = [nginx / "nginx.conf", nginx / "sites-enabled" / "default"]
    kept = set((nginx / "modules-enabled").glob("*"))
    main += sorted(_included(nginx, nginx / "nginx.conf") - {*main, *sites, *kept})
    edited = [path for path in main if _serves(path) and not _is_shipped(path, status)]
    if given_up and given_up["names"]:
        others = {path: proxy.others(_text(path), **given_up) for path in (*sites, *edited)}
        return [
            f"nginx serves {', '.join(what)} by {path}, and would not any more; write that into domains of an app, "
            "move it to another host, or take it out"
            for path, what in others.items()
            if what
        ]
    found = []
    if sites:
        names = ", ".join(map(str, sites))
        found.append(
            f"nginx serves {names}, and would not any more; move these sites to another host, or remove the files"
        )
    if edited:
        names = ", ".join(map(str, edited))
        found.append(
            f"nginx serves what was written into {names}, and would not any more, since nginx.conf is replaced; "
            "move these server blocks to another host or take them out, a stream or mail block to a file such as "
            f"{nginx}/modules-enabled/90-own.conf, which stays"
        )
    return found


def _included(nginx: Path, file: Path) -> set[Path]:
    """The files that one of nginx's includes, and those that they include."""
    found: set[Path] = set()
    waiting = [file]
    while waiting:
        for pattern in re.findall(r"\binclude\s+[\"']?([^;\"'\s]+)", _directives(waiting.pop())):
            names = glob.glob(os.path.join(nginx, pattern))
            new = {Path(name) for name in names} - found
            found |= new
            waiting += new
    return found


def _directives(file: Path) -> str:
    """A file of nginx's without its comments."""
    return re.sub(r"(^|[\s;{}])#.*", r"\1", _text(file))


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:  # a link to nothing, a directory
        return ""


def _serves(file: Path) -> bool:
    return re.search(r"(^|[\s;{}])server\s*\{", _directives(file)) is not None


def _is_shipped(file: Path, status: Path) -> bool:
    """Whether a file is as its Debian package brought it."""
    try:
        digest = hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()  # which dpkg notes
        return f"\n {file.resolve()} {digest}" in status.read_text(errors="replace")
    except OSError:
        return False


def managed_apps(root: Path) -> list[str]:
    """The apps that this collection put on the host."""
    return sorted(releases.parent.name for releases in root.glob("*/releases"))


def served_apps(sites: Path = Path("/etc/nginx/wsgi/sites")) -> list[str]:
    """The apps that nginx serves on a balancer, which has nothing else of them."""
    return sorted(path.stem for path in sites.glob("*.conf"))


def interface_of(address: str) -> str:
    """Name of the network interface that has an address; empty where none has, or none is asked for."""
    if not address:
        return ""
    listed = subprocess.run(["ip", "-oneline", "address"], capture_output=True, text=True, check=False, timeout=10)
    written = re.escape(str(ipaddress.ip_address(address)))
    found = re.search(rf"^\d+: +(\S+) +inet6? +{written}/", listed.stdout, re.MULTILINE)
    return found[1] if found else ""


def foreign_address(address: str) -> list[str]:
    """What is wrong with an address that the inventory gives to the host; empty when it has it, or none is given."""
    if not address:
        return []
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            text = f"balancer_address is {address}, which none of the host's network interfaces has"
            return [f"{text}; write one that `ip address` shows there"]
    return []


def builds(names: Iterable[str], root: Path) -> dict[str, list[str]]:
    """The digests of the complete builds of each app; one whose image the engine no longer has is none."""
    return {
        name: sorted(
            path.parent.name for path in (root / name / "builds").glob("*/build.json") if has_image(path.parent)
        )
        for name in names
    }


def times(names: Iterable[str], root: Path) -> dict[str, int]:
    """When the sources of complete builds were first seen, in seconds since the epoch, by C(seen) of the builds."""
    return {
        path.name.removeprefix(SEEN): int(path.stat().st_mtime)
        for name in names
        for path in (root / name / "builds").glob(f"*/{SEEN}*")
        if (path.parent / "build.json").exists()
    }


def with_certificate(names: Iterable[str], folder: Path = Path("/etc/nginx/tls")) -> list[str]:
    """Those of the apps whose certificate files are where nginx looks for them."""
    return [name for name in names if all((folder / name / part).exists() for part in ("fullchain.pem", "privkey.pem"))]


def program_version(command: list[str], pattern: str) -> str:
    """The version a program prints; empty where the program is missing."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(pattern, done.stdout + done.stderr)
    return found.group(1) if found else ""


def has_ipv6(proc: Path = Path("/proc")) -> bool:
    """Whether the kernel lets programs listen on IPv6 addresses."""
    return (proc / "net/if_inet6").exists()


def problems(release: Mapping[str, str], default: str, held: Mapping[str, str]) -> list[str]:
    """Why this host cannot be one of ours, each with the fix.

    Args:
        release: The host's os-release.
        default: Version of its python3.
        held: Listeners by port, as C(listeners) returns them.
    """
    found = []
    name, version = release.get("ID", "unknown"), release.get("VERSION_ID", "unknown")
    if name != "debian" or version not in SUPPORTED_DEBIAN:
        found.append(
            f"the host runs {release.get('PRETTY_NAME', f'{name} {version}')}, supported are Debian "
            f"{' and '.join(SUPPORTED_DEBIAN)}; upgrade the host or take it out of the group wsgi"
        )
    if default and tuple(map(int, default.split("."))) < OLDEST_PYTHON:
        found.append(f"the host's python3 is {default}, needed is 3.11 or newer; upgrade the host")
    for port, program in held.items():
        if program not in ("", "nginx"):
            found.append(f"port {port} is taken by {program}; stop and disable that program, nginx needs the port")
    return found
