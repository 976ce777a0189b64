# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What shapes a build, and gives it its name.

This module has no imports beyond the standard library: its text is sent into the sandbox of a build.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

BUILD_FORMAT = 3  # part of every digest; raise it when the way a build is made changes what is in it
REPOSITORIES = ".git-repositories"  # directory of an archive with repositories that requirements are in
PACKAGES = ".packages"  # directory of a source tree with static files of installed packages


class BuildError(Exception):
    """A build that could not be made; the message says which app, which step and why."""


@dataclass(frozen=True)
class BuildInputs:
    """Everything that shapes a build.

    Attributes:
        app: Name of the app, its user and its directory below the root.
        source: The source's identity, as C(source.resolve) gives it.
        label: The source in a person's words; not part of the digest.
        stamp: Modification time of every file of the source, in seconds since the epoch; not part of the digest.
        python: Version of the interpreter, such as C(3.13).
        interpreter: Its path on the host.
        installer: C(uv) or C(pip).
        uv: Path of the uv program.
        requirements: Requirements file, lock or pyproject.toml within the source; empty to find it.
        packages: Further requirements, such as C(gevent==26.4.0).
        server: The requirement of the application server, installed unless the app brings its own.
        server_packages: The packages of which the app may bring any one, where they are more than that of C(server).
        index_url: Package index, with credentials if it takes any.
        extra_index_urls: Further indexes.
        ca_bundle: CA bundle on the host that the indexes are verified with.
        public: Directories of the source that the web server serves.
        fingerprint: Pattern of the names of their files that carry a digest.
        persistent: Directories of the source that live in the state directory.
        persistent_files: Files of the source that do.
        brotli: Whether their files are compressed by brotli too.
        subdirectory: The app's own directory within the source; empty for the source itself. Everything else that is a
            path within the source counts from there.
        commands: What runs in the source tree once the environment is there, a line for a shell each.
        variables: Environment variables of those commands.
        extras: Extras of the project that are installed with it.
        groups: Its dependency groups that are.
        environment: Environment variables of everything that runs in the build.
        version: What git says of the source; not part of the digest, the source's identity is.
        build_packages: Debian packages that the host has for the build; not part of the digest.
        seen: What is equal for all builds whose source has one stamp, a word; not part of the digest.
    """

    app: str
    source: dict[str, str]
    label: str
    python: str
    interpreter: str
    stamp: int = 0
    installer: str = "uv"
    uv: str = ""
    requirements: str = ""
    packages: list[str] = field(default_factory=list)
    server: str = ""
    index_url: str = ""
    extra_index_urls: list[str] = field(default_factory=list)
    ca_bundle: str = ""
    public: list[str] = field(default_factory=list)
    fingerprint: str = ""
    persistent: list[str] = field(default_factory=list)
    brotli: bool = False
    subdirectory: str = ""
    commands: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    extras: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    persistent_files: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    server_packages: list[str] = field(default_factory=list)
    version: str = ""
    build_packages: list[str] = field(default_factory=list)
    seen: str = ""

    @property
    def tree(self) -> str:
        """The app's own directory within a build."""
        return f"src/{self.subdirectory}".rstrip("/")

    @property
    def digest(self) -> str:
        """The build's name: equal inputs, same build."""
        inputs = asdict(self)
        for cosmetic in ("label", "stamp", "uv", "ca_bundle", "version", "build_packages", "seen"):
            del inputs[cosmetic]
        # What came later changes the names of no builds that do without it.
        for later in (
            "subdirectory",
            "commands",
            "variables",
            "extras",
            "groups",
            "persistent_files",
            "environment",
            "server_packages",
        ):
            if not inputs[later]:
                del inputs[later]
        # A new password for the same index is no new build.
        inputs["index_url"] = without_credentials(self.index_url)
        inputs["extra_index_urls"] = [without_credentials(url) for url in self.extra_index_urls]
        inputs["format"] = BUILD_FORMAT
        text = json.dumps(inputs, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def is_directory_within(top: Path, folder: str) -> bool:
    """Whether a relative path leads to a directory, and through no symlink, which leads wherever a build likes."""
    here = top
    for part in Path(folder).parts:
        here /= part
        if part == ".." or here.is_symlink() or not here.is_dir():
            return False
    return True


def without_credentials(url: str) -> str:
    """The URL without user and password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def choose_python(
    app: str, wanted: str, found: Mapping[str, str], default: str, why_not: str | None = None
) -> tuple[str, str]:
    """Version and path of the interpreter an app gets.

    Args:
        app: The app's name, for the message.
        wanted: A version such as C(3.12); empty for the host's default.
        found: The host's interpreters by version.
        default: The version of the host's C(python3).
        why_not: Why uv could not install it; None where uv was not to.

    Raises:
        BuildError: The host does not have it; the message lists what it has.
    """
    version = wanted or default
    if version in found:
        return version, found[version]
    available = ", ".join(f"{name} ({path})" for name, path in sorted(found.items())) or "none"
    if why_not is None:
        raise BuildError(
            f'app "{app}": python.version is "{version}", which this host does not have; it has {available}. Set '
            "python_app_python_downloads to true, install that interpreter, or choose one of these"
        )
    raise BuildError(
        f'app "{app}": python.version is "{version}", which this host does not have and uv could not install: '
        f"{why_not}. Set python_app_python_mirror to a mirror of python-build-standalone's releases that this host "
        f"reaches, or choose a version that the host has: {available}"
    )
