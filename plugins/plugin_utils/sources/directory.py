# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A local directory as a source: the files of it that belong to the app."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path, PurePosixPath

from ansible_collections.webops.wsgi.plugins.module_utils.build import archive as tree_archive
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources.git_program import git_environment
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources.lfs import pointers_of_directory
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources.model import Source, SourceError, naming, some
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources.versions import described_version

# Never part of a release: version control data and what Python and its tools write beside the code. Nor are virtual
# environments, whatever their name: they are the controller's.
IGNORED_NAMES = frozenset({".git", "__pycache__", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".DS_Store"})
UNREADABLE_DIRECTORY = "could not open directory"
LIST_FILES = ("ls-files", "-z", "--cached", "--others", "--exclude-standard")


def resolve_directory(root: Path) -> Source:
    try:
        files = list_files(root)
        digest = tree_digest(root, files)
    except OSError as error:
        raise SourceError(f"source.path {root} cannot be read: {error}; give yourself access to all of it") from None
    if not files:
        raise SourceError(f"source.path {root} holds no files that .gitignore leaves in")
    with naming(f"source.path {root}"):
        tree_archive.survey(root, files)
    pointers = pointers_of_directory(root, files)
    if pointers:
        raise SourceError(
            f"source.path {root} has pointers of Git LFS in the place of {some(pointers)}; run `git lfs pull` there"
        )
    return Source(
        {"tree": digest},
        f"{root} ({digest[:12]})",
        lambda target: write_tree(root, files, target),
        lambda: described_version(lambda arguments: _run_git(root, arguments).stdout.decode()) if _has_git() else "",
    )


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
    with _reading(root) as options:
        if options is None:
            return None
        names = _names_for_everybody(root, options)
        return [inner for name in names for inner in _with_submodule(root, name)]


@contextmanager
def _reading(root: Path) -> Iterator[list[str] | None]:
    """The options with which git reads the .gitignore files of a directory; None where it has none to read."""
    in_repository = any((folder / ".git").exists() for folder in (root, *root.parents))
    if not in_repository and not any(root.rglob(".gitignore")):
        yield None
        return
    if not _has_git():
        raise SourceError(
            f"source.path {root} has a .gitignore or is in a git repository, and reading it takes git: install git here"
        )
    if in_repository:
        yield []
        return
    with tempfile.TemporaryDirectory() as scratch:
        # Outside any repository an empty one lends its reading of .gitignore.
        _git_of_path(root, ["init", "--quiet", "--template=", scratch])
        yield [f"--git-dir={scratch}/.git", f"--work-tree={root}"]


def _has_git() -> bool:
    return shutil.which("git") is not None


def left_out(root: Path, name: str) -> str:
    """The rule of a .gitignore by which nothing of a directory or file goes along; empty where something does.

    Raises:
        SourceError: Git cannot tell.
    """
    with _reading(root) as options:
        if options is None or _git_of_path(root, [*options, *LIST_FILES, "--", f":(literal){name}"]):
            return ""
        inside = (f"{folder}/{file}" for folder, _folders, files in os.walk(root / name) for file in files)
        first = [os.path.relpath(path, root) for path in islice(inside, 1)]
        # No rule makes it fail: the directory is empty, say.
        told = _run_git(root, [*options, "check-ignore", "--verbose", "--", name, *first]).stdout.decode()
    return told.partition("\t")[0]


def _names_for_everybody(root: Path, options: list[str]) -> list[str]:
    """What git lists, which must not depend on whose git it is."""
    shared = _git_of_path(root, [*options, "-c", "core.excludesFile=/dev/null", *LIST_FILES])
    own = set(_git_of_path(root, [*options, *LIST_FILES]))
    hidden = _belonging(root, (name for name in shared if name not in own))
    if hidden:
        raise SourceError(
            f"source.path {root} has {some(hidden)}, which git leaves out for you alone, by core.excludesFile: "
            "name it in a .gitignore of the source, or remove it, since other people's builds would have it"
        )
    return shared


def _git_of_path(root: Path, arguments: list[str]) -> list[str]:
    """The names that a git prints which runs in a directory."""
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, check=False, env=git_environment())
    errors = " ".join(done.stderr.decode(errors="replace").split())
    # A repository that git refuses to read, such as another user's, may leave out what must not be uploaded.
    # Of what it cannot open it only warns.
    if done.returncode or UNREADABLE_DIRECTORY in errors:
        raise SourceError(f"source.path {root}: git cannot tell what .gitignore leaves in: {errors}")
    return [name for name in done.stdout.decode(errors="surrogateescape").split("\0") if name]


def _run_git(root: Path, arguments: list[str]) -> subprocess.CompletedProcess[bytes]:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, check=False, env=git_environment())


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
    with naming(f"source.path {root}"):
        tree_archive.pack(root, files, target)
