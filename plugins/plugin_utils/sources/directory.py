# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A local directory as a source: the files of it that belong to the app."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from ansible_collections.webops.wsgi.plugins.module_utils.build import archive as tree_archive
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources.git_program import git_environment
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources.lfs import pointers_of_directory
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources.model import Source, SourceError, naming, some

# Never part of a release: version control data and what Python and its tools write beside the code. Nor are virtual
# environments, whatever their name: they are the controller's.
IGNORED_NAMES = frozenset({".git", "__pycache__", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".DS_Store"})
# What git says of a directory that no repository is above, and of no other.
NO_REPOSITORY = "not a git repository (or any"
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
            f"source.path {root} has {some(hidden)}, which git leaves out for you alone, by core.excludesFile: "
            "name it in a .gitignore of the source, or remove it, since other people's builds would have it"
        )
    return shared


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
    with naming(f"source.path {root}"):
        tree_archive.pack(root, files, target)
