# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where an application's code comes from, seen from the controller.

Every kind of source becomes the same thing: an identity that changes when and only when the code does, and one
canonical tar archive of the tree. Sources are fetched once by the controller, so hosts need neither git nor the
credentials of a private repository, and all hosts of a run get the same bytes.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import stat
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

# Never part of a release: version control data and what Python and its tools write beside the code.
IGNORED_NAMES = frozenset({".git", "__pycache__", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache"})
COMMIT = re.compile(r"[0-9a-f]{40}")
NETWORK_TIMEOUT = 60  # seconds for one answer of a git or archive server


class SourceError(Exception):
    """A source that cannot be read; the message says which, why and what to do."""


@dataclass(frozen=True)
class Source:
    """A source resolved to an exact state.

    Attributes:
        identity: What the build digest is made from; equal identities mean equal code.
        label: The source in a person's words, such as C(git v1.4.2 (1a2b3c4)).
        write: Writes the canonical tar archive to a path; None for a package, which the host installs itself.
    """

    identity: dict[str, str]
    label: str
    write: Callable[[Path], None] | None


def resolve(source: Mapping[str, Any], cache: Path) -> Source:
    """Resolve a C(source) entry of an app to its exact state, fetching as little as that takes.

    Args:
        source: The entry with its C(kind), as the app_settings action returns it.
        cache: The controller's directory for git mirrors and archives.

    Raises:
        SourceError: The source does not exist or does not match what was promised.
    """
    resolvers: dict[str, Callable[[], Source]] = {
        "path": lambda: _resolve_path(Path(source["path"])),
        "git": lambda: _resolve_git(source["git"], source["version"], cache),
        "archive": lambda: _resolve_archive(source["archive"], source["sha256"], cache),
        "package": lambda: _resolve_package(source["package"], source["version"]),
    }
    return resolvers[source["kind"]]()


def _resolve_package(package: str, version: str) -> Source:
    requirement = f"{package}=={version}"
    return Source({"package": requirement}, requirement, None)


# -- a local directory -------------------------------------------------------------------------------------------


def _resolve_path(root: Path) -> Source:
    files = list_files(root)
    if not files:
        raise SourceError(f"source.path {root} holds no files that .gitignore leaves in")
    digest = tree_digest(root, files)
    return Source({"tree": digest}, f"{root} ({digest[:12]})", lambda target: write_tree(root, files, target))


def list_files(root: Path) -> list[str]:
    """The files and symlinks below a directory that belong to the app, relative and sorted, honouring .gitignore."""
    listed = _git_listed(root)
    names = _walk(root) if listed is None else listed
    return sorted(name for name in names if _belongs(root, name))


def _belongs(root: Path, name: str) -> bool:
    if IGNORED_NAMES.intersection(PurePosixPath(name).parts):
        return False
    # lexists: git also lists files that were deleted in the work tree but not yet in a commit.
    return os.path.lexists(root / name) and not name.endswith(".pyc") and not (root / name).is_dir()


def _git_listed(root: Path) -> list[str] | None:
    """What git would take along; None when the directory has no use for git."""
    ask = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        answer = subprocess.run(ask, capture_output=True, check=False)
        if answer.returncode == 0:
            names = [name for name in answer.stdout.decode(errors="surrogateescape").split("\0") if name]
            return [inner for name in names for inner in _with_submodule(root, name)]
        if not any(root.rglob(".gitignore")):
            return None
        with tempfile.TemporaryDirectory() as scratch:
            # Outside any repository an empty one lends its reading of .gitignore.
            subprocess.run(["git", "init", "--quiet", scratch], check=True, capture_output=True)
            lend = ["git", f"--git-dir={scratch}/.git", f"--work-tree={root}", "-C", str(root)]
            listed = subprocess.run([*lend, *ask[3:]], capture_output=True, check=True)
            return [name for name in listed.stdout.decode(errors="surrogateescape").split("\0") if name]
    except FileNotFoundError:
        if any(root.rglob(".gitignore")):
            raise SourceError(
                f"source.path {root} has a .gitignore, and reading it takes git: install git here"
            ) from None
        return None
    except subprocess.CalledProcessError as error:
        raise SourceError(f"source.path {root}: git cannot list its files: {error.stderr.decode().strip()}") from error


def _with_submodule(root: Path, name: str) -> list[str]:
    """The files an entry stands for: itself, or those of a submodule or nested repository, which git does not list."""
    folder = root / name
    if not folder.is_dir() or folder.is_symlink():
        return [name]
    if not any(folder.iterdir()):
        raise SourceError(f"source.path {root}: the submodule {name} is empty; run `git submodule update --init` there")
    return [f"{name.rstrip('/')}/{inner}" for inner in _git_listed(folder) or []]


def _walk(root: Path) -> Iterator[str]:
    for folder, folders, files in os.walk(root):
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        folders[:] = [name for name in folders if name not in IGNORED_NAMES and name not in links]
        for name in files + links:
            yield os.path.relpath(os.path.join(folder, name), root)


def tree_digest(root: Path, files: list[str]) -> str:
    """A SHA-256 over names, contents, link targets and the executable bit: what makes a tree run differently."""
    total = hashlib.sha256()
    for name in files:
        path = root / name
        mode = path.lstat().st_mode
        content = os.readlink(path).encode() if stat.S_ISLNK(mode) else path.read_bytes()
        kind = "link" if stat.S_ISLNK(mode) else "exec" if mode & stat.S_IXUSR else "file"
        total.update(f"{name}\0{kind}\0{hashlib.sha256(content).hexdigest()}\n".encode(errors="surrogateescape"))
    return total.hexdigest()


def write_tree(root: Path, files: list[str], target: Path) -> None:
    """Write the files as a compressed tar archive with owners and times left out."""
    with tarfile.open(target, "w:gz", compresslevel=3, format=tarfile.PAX_FORMAT) as archive:
        for name in files:
            archive.add(root / name, arcname=name, recursive=False, filter=_canonical)
            # Otherwise the second name of a hard-linked file is stored as a link to the first.
            archive.inodes.clear()  # type: ignore[attr-defined]


def _canonical(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if not (entry.isreg() or entry.issym() or entry.isdir() or entry.islnk()):
        return None
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    entry.mtime = 0
    entry.mode = 0o755 if entry.mode & stat.S_IXUSR or entry.isdir() else 0o644
    return entry


# -- a git repository --------------------------------------------------------------------------------------------


def _resolve_git(url: str, version: str, cache: Path) -> Source:
    mirror = cache / "git" / (hashlib.sha256(url.encode()).hexdigest()[:24] + ".git")
    commit = version if COMMIT.fullmatch(version) else _ask_commit(url, version)
    return Source(
        {"git": commit},
        f"{_without_credentials(url)} {version} ({commit[:7]})",
        lambda target: _export_commit(url, version, commit, mirror, target),
    )


def _ask_commit(url: str, version: str) -> str:
    """The commit that a tag or branch names on the server now."""
    answer = _git(
        ["ls-remote", "--", url, f"refs/tags/{version}^{{}}", f"refs/tags/{version}", f"refs/heads/{version}"], url
    )
    commits = {name: commit for commit, name in (line.split("\t") for line in answer.splitlines())}
    for name in (f"refs/tags/{version}^{{}}", f"refs/tags/{version}", f"refs/heads/{version}"):
        if name in commits:
            return commits[name]
    raise SourceError(
        f"source.version {version!r} is neither a tag nor a branch of {_without_credentials(url)}; "
        "give one that exists, or a full 40-digit commit"
    )


def _export_commit(url: str, version: str, commit: str, mirror: Path, target: Path) -> None:
    with _exclusive(mirror):
        if not (mirror / "HEAD").exists():
            _git(["init", "--quiet", "--bare", str(mirror)], url)
        if not _has_commit(mirror, commit):
            _git(["-C", str(mirror), "fetch", "--quiet", "--force", "--", url, "+refs/*:refs/*"], url)
        if not _has_commit(mirror, commit):
            raise SourceError(f"source.version {version!r} (commit {commit}) is not in {_without_credentials(url)}")
        _refuse_submodules(url, mirror, commit)
        _git(["-C", str(mirror), "archive", "--format=tar.gz", "-3", "-o", str(target), commit], url)


def _refuse_submodules(url: str, mirror: Path, commit: str) -> None:
    listed = _git(["-C", str(mirror), "ls-tree", "-r", commit], url).splitlines()
    modules = [line.split("\t", 1)[1] for line in listed if line.startswith("160000 ")]
    if modules:
        raise SourceError(
            f"source.git {_without_credentials(url)} has submodules ({', '.join(modules)}), "
            "which a git source leaves out; clone it with them and use source.path"
        )


def _has_commit(mirror: Path, commit: str) -> bool:
    ask = ["git", "-C", str(mirror), "cat-file", "-e", f"{commit}^{{commit}}"]
    return subprocess.run(ask, capture_output=True, check=False).returncode == 0


def _git(arguments: list[str], url: str) -> str:
    # Nobody sits at this terminal: a question for a password would wait for ever.
    environment = {
        **os.environ,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_SSH_COMMAND": os.environ.get("GIT_SSH_COMMAND", "ssh -o BatchMode=yes"),
    }
    try:
        run = subprocess.run(
            ["git", *arguments], capture_output=True, check=True, env=environment, timeout=10 * NETWORK_TIMEOUT
        )
    except FileNotFoundError:
        raise SourceError("a git source needs the program git on the controller: install it") from None
    except subprocess.TimeoutExpired:
        raise SourceError(f"{_without_credentials(url)} did not answer git in {10 * NETWORK_TIMEOUT} s") from None
    except subprocess.CalledProcessError as error:
        reason = _without_credentials(error.stderr.decode(errors="replace").strip())
        raise SourceError(f"source.git {_without_credentials(url)}: {reason}") from None
    return run.stdout.decode()


def _without_credentials(text: str) -> str:
    """A URL, or a text with some, without passwords and without queries, which hold the tokens of signed addresses."""
    return re.sub(r"(://[^\s?#'\"]*)\?[^\s#'\"]*", r"\1", re.sub(r"(?<=://)[^/\s]*@", "", text))


# -- an archive --------------------------------------------------------------------------------------------------


def _resolve_archive(location: str, sha256: str, cache: Path) -> Source:
    stored = cache / "archives" / sha256
    return Source(
        {"archive": sha256},
        f"{_without_credentials(location)} ({sha256[:12]})",
        lambda target: _repack(_stored_archive(location, sha256, stored), _without_credentials(location), target),
    )


def _stored_archive(location: str, sha256: str, stored: Path) -> Path:
    with _exclusive(stored):
        if stored.exists():
            return stored
        partial = stored.with_suffix(".partial")
        found = _download(location, partial)
        if found != sha256:
            partial.unlink()
            raise SourceError(
                f"source.sha256 of {_without_credentials(location)} is {sha256}, but the archive has {found}; "
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
        raise SourceError(f"source.archive {_without_credentials(location)} cannot be read: {error}") from None
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
    try:
        with tarfile.open(archive) as source, tarfile.open(target, "w:gz", compresslevel=3) as copy:
            members = [member for member in source.getmembers() if member.name not in (".", "")]
            prefix = _common_folder([member.name for member in members])
            for member in members:
                name = str(PurePosixPath(member.name).relative_to(prefix))
                canonical = _canonical(member)
                if name == "." or canonical is None:
                    continue
                _refuse_outside(name, member, location)
                copy.addfile(*_entry(source, member, canonical, name))
    except tarfile.TarError as error:
        raise SourceError(f"source.archive {location} is not a tar archive: {error}") from None


def _entry(
    source: tarfile.TarFile, member: tarfile.TarInfo, canonical: tarfile.TarInfo, name: str
) -> tuple[tarfile.TarInfo, IO[bytes] | None]:
    """The entry and content to copy; a hard link becomes the file it names."""
    canonical.name = name
    if not (member.isreg() or member.islnk()):
        return canonical, None
    content = source.extractfile(member)
    if member.islnk() and content is not None:
        canonical.type, canonical.linkname = tarfile.REGTYPE, ""
        canonical.size = content.seek(0, os.SEEK_END)
        content.seek(0)
    return canonical, content


def _refuse_outside(name: str, member: tarfile.TarInfo, location: str) -> None:
    inside = PurePosixPath("/src")
    ends = [PurePosixPath(name)]
    if member.issym():
        ends.append(PurePosixPath(name).parent / member.linkname)
    for end in ends:
        if not PurePosixPath(os.path.normpath(inside / end)).is_relative_to(inside):
            raise SourceError(f"source.archive {location} holds {member.name!r}, which leads outside the archive")


def _common_folder(names: list[str]) -> str:
    folders = {PurePosixPath(name).parts[0] for name in names}
    only = folders.pop() if len(folders) == 1 else ""
    return only if only and any("/" in name for name in names) else ""


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    """Hold the lock of a cache entry: hosts are served by parallel processes of one controller."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # sources may be private
    with open(path.parent / f"{path.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
