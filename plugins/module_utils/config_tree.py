# SPDX-License-Identifier: GPL-3.0-or-later
"""Put a whole tree of configuration files on a host as one transaction.

The tree a program reads is a symlink, ``root``, to one immutable directory, a *generation*:

    /etc/nginx/wsgi                      -> wsgi.d/3f2a9c0d11e4b7a6       (root)
    /etc/nginx/wsgi.d/3f2a9c0d11e4b7a6/  the generation the program reads
    /etc/nginx/wsgi.d/previous           -> the generation before it
    /etc/nginx/wsgi.d/served             -> the last generation known to be in service
    /etc/nginx/wsgi.d/replaced/…         files that stood where a link of ours now stands

A change writes a complete new generation beside the old one, shows it to the validator in a preview of
root's parent directory, and goes live by a single rename of ``root``. A process killed at any instant leaves
either the old tree or the new one, both valid; scratch entries start with a dot and the next run removes them.

Nothing here imports Ansible: the functions are called by the module and by unit tests alike.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import grp
import hashlib
import json
import os
import posixpath
import re
import secrets
import shlex
import shutil
import socket
import stat
import subprocess
import tempfile
import time
import urllib.parse
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

TOKEN = "@GENERATION@"
SCRATCH_NEW = ".new-"
SCRATCH_PREVIEW = ".preview-"
SCRATCH_LINK = ".link-"
PREVIOUS = "previous"
SERVED = "served"
REPLACED = "replaced"
NAME_LENGTH = 16
LOCK_TIMEOUT = 60.0
COMMAND_TIMEOUT = 120.0
PROBE_TIMEOUT = 2.0
PROBE_LIMIT = 1 << 16
EMERGENCY_TIMEOUT = 4.0


class TreeError(Exception):
    """The tree cannot be put in place. ``str()`` is the whole message for a person.

    ``details`` holds what a program may want: ``file``, ``line``, ``owner``, ``rc``, ``stderr``.
    """

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.details = details


@dataclass(frozen=True)
class TreeFile:
    """One file of the tree: path relative to root, text, permission bits and the label of whom it belongs to.

    ``group`` is the name of the file's group, the process's own when empty.
    """

    dest: str
    content: str
    mode: int = 0o644
    owner: str = ""
    group: str = ""


@dataclass(frozen=True)
class Spec:
    """What the tree should be and how to check it. ``timeout`` is in seconds."""

    root: str
    files: Sequence[TreeFile]
    keep: Sequence[str] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    validate: str = ""
    reload: str = ""
    running: str = ""
    running_host: str = ""
    timeout: float = 10.0
    journal: str = ""
    logs: Sequence[str] = ()

    @property
    def parent(self) -> str:
        return posixpath.dirname(self.root)

    @property
    def store(self) -> str:
        return self.root + ".d"

    @property
    def base(self) -> str:
        return posixpath.basename(self.root)


@dataclass(frozen=True)
class LiveFile:
    """A file found on the host. ``content`` is None for anything that is not a regular file."""

    content: bytes | None
    mode: int
    uid: int
    gid: int


@dataclass(frozen=True)
class Live:
    """The tree as it is on the host; ``name`` is the generation's directory name, empty when there is none."""

    name: str = ""
    files: Mapping[str, LiveFile] = field(default_factory=dict)
    directories: frozenset[str] = frozenset()
    sound: bool = True


@dataclass(frozen=True)
class Plan:
    """The difference between the host and the wish."""

    generation: str
    files: Mapping[str, TreeFile]
    tree_changed: bool
    links_changed: Mapping[str, str]
    digests: Mapping[str, str]


@dataclass
class Outcome:
    """What was done, or in check mode would be done."""

    changed: bool
    generation: str
    digests: Mapping[str, str]
    reloaded: bool = False
    diff: list[dict[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


Step = Callable[[str], None]


def no_step(_name: str) -> None:
    """Default for ``step``: tests replace it to stop at a named point."""


# ---------------------------------------------------------------- the wish


def check_spec(spec: Spec) -> None:
    """Refuse what could never become a tree.

    :raises TreeError: root not absolute, a destination outside the tree or given twice, a file that is also a
        directory, a link inside the tree.
    """
    if not _is_absolute(spec.root) or spec.root == "/":
        raise TreeError(f'root: "{spec.root}" must be an absolute, normal path such as /etc/nginx/wsgi')
    _check_files(spec.files)
    for path in spec.keep:
        _check_relative("keep", path.rstrip("/"))
    for path in spec.links:
        if not _is_absolute(path):
            raise TreeError(f'links: "{path}" must be an absolute, normal path')
        if path == spec.root or path.startswith((spec.root + "/", spec.store + "/")):
            raise TreeError(f'links: "{path}" lies inside the tree {spec.root}')
    if spec.running and urllib.parse.urlsplit(spec.running).scheme != "http":
        raise TreeError(f'running: "{spec.running}" must be a plain http:// address')


def _check_files(files: Sequence[TreeFile]) -> None:
    seen: dict[str, TreeFile] = {}
    for item in files:
        _check_relative("files[].dest", item.dest)
        if item.dest in seen:
            raise TreeError(f'files: "{item.dest}" is given twice{_owners(seen[item.dest], item)}')
        seen[item.dest] = item
    for above in directories_of(seen):
        if above in seen:
            below = next(dest for dest in seen if dest.startswith(above + "/"))
            raise TreeError(f'files: "{above}" is a file and, for "{below}", also a directory')


def _is_absolute(path: str) -> bool:
    return path.startswith("/") and posixpath.normpath(path) == path


def _check_relative(key: str, path: str) -> None:
    if not path or path.startswith("/") or posixpath.normpath(path) != path or path.split("/")[0] in ("..", "."):
        raise TreeError(f'{key}: "{path}" must be a normal path inside the tree, relative to root')


def _owners(*files: TreeFile) -> str:
    labels = [item.owner for item in files if item.owner]
    return f" ({' and '.join(labels)})" if labels else ""


def as_bytes(text: str) -> bytes:
    """UTF-8; bytes of a kept file that were no text come through unchanged."""
    return text.encode(errors="surrogateescape")


def digest_of(files: Mapping[str, TreeFile]) -> str:
    """SHA-256 (hex) over paths, modes and contents, independent of order."""
    total = hashlib.sha256()
    for dest in sorted(files):
        item = files[dest]
        content = as_bytes(item.content)
        group = f"{item.group}\0" if item.group else ""
        total.update(f"{dest}\0{item.mode:o}\0{group}{len(content)}\0".encode())
        total.update(content)
    return total.hexdigest()


def digests_by_top(files: Mapping[str, TreeFile]) -> dict[str, str]:
    """One digest for each top-level directory or file of the tree."""
    groups: dict[str, dict[str, TreeFile]] = {}
    for dest, item in files.items():
        groups.setdefault(dest.split("/")[0], {})[dest] = item
    return {top: digest_of(group) for top, group in sorted(groups.items())}


def directories_of(files: Mapping[str, Any]) -> frozenset[str]:
    """All directories (relative) that the files need."""
    found: set[str] = set()
    for dest in files:
        above = posixpath.dirname(dest)
        while above:
            found.add(above)
            above = posixpath.dirname(above)
    return frozenset(found)


def stamped(item: TreeFile, generation: str) -> bytes:
    """Bytes to write: the text with the token replaced by the generation's name."""
    return as_bytes(item.content.replace(TOKEN, generation))


# ---------------------------------------------------------------- the host


def read_live(spec: Spec) -> Live:
    """Read the tree that is live now.

    :raises TreeError: something that is not ours stands at ``root``.
    """
    try:
        found = os.lstat(spec.root)
    except (FileNotFoundError, NotADirectoryError):
        return Live()
    if stat.S_ISLNK(found.st_mode):
        target = posixpath.normpath(posixpath.join(spec.parent, os.readlink(spec.root)))
        if posixpath.dirname(target) != spec.store:
            raise TreeError(
                f"{spec.root} is a symlink to {target}, expected one into {spec.store}. "
                f"Somebody else manages it: move it away, or choose another root."
            )
        return _read_generation(target)
    if stat.S_ISDIR(found.st_mode):
        inside = sorted(os.listdir(spec.root))
        if not inside:
            return Live()
        shown = ", ".join(inside[:5]) + (", …" if len(inside) > 5 else "")
        raise TreeError(
            f"{spec.root} is a directory with {len(inside)} entries ({shown}) that this task did not write, "
            f"expected nothing or a symlink into {spec.store}. Move it away, or choose another root."
        )
    raise TreeError(f"{spec.root} is a file, expected nothing or a symlink into {spec.store}. Move it away.")


def _read_generation(path: str) -> Live:
    files: dict[str, LiveFile] = {}
    directories: set[str] = set()
    sound = os.path.isdir(path) and _is_directory_ours(path)
    for here, names, leaves in os.walk(path):
        for name in list(names):
            full = posixpath.join(here, name)
            if os.path.islink(full):
                leaves.append(name)
                continue
            directories.add(posixpath.relpath(full, path))
            sound = sound and _is_directory_ours(full)
        for name in leaves:
            full = posixpath.join(here, name)
            files[posixpath.relpath(full, path)] = _read_file(full)
    return Live(posixpath.basename(path), files, frozenset(directories), sound)


def _read_file(path: str) -> LiveFile:
    found = os.lstat(path)
    content = None
    if stat.S_ISREG(found.st_mode):
        with open(path, "rb") as handle:
            content = handle.read()
    return LiveFile(content, stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid)


def _is_directory_ours(path: str) -> bool:
    found = os.lstat(path)
    return stat.S_IMODE(found.st_mode) == 0o755 and (found.st_uid, found.st_gid) == (os.geteuid(), os.getegid())


def kept_files(spec: Spec, live: Live) -> dict[str, TreeFile]:
    """Files of the live tree that ``keep`` carries over: a path names a file or everything below a directory."""
    wanted = {item.dest for item in spec.files}
    kept: dict[str, TreeFile] = {}
    for dest, found in live.files.items():
        if dest in wanted or found.content is None:
            continue
        if any(dest == path.rstrip("/") or dest.startswith(path.rstrip("/") + "/") for path in spec.keep):
            text = found.content.decode(errors="surrogateescape").replace(live.name, TOKEN)
            group = "" if found.gid == os.getegid() else grp.getgrgid(found.gid).gr_name
            kept[dest] = TreeFile(dest, text, found.mode, "kept, no longer in the inventory", group)
    return kept


def make_plan(spec: Spec, live: Live) -> Plan:
    """Compare the host with the wish; reads only."""
    files = {item.dest: item for item in spec.files}
    files.update(kept_files(spec, live))
    name = digest_of(files)[:NAME_LENGTH]
    generation, same = name, False
    if live.name == name or live.name.startswith(name + "-"):
        generation = live.name
        same = is_same(files, live)
        if not same:
            # Edited by hand: the name of the live directory is taken, so the same wish gets a numbered one.
            generation = f"{name}-{int(live.name[len(name) + 1 :] or 0) + 1}"
    links = {path: target for path, target in spec.links.items() if read_link(path) != target}
    return Plan(generation, files, not same, links, digests_by_top(files))


def is_same(files: Mapping[str, TreeFile], live: Live) -> bool:
    """Whether the live tree is byte for byte, mode for mode and owner for owner the wanted one."""
    if not live.sound or set(files) != set(live.files) or directories_of(files) != live.directories:
        return False
    return all(
        live.files[dest] == LiveFile(stamped(item, live.name), item.mode, os.geteuid(), group_id(item.group))
        for dest, item in files.items()
    )


def group_id(name: str) -> int:
    """Number of a group; the process's own for an empty name.

    :raises TreeError: the host has no such group.
    """
    try:
        return grp.getgrnam(name).gr_gid if name else os.getegid()
    except KeyError:
        raise TreeError(f'files: group "{name}" does not exist on this host') from None


def read_link(path: str) -> str | None:
    """Target of the symlink at ``path``; None when there is no symlink."""
    try:
        return os.readlink(path)
    except OSError:
        return None


def check_links(spec: Spec) -> None:
    """:raises TreeError: a directory stands where a link should go."""
    for path in spec.links:
        if os.path.isdir(path) and not os.path.islink(path):
            raise TreeError(f"links: {path} is a directory, expected a file, a symlink or nothing. Move it away.")


# ---------------------------------------------------------------- diff


def make_diff(spec: Spec, live: Live, plan: Plan) -> list[dict[str, str]]:
    """One entry per file that differs. The generation's own name is shown as the token, so that it is no noise."""
    entries: list[dict[str, str]] = []
    if plan.tree_changed:
        for dest in sorted(set(live.files) | set(plan.files)):
            before, after = _text_before(live, dest), _text_after(plan, dest)
            if before != after:
                entries.append(_entry(posixpath.join(spec.root, dest), before, after))
        before_link = f"{spec.base}.d/{live.name}\n" if live.name else ""
        entries.append(_entry(f"{spec.root} (link)", before_link, f"{spec.base}.d/{plan.generation}\n"))
    for path, target in sorted(plan.links_changed.items()):
        entries.append(_entry(f"{path} (link)", _describe(path), f"{target}\n"))
    return entries


def _entry(header: str, before: str, after: str) -> dict[str, str]:
    return {"before": before, "after": after, "before_header": header, "after_header": header}


def _text_before(live: Live, dest: str) -> str:
    found = live.files.get(dest)
    if found is None:
        return ""
    if found.content is None:
        return "(not a regular file)\n"
    text = found.content.decode(errors="replace").replace(live.name, TOKEN)
    return _shown(text, found.mode) + _ownership(found.uid, found.gid)


def _text_after(plan: Plan, dest: str) -> str:
    item = plan.files.get(dest)
    if item is None:
        return ""
    text = _shown(as_bytes(item.content).decode(errors="replace"), item.mode)
    return text + _ownership(os.geteuid(), group_id(item.group))


def _shown(text: str, mode: int) -> str:
    """A file as a diff may show it: of one that not everybody may read, no more than whether it differs."""
    if not mode & 0o004:
        text = f"(not shown, SHA-256 {hashlib.sha256(as_bytes(text)).hexdigest()[:12]})\n" if text else ""
    return text if mode == 0o644 else f"{text}(mode {mode:04o})\n"


def _ownership(uid: int, gid: int) -> str:
    return "" if (uid, gid) == (os.geteuid(), os.getegid()) else f"(owner {uid}:{gid})\n"


def _describe(path: str) -> str:
    target = read_link(path)
    if target is not None:
        return f"{target}\n"
    return "(a regular file, kept aside)\n" if os.path.exists(path) else ""


# ---------------------------------------------------------------- writing


def write_generation(path: str, files: Mapping[str, TreeFile], generation: str) -> None:
    """Write all files below the new directory ``path``, which must not exist."""
    os.mkdir(path)
    os.chmod(path, 0o755)
    for name in sorted(directories_of(files)):
        os.mkdir(posixpath.join(path, name))
        os.chmod(posixpath.join(path, name), 0o755)
        os.chown(posixpath.join(path, name), os.geteuid(), os.getegid())
    os.chown(path, os.geteuid(), os.getegid())
    for dest, item in files.items():
        handle = os.open(posixpath.join(path, dest), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as stream:
            stream.write(stamped(item, generation))
            os.fchown(stream.fileno(), os.geteuid(), group_id(item.group))
            os.fchmod(stream.fileno(), item.mode)


def flush(path: str) -> None:
    """Bring the file system that holds ``path`` to disk, once for all files: a power cut must not empty them."""
    import ctypes  # only a run that changes something pays for it

    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(handle) != 0:
            os.sync()
    finally:
        os.close(handle)


def scratch_name(prefix: str, folder: str) -> str:
    """A name in ``folder`` that nothing has; the next run sweeps what a killed one left under such a name."""
    return posixpath.join(folder, f"{prefix}{os.getpid()}-{secrets.token_hex(4)}")


def replace_link(path: str, target: str, scratch: str) -> None:
    """Make ``path`` a symlink to ``target`` in one rename; ``scratch`` is a directory on the same file system."""
    temporary = scratch_name(SCRATCH_LINK, scratch)
    os.symlink(target, temporary)
    try:
        os.rename(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise


def build_preview(spec: Spec, path: str, tree: str) -> None:
    """Show root's parent directory as it will be: siblings by symlink, ``root`` -> ``tree``, links applied."""
    changes: dict[str, Any] = {spec.base: tree}
    for link, target in spec.links.items():
        if not link.startswith(spec.parent + "/"):
            continue
        if target.startswith(spec.parent + "/"):
            target = path + target[len(spec.parent) :]
        spot = changes
        *above, name = link[len(spec.parent) + 1 :].split("/")
        for part in above:
            spot = spot.setdefault(part, {})
        spot[name] = target
    _mirror(spec.parent, path, changes)


def _mirror(source: str, target: str, changes: Mapping[str, Any]) -> None:
    os.mkdir(target, 0o700)
    present = os.listdir(source) if os.path.isdir(source) else []
    for name in sorted(set(present) | set(changes)):
        change, to = changes.get(name), posixpath.join(target, name)
        if isinstance(change, dict):
            _mirror(posixpath.join(source, name), to, change)
        else:
            os.symlink(change if change is not None else posixpath.join(source, name), to)


# ---------------------------------------------------------------- commands


def run(command: str) -> subprocess.CompletedProcess[str]:
    """Run a command line without a shell.

    :raises TreeError: its program does not exist, or it does not end within COMMAND_TIMEOUT seconds.
    """
    environment = {**os.environ, "PATH": search_path(), "LC_ALL": "C.UTF-8", "LANG": "C.UTF-8"}
    try:
        return subprocess.run(
            shlex.split(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMMAND_TIMEOUT,
            env=environment,
            check=False,
        )
    except FileNotFoundError as error:
        raise TreeError(f"`{command}`: there is no program {shlex.split(command)[0]} on this host") from error
    except subprocess.TimeoutExpired as error:
        raise TreeError(f"`{command}` did not end within {COMMAND_TIMEOUT:.0f} s") from error


def search_path() -> str:
    """PATH with the system directories, which an unprivileged user's sudo may leave out."""
    return os.environ.get("PATH", os.defpath) + ":/usr/local/sbin:/usr/sbin:/sbin"


def has_program(command: str) -> bool:
    """Whether the program a command line starts with can be found."""
    return shutil.which(shlex.split(command)[0], path=search_path()) is not None


def probe(url: str, host: str) -> tuple[str, str]:
    """Ask the running program for its generation.

    By a bare HTTP/1.0 exchange: the standard library's client takes a tenth of an idle run to import.

    :returns: (answer, reason): the answer is empty when there was none, and the reason says why.
    """
    parts = urllib.parse.urlsplit(url)
    request = f"GET {parts.path or '/'} HTTP/1.0\r\nHost: {host or parts.netloc}\r\n\r\n"
    reply = b""
    try:
        address = (parts.hostname or "127.0.0.1", parts.port or 80)
        with socket.create_connection(address, timeout=PROBE_TIMEOUT) as connection:
            connection.sendall(request.encode())
            while len(reply) < PROBE_LIMIT:
                piece = connection.recv(4096)
                if not piece:
                    break
                reply += piece
    except OSError as error:
        return "", f"{url} did not answer: {error}"
    head, _, body = reply.decode(errors="replace").partition("\r\n\r\n")
    status = head.split(" ", 2)[1:2]
    if status != ["200"]:
        return "", f"{url} answered {' '.join(status) or 'nothing'}"
    return body.strip(), ""


def validate(spec: Spec, plan: Plan, tree: str, preview: str) -> list[str]:
    """Run the validator over a preview.

    :returns: the validator's warnings.
    :raises TreeError: the validator refuses the tree; the message names file, line, its text and its owner.
    """
    build_preview(spec, preview, tree)
    try:
        command = spec.validate.replace("{preview}", shlex.quote(preview))
        result = run(command)
    finally:
        shutil.rmtree(preview, ignore_errors=True)
    output = (result.stderr.strip() + "\n" + result.stdout.strip()).strip()
    if result.returncode == 0:
        return [plain(spec, line, preview, tree) for line in output.splitlines() if "[warn]" in line]
    raise explain(spec, plan, output, result.returncode, preview, tree)


def plain(spec: Spec, text: str, preview: str, tree: str) -> str:
    """Replace scratch paths in a validator's output by the paths a person knows, and drop times and process ids."""
    text = text.replace(tree, spec.root).replace(preview, spec.parent)
    return "\n".join(tidy(line) for line in text.splitlines())


def tidy(line: str) -> str:
    """A line of nginx's log without its time and process id."""
    return re.sub(r"^(nginx: )?(?:\d{4}/\d\d/\d\d [\d:]+ )?(\[\w+\]) (?:\d+#\d+: )?(?:\*\d+ )?", r"\1\2 ", line)


def explain(spec: Spec, plan: Plan, output: str, rc: int, preview: str, tree: str) -> TreeError:
    """Turn a validator's output into an error that names the file, the line, its text and its owner."""
    text = plain(spec, output, preview, tree)
    command = spec.validate.replace("{preview}", spec.parent)
    details: dict[str, Any] = {"rc": rc, "stderr": text}
    parts = []
    found = locate(spec, plan, text)
    if found:
        item, number = found
        details.update(file=item.dest, line=number, owner=item.owner)
        where = f"{item.dest}, line {number}" if number else item.dest
        parts.append(f"{item.owner}: {where}" if item.owner else where)
        lines = item.content.replace(TOKEN, plan.generation).splitlines()
        if number and number <= len(lines) and item.mode & 0o004:
            parts.append(f"    {number} | {lines[number - 1].strip()}")
    parts.append(f"`{command}` refused the new configuration; {spec.root} is as it was:")
    parts.extend("    " + line for line in text.splitlines()[-20:])
    return TreeError("\n".join(parts), **details)


def locate(spec: Spec, plan: Plan, text: str) -> tuple[TreeFile, int] | None:
    """Find the file (and line, 0 when unknown) a validator complains of."""
    # nginx names its main file in a line of its own, wherever the mistake is.
    no_place = r"\[(warn|notice|info)\]|configuration file \S+ (test failed|syntax is ok)"
    text = "\n".join(line for line in text.splitlines() if not re.search(no_place, line))
    names = _known_paths(spec, plan)
    for pattern in (r"(?:\"?, line |:)(\d+)", r"(?![\w.-])()"):
        for path in sorted(names, key=len, reverse=True):
            match = re.search(re.escape(path) + pattern, text)
            if match:
                found = names[path], int(match.group(1) or 0)
                return (_locate_by_value(plan, text) or found) if _is_closing(*found) else found
    return _locate_by_value(plan, text)


def _is_closing(item: TreeFile, number: int) -> bool:
    """Whether a line only closes a block: nginx names that one for what it finds when it puts blocks together."""
    lines = item.content.splitlines()
    return 0 < number <= len(lines) and lines[number - 1].strip() == "}"


def _known_paths(spec: Spec, plan: Plan) -> dict[str, TreeFile]:
    """Every path by which a validator may call a file: below root, and through a link."""
    names = {posixpath.join(spec.root, dest): item for dest, item in plan.files.items()}
    for link, target in spec.links.items():
        full = posixpath.normpath(posixpath.join(posixpath.dirname(link), target))
        if full in names:
            names[link] = names[full]
    return names


def _locate_by_value(plan: Plan, text: str) -> tuple[TreeFile, int] | None:
    """The first line that has all values the validator quotes, or else one; nginx gives no place for a certificate that
    it cannot load."""
    values = re.findall(r'"([^"\n]{3,})"', text)
    for wanted in [values, *([value] for value in values)] if values else []:
        for _dest, item in sorted(plan.files.items()):
            for number, line in enumerate(item.content.splitlines(), 1):
                if all(value in line for value in wanted) and not line.lstrip().startswith("#"):
                    return item, number
    return None


# ---------------------------------------------------------------- evidence


class Evidence:
    """What the program wrote to its logs since this object was made."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.since = time.time()
        self.sizes = {path: _size(path) for path in spec.logs}

    def logged(self, limit: int = 15) -> list[str]:
        """Lines new in the log files."""
        found: list[str] = []
        for path, size in self.sizes.items():
            with contextlib.suppress(OSError), open(path, "rb") as handle:
                handle.seek(min(size, os.fstat(handle.fileno()).st_size))
                found += handle.read(1 << 20).decode(errors="replace").splitlines()[-limit:]
        return found

    def lines(self, limit: int = 15) -> list[str]:
        """Lines new in the log files and in the unit's journal."""
        found = self.logged(limit)
        if self.spec.journal and has_program("journalctl"):
            with contextlib.suppress(TreeError):
                result = run(
                    f"journalctl --unit {shlex.quote(self.spec.journal)} --since @{int(self.since)} "
                    f"--lines {limit} --no-pager --quiet --output cat"
                )
                found += result.stdout.splitlines()
        return list(dict.fromkeys(tidy(line) for line in found))


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


# ---------------------------------------------------------------- the transaction


def apply(spec: Spec, *, check: bool = False, step: Step = no_step) -> Outcome:
    """Make the host's tree the wanted one.

    :param check: only say what would be done; the preview is written to a temporary directory then.
    :param step: called with the name of every point that has been reached.
    :raises TreeError: with the host's tree and its running program as they were.
    """
    check_spec(spec)
    check_links(spec)
    if check:
        return _predict(spec)
    read_live(spec)
    fresh = not os.path.isdir(spec.store)
    os.makedirs(spec.parent, exist_ok=True)
    if fresh:
        os.mkdir(spec.store)
        os.chmod(spec.store, 0o755)
    with locked(spec.store):
        try:
            return _Transaction(spec, step).run()
        finally:
            if fresh and not os.listdir(spec.store):
                os.rmdir(spec.store)


@contextlib.contextmanager
def locked(path: str) -> Iterator[None]:
    """Hold the directory ``path`` for one run; the kernel lets go when the process dies.

    :raises TreeError: another run holds it for longer than LOCK_TIMEOUT seconds.
    """
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        deadline = time.monotonic() + LOCK_TIMEOUT
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    message = f"another run has been at work on {path} for {LOCK_TIMEOUT:.0f} s; try again when it ends"
                    raise TreeError(message) from None
                time.sleep(0.1)
        yield
    finally:
        os.close(handle)


def _predict(spec: Spec) -> Outcome:
    live = read_live(spec)
    plan = make_plan(spec, live)
    outcome = Outcome(False, plan.generation, plan.digests, diff=make_diff(spec, live, plan))
    stale = "" if plan.tree_changed or plan.links_changed else _stale(spec, plan)
    outcome.changed = bool(plan.tree_changed or plan.links_changed or stale)
    if stale:
        outcome.diff.append(_entry(f"{spec.base} in service", f"{stale}\n", f"{plan.generation}\n"))
    outcome.reloaded = outcome.changed and bool(spec.reload)
    if outcome.changed and spec.validate:
        if has_program(spec.validate):
            folder = tempfile.mkdtemp(prefix="config_tree-")
            try:
                tree = posixpath.join(folder, "tree")
                write_generation(tree, plan.files, plan.generation)
                outcome.warnings += validate(spec, plan, tree, posixpath.join(folder, "preview"))
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        else:
            program = shlex.split(spec.validate)[0]
            outcome.warnings.append(f"{spec.root} was not validated: {program} is not on this host yet")
    return outcome


def _stale(spec: Spec, plan: Plan) -> str:
    """Why the program must be reloaded although the tree is right; empty when it need not."""
    if spec.running:
        answer, reason = probe(spec.running, spec.running_host)
        return "" if answer == plan.generation else (f"generation {answer}" if answer else reason)
    if spec.reload:
        served = read_link(posixpath.join(spec.store, SERVED))
        return "" if served == plan.generation else "a reload that never happened"
    return ""


class _Transaction:
    """One run on the host, under the lock."""

    def __init__(self, spec: Spec, step: Step) -> None:
        self.spec = spec
        self.step = step

    def path(self, name: str) -> str:
        return posixpath.join(self.spec.store, name)

    def run(self) -> Outcome:
        spec = self.spec
        self.sweep()
        live = read_live(spec)
        plan = make_plan(spec, live)
        stale = "" if plan.tree_changed or plan.links_changed else _stale(spec, plan)
        outcome = Outcome(False, plan.generation, plan.digests, diff=make_diff(spec, live, plan))
        if not (plan.tree_changed or plan.links_changed or stale):
            self.mark(live, plan)
            return outcome
        if stale:
            outcome.diff.append(_entry(f"{spec.base} in service", f"{stale}\n", f"{plan.generation}\n"))
        outcome.changed = True
        tree = self.path(live.name)
        if plan.tree_changed:
            tree = self.write(plan)
        try:
            if spec.validate:
                preview = scratch_name(SCRATCH_PREVIEW, spec.store)
                outcome.warnings += validate(spec, plan, tree, preview)
                self.step("validated")
        except BaseException:
            if plan.tree_changed:
                shutil.rmtree(tree, ignore_errors=True)
            raise
        self.switch(plan, tree)
        if spec.reload:
            self.reload(live, plan)
            outcome.reloaded = True
        self.mark(live, plan)
        self.sweep()
        self.step("swept")
        return outcome

    def write(self, plan: Plan) -> str:
        tree = scratch_name(SCRATCH_NEW, self.spec.store)
        try:
            write_generation(tree, plan.files, plan.generation)
            self.step("written")
            flush(tree)
        except BaseException:
            shutil.rmtree(tree, ignore_errors=True)
            raise
        return tree

    def switch(self, plan: Plan, tree: str) -> None:
        """Go live: name the generation, rename root, then the links that lead to it."""
        spec = self.spec
        if plan.tree_changed:
            final = self.path(plan.generation)
            if os.path.lexists(final):
                shutil.rmtree(final)
            os.rename(tree, final)
            self.step("named")
            if os.path.isdir(spec.root) and not os.path.islink(spec.root):
                os.rmdir(spec.root)
            replace_link(spec.root, f"{spec.base}.d/{plan.generation}", spec.store)
            self.step("switched")
        for link, target in plan.links_changed.items():
            os.makedirs(posixpath.dirname(link), exist_ok=True)
            self.set_aside(link)
            replace_link(link, target, posixpath.dirname(link))
            self.step("linked")
        flush(spec.store)

    def set_aside(self, link: str) -> None:
        """Keep the file that stands where a link goes."""
        saved = self.path(REPLACED) + link
        if os.path.islink(link) or os.path.isfile(link):
            os.makedirs(posixpath.dirname(saved), exist_ok=True)
            temporary = saved + ".part"
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            if os.path.islink(link) and os.path.isfile(saved) and not os.path.islink(saved):
                os.rename(saved, saved + ".orig")
            shutil.copy2(link, temporary, follow_symlinks=False)
            os.rename(temporary, saved)

    def reload(self, live: Live, plan: Plan) -> None:
        """Reload and wait until the new generation answers; otherwise go back and raise."""
        spec, evidence = self.spec, Evidence(self.spec)
        trouble, details = "", {}
        try:
            result = run(spec.reload)
            self.step("reloaded")
            if result.returncode != 0:
                text = (result.stderr.strip() or result.stdout.strip()).splitlines()[-10:]
                trouble = "\n".join([f"`{spec.reload}` ended with {result.returncode}:", *("    " + t for t in text)])
                details = {"rc": result.returncode, "stderr": result.stderr}
            elif spec.running:
                trouble = self.wait(plan.generation, evidence)
        except TreeError as error:
            trouble = str(error)
        if not trouble:
            return
        lines = evidence.lines()
        ending = self.go_back(live, plan)
        message = "\n".join([trouble, *("    " + line for line in lines), ending])
        raise TreeError(message, log=lines, **details)

    def wait(self, generation: str, evidence: Evidence) -> str:
        """Ask until ``generation`` answers; returns what was wrong when it does not within the timeout.

        A program that logs an emergency is given up earlier; nginx tries to bind a port for 2.5 s.
        """
        spec, start, pause = self.spec, time.monotonic(), 0.02
        while True:
            answer, reason = probe(spec.running, spec.running_host)
            if answer == generation:
                return ""
            passed = time.monotonic() - start
            hopeless = passed > EMERGENCY_TIMEOUT and any("[emerg]" in line for line in evidence.logged())
            if hopeless or passed > spec.timeout:
                said = f"it still serves generation {answer}" if answer else reason
                return f"`{spec.reload}` ended well, but {passed:.1f} s later {said}, not {generation}."
            time.sleep(pause)
            pause = min(pause * 1.5, 0.25)

    def go_back(self, live: Live, plan: Plan) -> str:
        """Put the last generation known to serve back in place and reload; returns a sentence that says so."""
        spec = self.spec
        served = read_link(self.path(SERVED)) or ""
        if served == plan.generation:
            if not plan.links_changed:
                return f"Generation {plan.generation} is unchanged and has served before: look at the program itself."
            self.restore_links(plan.links_changed)
            before = plan.generation
        else:
            before = next((n for n in (served, live.name) if self.usable(n, plan)), "")
            if before:
                replace_link(spec.root, f"{spec.base}.d/{before}", spec.store)
                self.restore_links(plan.links_changed)
            else:
                self.restore_links(spec.links)
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(spec.root)
            shutil.rmtree(self.path(plan.generation), ignore_errors=True)
        self.step("returned")
        return self.reload_again(before)

    def usable(self, name: str, plan: Plan) -> bool:
        return bool(name) and name != plan.generation and os.path.isdir(self.path(name))

    def restore_links(self, links: Mapping[str, str]) -> None:
        for link, target in links.items():
            saved = self.path(REPLACED) + link
            if os.path.lexists(saved):
                temporary = scratch_name(SCRATCH_LINK, posixpath.dirname(link))
                shutil.copy2(saved, temporary, follow_symlinks=False)
                os.rename(temporary, link)
            elif read_link(link) == target:
                os.unlink(link)

    def reload_again(self, before: str) -> str:
        """Reload after going back; says whether the program serves again."""
        spec = self.spec
        name = f"generation {before}" if before else "what was there before this tree"
        try:
            result = run(spec.reload)
            trouble = result.stderr.strip() if result.returncode else ""
            if not trouble and before and spec.running:
                trouble = self.wait(before, Evidence(spec))
        except TreeError as error:
            trouble = str(error)
        if trouble:
            return f"Put back {name}, but reloading it failed as well: {trouble}"
        return f"Put back {name} and reloaded it: it serves as before."

    def mark(self, live: Live, plan: Plan) -> None:
        """Note the generation in service and the one before it; nothing to write when both are noted."""
        served = read_link(self.path(SERVED))
        if served == plan.generation:
            return
        if served and os.path.isdir(self.path(served)):
            replace_link(self.path(PREVIOUS), served, self.spec.store)
        elif live.name and live.name != plan.generation and os.path.isdir(self.path(live.name)):
            replace_link(self.path(PREVIOUS), live.name, self.spec.store)
        replace_link(self.path(SERVED), plan.generation, self.spec.store)
        self.step("marked")

    def sweep(self) -> None:
        """Remove scratch entries and generations that are neither live nor the one before."""
        spec = self.spec
        target = read_link(spec.root)
        needed = {REPLACED, PREVIOUS, SERVED, posixpath.basename(target) if target else ""}
        needed |= {read_link(self.path(PREVIOUS)) or "", read_link(self.path(SERVED)) or ""}
        for name in os.listdir(spec.store):
            if name in needed:
                continue
            path = self.path(name)
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            else:
                os.unlink(path)
        for link in spec.links:
            folder = posixpath.dirname(link)
            if os.path.isdir(folder):
                for name in os.listdir(folder):
                    if name.startswith(SCRATCH_LINK) and os.path.islink(posixpath.join(folder, name)):
                        os.unlink(posixpath.join(folder, name))


# ---------------------------------------------------------------- transport


def pack(files: Sequence[TreeFile]) -> str:
    """Files as one short text: configuration files resemble each other, so they compress well."""
    rows = [[item.dest, item.content, item.mode, item.owner, item.group] for item in files]
    return base64.b64encode(zlib.compress(json.dumps(rows).encode(), 6)).decode()


def unpack(text: str) -> list[TreeFile]:
    """The reverse of :func:`pack`."""
    return [TreeFile(*row) for row in json.loads(zlib.decompress(base64.b64decode(text)))]
