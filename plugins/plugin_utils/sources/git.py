# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A commit of a git repository as a source, with its submodules."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ansible_collections.webops.wsgi.plugins.module_utils.build import archive as tree_archive
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources import lfs
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources.cache import mark_used
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources.git_program import (
    GIT_PROTOCOLS,
    NO_SETTINGS,
    git,
    git_environment,
    git_protocol,
)
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources.model import (
    NETWORK_TIMEOUT,
    Source,
    SourceError,
    exclusive,
    naming,
    without_credentials,
)
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources.versions import described_version, tag_version

COMMIT = re.compile(r"[0-9a-f]{40}")
# A commit has one content, whatever line ends and filters somebody's git gives it. What its own .gitattributes leave
# out (export-ignore) and fill in (export-subst) is the commit's word. See gitattributes(5).
AS_COMMITTED = "* -text -eol -filter -ident -working-tree-encoding\n"


def resolve_git(url: str, version: str, cache: Path, submodules: bool) -> Source:
    commit, tag = (version, "") if COMMIT.fullmatch(version) else _ask_commit(url, version)
    named = tag_version(tag)
    # A tag that somebody names says what the code is; another one may say it of the same commit.
    return Source(
        {"commit": commit, **({"version": named} if named else {})},
        f"{without_credentials(url)} {version} ({commit[:7]})",
        lambda target: _export_commit(url, version, commit, cache, submodules, target),
        lambda: named or _describe(url, commit, cache),
    )


def _describe(url: str, commit: str, cache: Path) -> str:
    mirror = _mirror(url, cache)

    def ask(arguments: list[str]) -> str:
        try:
            return git(["-C", str(mirror), *arguments], url)
        except SourceError:
            return ""

    with exclusive(mirror):
        # Tags that came after the commit. Without a network those that are known must do.
        ask(["fetch", "--quiet", "--force", "--", url, "+refs/tags/*:refs/tags/*"])
    return described_version(ask, commit)


def _ask_commit(url: str, version: str) -> tuple[str, str]:
    """The commit that a tag or branch names on the server now, and the tag if it is one."""
    names = (f"refs/tags/{version}^{{}}", f"refs/tags/{version}", f"refs/heads/{version}")
    answer = git(["ls-remote", "--", url, *names], url, NETWORK_TIMEOUT)
    commits = {name: commit for commit, name in (line.split("\t") for line in answer.splitlines())}
    for name in names:
        if name in commits:
            return commits[name], version if name.startswith("refs/tags/") else ""
    raise SourceError(
        f"source.version {version!r} is neither a tag nor a branch of {without_credentials(url)}; "
        "give one that exists, or a full 40-digit commit"
    )


def _export_commit(url: str, version: str, commit: str, cache: Path, submodules: bool, target: Path) -> None:
    """Write the tree of a commit, with those of its submodules where they are wanted, as an archive."""
    with tempfile.TemporaryDirectory() as scratch:
        exported = Path(scratch) / "tree.tar"
        modules = _archive_commit(url, version, commit, cache, exported)
        if modules and not submodules:
            raise SourceError(
                f"source.git {without_credentials(url)} has submodules ({', '.join(sorted(modules))}), "
                "which a git source leaves out; add submodules: true to have them"
            )
        if modules:
            _add_submodules(url, commit, cache, modules, exported)
        # What a person commits with git is a tree; what somebody writes into a repository need not be.
        with naming(f"source.git {without_credentials(url)} {version}"):
            tree_archive.repack(exported, target)


def _mirror(url: str, cache: Path) -> Path:
    return cache / "git" / (hashlib.sha256(url.encode()).hexdigest()[:24] + ".git")


def _archive_commit(
    url: str, version: str, commit: str, cache: Path, exported: Path, prefix: str = ""
) -> dict[str, str]:
    """Write the tree of a commit as an archive; returns its submodules and their commits."""
    mirror = _mirror(url, cache)
    with exclusive(mirror):
        _make_mirror(mirror, url)
        if not _has_commit(mirror, commit):
            _fetch(mirror, url)
        if not _has_commit(mirror, commit):
            raise SourceError(f"source.version {version!r} (commit {commit}) is not in {without_credentials(url)}")
        _keep_as_committed(mirror)
        shape = ["--format=tar", f"--prefix={prefix}", "-o", str(exported)]
        own = ["-C", str(mirror), "-c", f"core.attributesFile={os.devnull}"]
        git([*own, "archive", *shape, commit], url, surroundings=NO_SETTINGS)
        lfs.fill_in(exported, url, mirror, commit)
        listed = git(["-C", str(mirror), "ls-tree", "-r", "-z", commit], url).split("\0")
    entries = [line.split("\t", 1) for line in listed if line.startswith("160000 ")]
    return {path: kind.split()[2] for kind, path in entries}


@contextmanager
def fetched_mirror(url: str, cache: Path) -> Iterator[Path]:
    """A copy of a repository as it is now, for as long as nobody else changes it."""
    mirror = _mirror(url, cache)
    with exclusive(mirror):
        _make_mirror(mirror, url)
        _fetch(mirror, url)
        told = git(["ls-remote", "--symref", "--", url, "HEAD"], url, NETWORK_TIMEOUT)
        head = re.match(r"ref: (refs/heads/\S+)\tHEAD", told)
        if head:
            git(["-C", str(mirror), "symbolic-ref", "HEAD", head[1]], url)
        yield mirror


def _make_mirror(mirror: Path, url: str) -> None:
    if not (mirror / "HEAD").exists():
        git(["init", "--quiet", "--bare", "--template=", str(mirror)], url)
    mark_used(mirror)


def _fetch(mirror: Path, url: str) -> None:
    git(["-C", str(mirror), "fetch", "--quiet", "--force", "--", url, "+refs/*:refs/*"], url)


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
            raise SourceError(f"source.git {without_credentials(url)}: .gitmodules does not name {path}; add it there")
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
    for entry in git(["-C", str(_mirror(url, cache)), *ask], url).split("\0"):
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
            f"source.git {without_credentials(parent)}: its submodule {path} is at {without_credentials(written)}, "
            "which is not allowed; give it an https or ssh address"
        )
    return address


def _has_commit(mirror: Path, commit: str) -> bool:
    ask = ["git", "-C", str(mirror), "cat-file", "-e", f"{commit}^{{commit}}"]
    return subprocess.run(ask, capture_output=True, check=False, env=git_environment()).returncode == 0
