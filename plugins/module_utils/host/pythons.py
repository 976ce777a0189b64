# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Interpreters that a host lacks, installed by uv: root's, read by all builds and apps, never changed.

A build knows its interpreter by its path, which has the patch version. A patch release is therefore another interpreter
beside the first one and makes other builds, which are deployed and gone back from as all others are.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.webops.wsgi.plugins.module_utils.host.files import remove_tree

FOLDER = Path("/opt/wsgi/pythons")
TIMEOUT = 900  # seconds for one interpreter, some 30 MB
UNUSED = 3600  # seconds that an interpreter stays without a build: the first one of it may just be made
INSTALLED = re.compile(r"cpython-(3\.\d+)\.(\d+)-[\w-]+")  # as uv names an ordinary build; others have a "+"


class PythonError(Exception):
    """An interpreter could not be installed; the message says why."""


@dataclass(frozen=True)
class Installer:
    """How interpreters get to the host.

    Attributes:
        uv: Path of the uv program, below a directory that is named after its version.
        mirror: Address that stands for that of python-build-standalone's releases; empty for the public one.
        ca_bundle: File with the certificate authorities to trust; empty for uv's own.
        proxies: Variables that name the HTTP proxies to use.
        folder: The directory of all interpreters.
    """

    uv: str
    mirror: str = ""
    ca_bundle: str = ""
    proxies: Mapping[str, str] = field(default_factory=dict)
    folder: Path = FOLDER

    def link(self, version: str) -> Path:
        """The link to the interpreter that this uv has installed for a version: a later uv knows a later patch."""
        return self.folder / f"{version}-by-{Path(self.uv).parents[1].name}"


def installed(installer: Installer) -> dict[str, str]:
    """The interpreters that this uv has installed, C({"3.12": "/opt/wsgi/pythons/…/bin/python3.12"})."""
    found = {}
    for link in installer.folder.glob(installer.link("3.*").name):
        version = link.name.partition("-")[0]
        program = Path(os.path.realpath(link), "bin", f"python{version}")
        if os.access(program, os.X_OK):
            found[version] = str(program)
    return found


def install(version: str, installer: Installer) -> str:
    """Install the newest patch of a version that uv knows; returns the path of the interpreter.

    Raises:
        PythonError: uv cannot install it.
    """
    installer.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    options = ["--no-bin", "--upgrade", "--compile-bytecode", "--no-progress", "--no-cache"]
    command = [installer.uv, "python", "install", *options, version]
    try:
        done = subprocess.run(
            command,
            cwd="/",
            env=_environment(installer),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=TIMEOUT,
            umask=0o022,
        )
    except subprocess.TimeoutExpired:
        raise PythonError(f"it took longer than {TIMEOUT} s") from None
    except OSError as error:
        raise PythonError(f"{installer.uv} cannot be run: {error.strerror}") from None
    if done.returncode:
        raise PythonError(_reason(done.stderr))
    (installer.folder / ".lock").chmod(0o600)  # uv lets everybody write to it
    newest = max(_patches(version, installer.folder), default=None)
    if newest is None:
        raise PythonError(f"uv has installed none below {installer.folder}")
    _point(installer.link(version), newest[1].name)
    return installed(installer)[version]


def _environment(installer: Installer) -> dict[str, str]:
    """What uv gets. The host's own /etc/uv/uv.toml counts, nobody else's."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "LANG": "C.UTF-8"}
    environment["UV_PYTHON_INSTALL_DIR"] = str(installer.folder)
    if installer.mirror:
        environment["UV_PYTHON_INSTALL_MIRROR"] = installer.mirror
    if installer.ca_bundle:
        environment["SSL_CERT_FILE"] = installer.ca_bundle
    return environment | dict(installer.proxies)


def _reason(output: str) -> str:
    """What uv says was wrong, and the last of its causes, in one line."""
    said = [re.sub(r"^(error|cause): ", "", line.strip()) for line in output.splitlines() if line.strip()]
    told = [line for line in said if line.startswith("Failed to ")] or said[:1]
    return ": ".join(dict.fromkeys([*told, *said[-1:]])) or "uv does not say why"


def _patches(version: str, folder: Path) -> Iterator[tuple[int, Path]]:
    for path in folder.iterdir():
        match = INSTALLED.fullmatch(path.name)
        if match and match[1] == version and path.is_dir() and not path.is_symlink():
            yield int(match[2]), path


def _point(link: Path, target: str) -> None:
    new = link.with_name(f".{link.name}")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.rename(link)


def remove_unused(root: Path, folder: Path = FOLDER) -> None:
    """Remove interpreters that no build uses any more, and the links to them.

    Args:
        root: The directory of all apps.
        folder: The directory of all interpreters.
    """
    if not folder.is_dir():
        return
    used = {os.path.realpath(program) for program in root.glob("*/builds/*/venv/bin/python")}
    for path in folder.glob("cpython-*"):
        if path.is_symlink() or any(program.startswith(f"{os.path.realpath(path)}/") for program in used):
            continue
        if time.time() - path.stat().st_mtime > UNUSED:
            remove_tree(path)
    for link in folder.iterdir():
        if link.is_symlink() and not link.exists():
            link.unlink()
