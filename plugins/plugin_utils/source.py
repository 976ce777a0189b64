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
import gzip
import hashlib
import lzma
import os
import re
import signal
import stat
import subprocess
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from ansible_collections.webops.wsgi.plugins.module_utils.build import archive as tree_archive

# Never part of a release: version control data and what Python and its tools write beside the code. Nor are virtual
# environments, whatever their name: they are the controller's.
IGNORED_NAMES = frozenset({".git", "__pycache__", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".DS_Store"})
COMMIT = re.compile(r"[0-9a-f]{40}")
NETWORK_TIMEOUT = 60  # seconds for one answer of a git or archive server
FETCH_TIMEOUT = 600  # seconds for all of a repository
# What git may speak. Other transports start any program (ext), read descriptors that nobody has opened (fd) or are
# helpers that happen to be installed. http is as weak as git; with a full commit as version, neither can be forged.
GIT_PROTOCOLS = ("https", "http", "ssh", "git", "file")
# Git sets these for its hooks: every git that a hook starts then works on the repository of the hook, whatever its
# arguments say. Others change what git finds in a repository, or keep it from finding one.
GIT_SURROUNDINGS = re.compile(
    r"GIT_(DIR|WORK_TREE|IMPLICIT_WORK_TREE|INDEX_FILE|COMMON_DIR|OBJECT_DIRECTORY|ALTERNATE_OBJECT_DIRECTORIES"
    r"|QUARANTINE_PATH|NAMESPACE|PREFIX|CEILING_DIRECTORIES|ATTR_SOURCE|GRAFT_FILE|SHALLOW_FILE|REPLACE_REF_BASE"
    r"|CONFIG.*|.*_PATHSPECS)"
)
# A commit has one content, whatever line ends and filters somebody's git gives it. What its own .gitattributes leave out
# (export-ignore) and fill in (export-subst) is the commit's word. See gitattributes(5).
AS_COMMITTED = "* -text -eol -filter -ident -working-tree-encoding\n"
NO_SETTINGS = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_ATTR_NOSYSTEM": "1"}
# What git says of a directory that no repository is above, and of no other.
NO_REPOSITORY = "not a git repository (or any"
UNREADABLE_DIRECTORY = "could not open directory"
LIST_FILES = ("ls-files", "-z", "--cached", "--others", "--exclude-standard")


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
        "git": lambda: _resolve_git(source["git"], source["version"], cache, bool(source.get("submodules"))),
        "archive": lambda: _resolve_archive(source["archive"], source["sha256"], cache),
        "package": lambda: _resolve_package(source["package"], source["version"]),
    }
    return resolvers[source["kind"]]()


def _resolve_package(package: str, version: str) -> Source:
    requirement = f"{package}=={version}"
    return Source({"package": requirement}, requirement, None)


# -- a local directory -------------------------------------------------------------------------------------------


def _resolve_path(root: Path) -> Source:
    try:
        files = list_files(root)
        digest = tree_digest(root, files)
    except OSError as error:
        raise SourceError(f"source.path {root} cannot be read: {error}; give yourself access to all of it") from None
    if not files:
        raise SourceError(f"source.path {root} holds no files that .gitignore leaves in")
    with _naming(f"source.path {root}"):
        tree_archive.survey(root, files)
    return Source({"tree": digest}, f"{root} ({digest[:12]})", lambda target: write_tree(root, files, target))


def list_files(root: Path) -> list[str]:
    """The files and symlinks below a directory that belong to the app, relative and sorted, honouring .gitignore.

    Raises:
        SourceError: They are not the same for everybody who asks.
        OSError: A directory cannot be read.
    """
    listed = _git_listed(root)
    return _belonging(root, _walk(root) if listed is None else listed)


def _belonging(root: Path, names: Iterable[str]) -> list[str]:
    kept = [name for name in names if _belongs(root, name)]
    environments = {name.removesuffix("pyvenv.cfg") for name in kept if name.endswith("/pyvenv.cfg")}
    return sorted(name for name in kept if not _below(name, environments))


def _below(name: str, folders: set[str]) -> bool:
    return any(name.startswith(folder) for folder in folders)


def _belongs(root: Path, name: str) -> bool:
    if IGNORED_NAMES.intersection(PurePosixPath(name).parts):
        return False
    try:
        mode = (root / name).lstat().st_mode
    except OSError:  # git also lists files that were deleted in the work tree but not yet in a commit
        return False
    # Sockets and pipes are what a program left there, and are not content.
    return not name.endswith(".pyc") and (stat.S_ISREG(mode) or stat.S_ISLNK(mode))


def _git_listed(root: Path) -> list[str] | None:
    """What git would take along; None when the directory has no use for git."""
    try:
        names = _names_of_repository(root)
        if names is not None:
            return [inner for name in names for inner in _with_submodule(root, name)]
        if not any(root.rglob(".gitignore")):
            return None
        with tempfile.TemporaryDirectory() as scratch:
            # Outside any repository an empty one lends its reading of .gitignore.
            _git_of_path(root, ["init", "--quiet", "--template=", scratch])
            lend = [f"--git-dir={scratch}/.git", f"--work-tree={root}"]
            return _names_for_everybody(root, lend)
    except FileNotFoundError:
        if any(root.rglob(".gitignore")) or any((folder / ".git").exists() for folder in (root, *root.parents)):
            raise SourceError(
                f"source.path {root} has a .gitignore or is in a git repository, and reading it takes git: "
                "install git here"
            ) from None
        return None


def _names_of_repository(root: Path) -> list[str] | None:
    """What the repository around a directory takes along of it; None where there is no repository."""
    try:
        return _names_for_everybody(root, [])
    except _GitPathError as error:
        # A repository that git refuses to read, such as another user's, may leave out what must not be uploaded.
        if NO_REPOSITORY in str(error):
            return None
        raise


def _names_for_everybody(root: Path, options: list[str]) -> list[str]:
    """What git lists, which must not depend on whose git it is."""
    shared = _git_of_path(root, [*options, "-c", "core.excludesFile=/dev/null", *LIST_FILES])
    own = set(_git_of_path(root, [*options, *LIST_FILES]))
    hidden = _belonging(root, (name for name in shared if name not in own))
    if hidden:
        raise SourceError(
            f"source.path {root} has {_some(hidden)}, which git leaves out for you alone, by core.excludesFile: "
            "name it in a .gitignore of the source, or remove it, since other people's builds would have it"
        )
    return shared


def _some(names: list[str]) -> str:
    """A few of many names."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


class _GitPathError(SourceError):
    """Git cannot say what a directory holds."""


def _git_of_path(root: Path, arguments: list[str]) -> list[str]:
    """The names that a git prints which runs in a directory."""
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, check=False, env=git_environment())
    errors = " ".join(done.stderr.decode(errors="replace").split())
    # It goes on without what it cannot read, as if that were not there.
    if done.returncode or UNREADABLE_DIRECTORY in errors:
        raise _GitPathError(f"source.path {root}: git cannot tell what .gitignore leaves in: {errors}")
    return [name for name in done.stdout.decode(errors="surrogateescape").split("\0") if name]


def _with_submodule(root: Path, name: str) -> list[str]:
    """The files an entry stands for: itself, or those of a submodule or nested repository, which git does not list."""
    folder = root / name
    if not folder.is_dir() or folder.is_symlink():
        return [name]
    if not any(folder.iterdir()):
        raise SourceError(f"source.path {root}: the submodule {name} is empty; run `git submodule update --init` there")
    return [f"{name.rstrip('/')}/{inner}" for inner in _git_listed(folder) or []]


def _walk(root: Path) -> Iterator[str]:
    for folder, folders, files in os.walk(root, onerror=_refuse_unreadable):
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        folders[:] = [name for name in folders if name not in IGNORED_NAMES and name not in links]
        for name in files + links:
            yield os.path.relpath(os.path.join(folder, name), root)


def _refuse_unreadable(error: OSError) -> None:
    raise error


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
    """Write the files as a compressed tar archive with owners and times left out.

    Raises:
        SourceError: They hold what is not taken to a host.
    """
    with _naming(f"source.path {root}"):
        tree_archive.pack(root, files, target)


@contextmanager
def _naming(what: str) -> Iterator[None]:
    """Say of what source a tree is that is not taken."""
    try:
        yield
    except tree_archive.TreeError as error:
        raise SourceError(f"{what} {error}; {error.fix}") from None


# -- a git repository --------------------------------------------------------------------------------------------


def _resolve_git(url: str, version: str, cache: Path, submodules: bool) -> Source:
    commit = version if COMMIT.fullmatch(version) else _ask_commit(url, version)
    return Source(
        {"git": commit},
        f"{_without_credentials(url)} {version} ({commit[:7]})",
        lambda target: _export_commit(url, version, commit, cache, submodules, target),
    )


def _ask_commit(url: str, version: str) -> str:
    """The commit that a tag or branch names on the server now."""
    names = (f"refs/tags/{version}^{{}}", f"refs/tags/{version}", f"refs/heads/{version}")
    answer = _git(["ls-remote", "--", url, *names], url, NETWORK_TIMEOUT)
    commits = {name: commit for commit, name in (line.split("\t") for line in answer.splitlines())}
    for name in names:
        if name in commits:
            return commits[name]
    raise SourceError(
        f"source.version {version!r} is neither a tag nor a branch of {_without_credentials(url)}; "
        "give one that exists, or a full 40-digit commit"
    )


def _export_commit(url: str, version: str, commit: str, cache: Path, submodules: bool, target: Path) -> None:
    """Write the tree of a commit, with those of its submodules where they are wanted, as an archive."""
    with tempfile.TemporaryDirectory() as scratch:
        exported = Path(scratch) / "tree.tar"
        modules = _archive_commit(url, version, commit, cache, exported)
        if modules and not submodules:
            raise SourceError(
                f"source.git {_without_credentials(url)} has submodules ({', '.join(sorted(modules))}), "
                "which a git source leaves out; add submodules: true to have them"
            )
        if modules:
            _add_submodules(url, commit, cache, modules, exported)
        # What a person commits with git is a tree; what somebody writes into a repository need not be.
        with _naming(f"source.git {_without_credentials(url)} {version}"):
            tree_archive.repack(exported, target)


def _mirror(url: str, cache: Path) -> Path:
    return cache / "git" / (hashlib.sha256(url.encode()).hexdigest()[:24] + ".git")


def _archive_commit(
    url: str, version: str, commit: str, cache: Path, exported: Path, prefix: str = ""
) -> dict[str, str]:
    """Write the tree of a commit as an archive; returns its submodules and their commits."""
    mirror = _mirror(url, cache)
    with _exclusive(mirror):
        if not (mirror / "HEAD").exists():
            _git(["init", "--quiet", "--bare", str(mirror)], url)
        if not _has_commit(mirror, commit):
            _git(["-C", str(mirror), "fetch", "--quiet", "--force", "--", url, "+refs/*:refs/*"], url)
        if not _has_commit(mirror, commit):
            raise SourceError(f"source.version {version!r} (commit {commit}) is not in {_without_credentials(url)}")
        _keep_as_committed(mirror)
        shape = ["--format=tar", f"--prefix={prefix}", "-o", str(exported)]
        own = ["-C", str(mirror), "-c", f"core.attributesFile={os.devnull}"]
        _git([*own, "archive", *shape, commit], url, surroundings=NO_SETTINGS)
        listed = _git(["-C", str(mirror), "ls-tree", "-r", "-z", commit], url).split("\0")
    entries = [line.split("\t", 1) for line in listed if line.startswith("160000 ")]
    return {path: kind.split()[2] for kind, path in entries}


def _keep_as_committed(mirror: Path) -> None:
    """Have files of a mirror come out as they were committed; C(info/attributes) has the last word on that."""
    attributes = mirror / "info/attributes"
    attributes.parent.mkdir(exist_ok=True)
    attributes.write_text(AS_COMMITTED)


def _add_submodules(
    url: str, commit: str, cache: Path, modules: Mapping[str, str], exported: Path, prefix: str = ""
) -> None:
    """Add the trees of submodules to an archive, at the commits that are recorded, and those of theirs."""
    addresses = _submodule_addresses(url, commit, cache) if modules else {}
    for path, recorded in modules.items():
        if path not in addresses:
            raise SourceError(f"source.git {_without_credentials(url)}: .gitmodules does not name {path}; add it there")
        address, below = _submodule_address(url, path, addresses[path]), f"{prefix}{path}/"
        part = exported.with_name("part.tar")
        inner = _archive_commit(address, recorded, recorded, cache, part, below)
        _append(part, exported)
        _add_submodules(address, recorded, cache, inner, exported, below)


def _append(part: Path, whole: Path) -> None:
    with tarfile.open(part) as source, tarfile.open(whole, "a") as target:
        for member in source:
            if not member.isdir():
                target.addfile(member, source.extractfile(member) if member.isreg() else None)


def _submodule_addresses(url: str, commit: str, cache: Path) -> dict[str, str]:
    """The address of each submodule by its path, as the commit's .gitmodules has it."""
    ask = ["config", "-z", "--blob", f"{commit}:.gitmodules", "--get-regexp", r"^submodule\..*\.(path|url)$"]
    found: dict[str, dict[str, str]] = {}
    for entry in _git(["-C", str(_mirror(url, cache)), *ask], url).split("\0"):
        key, _newline, value = entry.partition("\n")
        name, _dot, setting = key.rpartition(".")
        found.setdefault(name, {})[setting] = value
    return {module["path"]: module["url"] for module in found.values() if "path" in module and "url" in module}


def _submodule_address(parent: str, path: str, written: str) -> str:
    """Where a submodule is. A relative address counts from its parent's, see gitmodules(5).

    Raises:
        SourceError: A repository must not choose what git reads on this machine, or starts.
    """
    address = written
    if written.startswith(("./", "../")):
        base, rest = parent.rstrip("/"), written
        while rest.startswith(("./", "../")):
            if rest.startswith("../"):
                base = re.sub(r"[/:][^/:]*$", lambda cut: ":" if cut[0][0] == ":" else "", base)
            rest = rest.partition("/")[2]
        address = f"{base}{'' if base.endswith(':') else '/'}{rest}"
    protocol = git_protocol(address)
    local = protocol == "file" and git_protocol(parent) != "file"
    if address.startswith("-") or protocol not in GIT_PROTOCOLS or local:
        raise SourceError(
            f"source.git {_without_credentials(parent)}: its submodule {path} is at {_without_credentials(written)}, "
            "which is not allowed; give it an https or ssh address"
        )
    return address


def _has_commit(mirror: Path, commit: str) -> bool:
    ask = ["git", "-C", str(mirror), "cat-file", "-e", f"{commit}^{{commit}}"]
    return subprocess.run(ask, capture_output=True, check=False, env=git_environment()).returncode == 0


def _git(
    arguments: list[str], url: str, limit: int = FETCH_TIMEOUT, surroundings: Mapping[str, str] | None = None
) -> str:
    try:
        return _run(["git", *arguments], limit, {**git_environment(), **(surroundings or {})})
    except FileNotFoundError:
        raise SourceError("a git source needs the program git on the controller: install it") from None
    except subprocess.TimeoutExpired:
        raise SourceError(f"source.git {_without_credentials(url)} did not answer git within {limit} s") from None
    except subprocess.CalledProcessError as error:
        reason = _without_credentials(error.stderr.decode(errors="replace").strip())
        raise SourceError(f"source.git {_without_credentials(url)}: {reason}") from None


def _run(command: list[str], limit: int, environment: Mapping[str, str]) -> str:
    """Run git, and end it with every program it has started when it takes too long."""
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(
        command, stdin=nothing, stdout=pipe, stderr=pipe, env=environment, start_new_session=True
    ) as git:
        try:
            output, errors = git.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            # ssh and git-remote-https hold the pipes too, and would be waited for.
            os.killpg(git.pid, signal.SIGKILL)
            raise
    if git.returncode:
        raise subprocess.CalledProcessError(git.returncode, command, output, errors)
    return output.decode()


def git_environment() -> dict[str, str]:
    """The environment of every git: nothing in it says which repository, and nothing waits for a person."""
    kept = {name: value for name, value in os.environ.items() if not GIT_SURROUNDINGS.fullmatch(name)}
    return {
        **kept,
        "LC_ALL": "C",  # NO_REPOSITORY is English
        "GIT_NO_REPLACE_OBJECTS": "1",  # a commit is what its name says
        "GIT_ALLOW_PROTOCOL": ":".join(GIT_PROTOCOLS),
        # Nobody sits at this terminal: a question for a password would wait for ever.
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_SSH_COMMAND": kept.get("GIT_SSH_COMMAND", "ssh -o BatchMode=yes"),
    }


def git_protocol(url: str) -> str:
    """The protocol that git would speak to a repository.

    See https://git-scm.com/docs/git-clone#_git_urls and https://git-scm.com/docs/gitremote-helpers.
    """
    named = re.match(r"([A-Za-z0-9][A-Za-z0-9+.-]*)(::|://)", url)
    if named:
        return re.sub(r"^(git\+ssh|ssh\+git)$", "ssh", named.group(1))  # two old spellings of git's
    return "ssh" if re.match(r"[^/]*:", url) else "file"


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
    shown = _without_credentials(location)
    try:
        with _naming(f"source.archive {shown}"):
            tree_archive.repack(archive, target, strip_top=True)
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise SourceError(f"source.archive {shown} is not a tar archive: {error}") from None


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    """Hold the lock of a cache entry: hosts are served by parallel processes of one controller."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # sources may be private
    with open(path.parent / f"{path.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
