# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requirements that are in private git repositories: the controller fetches them, as it does sources.

A build runs strangers' code, which must not see a key or a token. So what not everybody may read goes along with the
source, as a bundle, and git is told in the build that the repository is there. What everybody may read the host fetches
itself.
"""

from __future__ import annotations

import json
import posixpath
import re
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from ansible_collections.webops.wsgi.plugins.module_utils.build import archive as tree_archive
from ansible_collections.webops.wsgi.plugins.module_utils.build.inputs import REPOSITORIES
from ansible_collections.webops.wsgi.plugins.module_utils.build.project import LOCKS, lock_kind
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources.git import fetched_mirror
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources.git_program import (
    NO_SETTINGS,
    git,
    git_protocol,
)
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources.model import (
    NETWORK_TIMEOUT,
    SourceError,
    without_credentials,
)

MAX_TEXT = 20_000_000  # bytes of a file that names requirements
NAMES_REQUIREMENTS = re.compile(r"pyproject\.toml|setup\.(cfg|py)|Pipfile|(.*/)?[^/]*(requirements|constraints)[^/]*")
ADDRESSES = (
    re.compile(r"\bgit\+([a-z]+://[^\s\"'#;,\])]+)"),  # of a requirement
    re.compile(r"\bgit[\"']?\s*[=:]\s*[\"']([^\"'?#]+)"),  # of a table of uv, Poetry, PDM and Pipenv
    re.compile(r"\btype\s*=\s*\"git\"\s*,?\s*url\s*=\s*\"([^\"]+)"),  # of poetry.lock and pylock.toml
)
INCLUDED = re.compile(r"^\s*(?:-[rc]|--requirement|--constraint)[\s=]*([^\s#]+)", re.MULTILINE)
REVISION = re.compile(r"(?<=[^/:])@[^/@]+$")  # behind the path


def bring(archive: Path, named: str, packages: Iterable[str], cache: Path) -> list[str]:
    """Add the private repositories that requirements are in to the archive of a source.

    Returns:
        What could not be fetched here, and is left to the host: it may have a way to another server, but no ssh key.

    Args:
        archive: The canonical archive of the source, which is written again.
        named: The file that C(python.requirements) names.
        packages: Requirements beside those of the source.
        cache: The controller's directory for git mirrors.

    Raises:
        SourceError: One of them cannot be fetched.
    """
    found = [url for url in addresses(_texts(archive, named, packages)) if not _is_public(url)]
    left: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        bundles: dict[str, Path] = {}
        for number, url in enumerate(found):
            try:
                _bundle(url, cache, Path(scratch, f"{number}.bundle"))
                bundles[url] = Path(scratch, f"{number}.bundle")
            except SourceError as error:
                if git_protocol(url) == "ssh":
                    raise
                left.append(str(error))
        if bundles:
            told = Path(scratch, "addresses.json")
            told.write_text(json.dumps({url: path.name for url, path in bundles.items()}))
            tree_archive.add(archive, {f"{REPOSITORIES}/{path.name}": path for path in (told, *bundles.values())})
    return left


def addresses(texts: Iterable[str]) -> list[str]:
    """The repositories that requirements are in, by ssh or http, as git gets their addresses."""
    found = {
        REVISION.sub("", match[1].partition("?")[0])
        for text in texts
        for pattern in ADDRESSES
        for match in pattern.finditer(text)
    }
    return sorted(url for url in found if git_protocol(url) in ("ssh", "https", "http"))


def _texts(archive: Path, named: str, packages: Iterable[str]) -> list[str]:
    texts: dict[str, str] = {}
    with tarfile.open(archive) as members:
        files = {member.name: member for member in members if member.isreg() and member.size <= MAX_TEXT}
        if any(PurePosixPath(name).parts[0] == REPOSITORIES for name in members.getnames()):
            raise SourceError(f"the source has {REPOSITORIES}, a name that the build needs itself; rename it")
        wanted = [name for name in files if _is_read(name, named)]
        while wanted:
            name = wanted.pop()
            content = members.extractfile(files[name])
            texts[name] = content.read().decode(errors="replace") if content else ""
            included = {_beside(name, path) for path in INCLUDED.findall(texts[name])}
            wanted += [path for path in included if path in files and path not in texts and path not in wanted]
    return [*packages, *texts.values()]


def _beside(name: str, path: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), path))


def _is_read(name: str, named: str) -> bool:
    chosen = bool(named) and name.endswith(named)
    return chosen or lock_kind(Path(name)) in LOCKS or _names_requirements(PurePosixPath(name))


def _names_requirements(name: PurePosixPath) -> bool:
    return bool(NAMES_REQUIREMENTS.fullmatch(name.name)) or "requirements" in name.parts[:-1]


def _is_public(url: str) -> bool:
    """Whether everybody may read a repository, without what this machine and its user know."""
    if git_protocol(url) == "ssh":
        return False
    nobody = {**NO_SETTINGS, "HOME": "/nonexistent", "XDG_CONFIG_HOME": "/nonexistent", "GIT_ASKPASS": "true"}
    try:
        git(["ls-remote", "--", url, "HEAD"], url, NETWORK_TIMEOUT, nobody)
    except SourceError:
        return "@" in url.partition("://")[2].partition("/")[0]  # it brings what it takes
    return True


def _bundle(url: str, cache: Path, target: Path) -> None:
    try:
        with fetched_mirror(url, cache) as mirror:
            git(["-C", str(mirror), "bundle", "create", "--quiet", str(target), "HEAD", "--branches", "--tags"], url)
    except SourceError as error:
        reason = str(error).removeprefix(f"source.git {without_credentials(url)}: ")
        raise SourceError(
            f"a requirement is in the git repository {without_credentials(url)}, which this machine cannot fetch: "
            f"{reason}; give whoever runs Ansible access to it, by an ssh key or a credential helper of git"
        ) from None
