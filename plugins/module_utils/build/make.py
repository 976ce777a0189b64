# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds: source and virtual environment in one immutable directory named by the digest of its inputs.

What comes from outside is unpacked, built and compiled in a sandbox, see C(program). Root copies what came of it
once nothing of that runs any more, and runs nothing of it itself.
"""

from __future__ import annotations

import grp
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ansible_collections.webops.wsgi.plugins.module_utils.build import archive as tree_archive
from ansible_collections.webops.wsgi.plugins.module_utils.build import (
    assets,
    locks,
    program,
    project,
    requirements,
    reuse,
    versions,
)
from ansible_collections.webops.wsgi.plugins.module_utils.build import command as build_command
from ansible_collections.webops.wsgi.plugins.module_utils.build import inputs as build_inputs
from ansible_collections.webops.wsgi.plugins.module_utils.build.copying import CopyError, copy_tree
from ansible_collections.webops.wsgi.plugins.module_utils.build.indexes import DIRECT, as_written, passed_on, reachable
from ansible_collections.webops.wsgi.plugins.module_utils.build.inputs import (
    PACKAGES,
    BuildError,
    BuildInputs,
    is_directory_within,
    without_credentials,
)
from ansible_collections.webops.wsgi.plugins.module_utils.build.requirements import installed_packages
from ansible_collections.webops.wsgi.plugins.module_utils.build.sandbox import (
    Outcome,
    Sandbox,
    SandboxError,
    clear_workshop,
    parcel,
    run,
)
from ansible_collections.webops.wsgi.plugins.module_utils.failures import remedies
from ansible_collections.webops.wsgi.plugins.module_utils.host.files import write_file
from ansible_collections.webops.wsgi.plugins.module_utils.host.marks import SEEN
from ansible_collections.webops.wsgi.plugins.module_utils.host.outgoing import Outgoing
from ansible_collections.webops.wsgi.plugins.module_utils.image import pull
from ansible_collections.webops.wsgi.plugins.module_utils.image.engine import Engine, Registry

FREE_NEEDED = 500_000_000  # bytes; a large app's environment and what is downloaded for it
FREE_LEFT = 100_000_000  # bytes that a build leaves on the disk
BUILD_TIMEOUT = 1800  # seconds for one build: a large dependency compiled on a small host
PARTS = ("src", "venv", "seed")  # of a build, as the sandbox leaves them
# What runs there: each module after those it imports.
PROGRAM = (
    tree_archive,
    reuse,
    remedies,
    build_command,
    build_inputs,
    project,
    locks,
    requirements,
    versions,
    program,
)


def build_path(root: Path, inputs: BuildInputs) -> Path:
    """Where the build lies, whether or not it exists."""
    return root / inputs.app / "builds" / inputs.digest


def is_complete(path: Path) -> bool:
    """Whether a build was finished: its description is written last."""
    return (path / "build.json").exists()


def make_build(root: Path, inputs: BuildInputs, archive: Path | None, sandbox: Sandbox, out: Outgoing = DIRECT) -> Path:
    """Make the build, starting afresh where an earlier attempt was interrupted.

    Args:
        root: The directory of all apps, C(/srv).
        inputs: What to build.
        archive: The source's tar archive; None for a package.
        sandbox: Where what comes from outside is unpacked and run.
        out: How it gets to the package index.

    Raises:
        BuildError: A step failed; nothing that runs has been touched.
    """
    path = build_path(root, inputs)
    shutil.rmtree(path, ignore_errors=True)
    _refuse_full_disk(root, inputs)
    _make_parents(root, inputs.app, path)
    try:
        sandbox.clear(inputs.app)
        told = run_program(path, inputs, archive, sandbox, out)
        _collect(sandbox.workshop(inputs.app), path, inputs)
        _take_environment_over(path, str(told["recipe"]))
        clear_workshop(sandbox.workshop(inputs.app))
        finish(path, inputs)
        _restrict(path, inputs)
        _keep_assets(root / inputs.app, path / inputs.tree, inputs)
        describe(path, inputs, told)
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        # The cache too: what is wrong with it would fail the next build as well.
        sandbox.clear(inputs.app, cache=True)
        raise
    return path


def make_image_build(root: Path, inputs: BuildInputs, engine: Engine, registry: Registry) -> Path:
    """Make the build of an app whose code and environment are in an image; one that lacks the image alone gets that.

    Raises:
        BuildError: A step failed; nothing that runs has been touched.
    """
    path = build_path(root, inputs)
    if is_complete(path):
        pull.fetch(inputs, engine, registry)
        return path
    shutil.rmtree(path, ignore_errors=True)
    _refuse_full_disk(root, inputs)
    _make_parents(root, inputs.app, path)
    try:
        packages = pull.fill(path, inputs, engine, registry)
        _refuse_links_out(path, inputs)
        _restrict(path, inputs)
        _keep_assets(root / inputs.app, path / inputs.tree, inputs)
        describe(path, inputs, {"recipe": "", "decided": "", "lacks": []}, packages)
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise
    return path


# -- in the sandbox ----------------------------------------------------------------------------------------------


def run_program(
    path: Path, inputs: BuildInputs, archive: Path | None, sandbox: Sandbox, out: Outgoing
) -> dict[str, Any]:
    """Unpack, install and compile.

    Returns:
        The recipe of the environment, and which file decided what is in it.

    Raises:
        BuildError: A step failed.
    """
    authorities = _authorities(inputs)
    here = path.parent
    try:
        with (
            passed_on(inputs, out, sandbox, BUILD_TIMEOUT) as told,
            reachable(inputs, authorities, sandbox, BUILD_TIMEOUT, out) as addresses,
        ):
            job = {
                "inputs": asdict(_without_passwords(inputs)),
                "path": str(sandbox.seen(inputs.app, here) / path.name),
                "known": sorted(reuse.recipes(here)),
                "indexes": [addresses.get(url, "") for url in (inputs.index_url, *inputs.extra_index_urls)],
                "ca": authorities,
                "proxies": told.variables(),
                "archive": archive is not None,
            }
            command = sandbox.build(inputs.app, here, BUILD_TIMEOUT, _local_indexes(inputs))
            outcome = run(command, parcel(PROGRAM, job), archive, BUILD_TIMEOUT)
    except SandboxError as error:
        raise BuildError(f'app "{inputs.app}": its build cannot be run: {error}') from None
    if outcome.code:
        relays = {out.http: told.http, out.https: told.https}
        raise BuildError(as_written(_failure(inputs, outcome), {**addresses, **relays}))
    return dict(json.loads(outcome.told))


def _failure(inputs: BuildInputs, outcome: Outcome) -> str:
    """Why a build failed, in a person's words."""
    if outcome.code == program.REFUSED:
        return outcome.errors
    if outcome.seconds >= BUILD_TIMEOUT:
        return f'app "{inputs.app}": the build of {inputs.label} took longer than {BUILD_TIMEOUT} s'
    return (
        f'app "{inputs.app}": the build of {inputs.label} ended with exit code {outcome.code}, '
        f"killed for want of memory if it says no more:\n{outcome.errors}"
    )


def _without_passwords(inputs: BuildInputs) -> BuildInputs:
    urls = [without_credentials(url) for url in inputs.extra_index_urls]
    return replace(inputs, index_url=without_credentials(inputs.index_url), extra_index_urls=urls)


def _authorities(inputs: BuildInputs) -> str:
    if not inputs.ca_bundle:
        return ""
    try:
        return Path(inputs.ca_bundle).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise BuildError(
            f'app "{inputs.app}": python.ca_bundle is "{inputs.ca_bundle}", which cannot be read on this host: '
            f"{error.strerror}; name a PEM file of the host"
        ) from None


def _local_indexes(inputs: BuildInputs) -> Sequence[Path]:
    """Directories of the host that are package indexes."""
    parts = map(urlsplit, (inputs.index_url, *inputs.extra_index_urls))
    return [Path(unquote(part.path)) for part in parts if part.scheme.lower() == "file"]


# -- what came of it ---------------------------------------------------------------------------------------------


def _collect(workshop: Path, path: Path, inputs: BuildInputs) -> None:
    """Copy the build into root's own files."""
    made = workshop / path.name
    room = shutil.disk_usage(path).free - FREE_LEFT
    owner = workshop.lstat().st_uid
    for part in PARTS:
        if not os.path.lexists(made / part):
            continue
        try:
            room = copy_tree(made / part, path / part, owner, room)
        except (CopyError, OSError) as error:
            raise BuildError(f'app "{inputs.app}": the build of {inputs.label} {error}') from None


def _take_environment_over(path: Path, recipe: str) -> None:
    """Link the environment of an earlier build where the sandbox was told that there is one."""
    if not (path / "venv").exists():
        same = reuse.earlier(path.parent, recipe)
        if same:
            reuse.take_over(same, path / "venv")


def finish(path: Path, inputs: BuildInputs) -> None:
    """Add to a build, when nothing foreign runs any more, what is made of its own files.

    Raises:
        BuildError: Something in it cannot be served.
    """
    _copy_package_files(path, inputs)
    _refuse_links_out(path, inputs)
    _link_instance_folder(path / "venv", inputs)
    _compress(path, inputs)


def _copy_package_files(path: Path, inputs: BuildInputs) -> None:
    """Copy static files of installed packages to where those of the source are, which others may read."""
    target = path / inputs.tree / PACKAGES
    wanted = [name.removeprefix(f"{PACKAGES}/") for name in inputs.public if name.startswith(f"{PACKAGES}/")]
    if wanted and os.path.lexists(target):
        raise BuildError(
            f'app "{inputs.app}": source {inputs.label} has {PACKAGES}, a name that the build needs itself'
        )
    for name in wanted:
        found = next(path.glob(f"venv/lib/python*/site-packages/{name}"), None)
        if not found or not found.is_dir() or not found.resolve().is_relative_to((path / "venv").resolve()):
            raise BuildError(
                f'app "{inputs.app}": nginx.static has "package:{name}", which is not a directory of the packages that '
                f"{inputs.label} installs; write the name by which Python imports the package, and the directory in it"
            )
        shutil.copytree(found, target / name, ignore=_links, dirs_exist_ok=True)
        program.set_times(target / name, inputs.stamp)


def _links(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if os.path.islink(os.path.join(folder, name))]


def _refuse_links_out(build: Path, inputs: BuildInputs) -> None:
    if not is_directory_within(build, inputs.tree):
        raise BuildError(f'app "{inputs.app}": the build of {inputs.label} has replaced {inputs.subdirectory}')
    source = build / inputs.tree
    for path in assets.links_out(source, inputs.public, inputs.persistent):
        raise BuildError(
            f'app "{inputs.app}": source {inputs.label} has {path.relative_to(source)}, a link to {os.readlink(path)} '
            "among the static files, which leads out of the source; put there what visitors are to see itself"
        )


def _compress(path: Path, inputs: BuildInputs) -> None:
    try:
        folders = assets.inside(path / inputs.tree, inputs.public)
        assets.compress((path / inputs.tree / name for name in folders), inputs.brotli)
    except subprocess.CalledProcessError as error:
        raise BuildError(f'app "{inputs.app}": compressing its files failed: {error.stderr.decode()}') from error


def _keep_assets(app: Path, source: Path, inputs: BuildInputs) -> None:
    assets.keep(app, source, assets.inside(source, inputs.public), inputs.fingerprint)


def _refuse_full_disk(root: Path, inputs: BuildInputs) -> None:
    free = shutil.disk_usage(root).free
    if free < FREE_NEEDED:
        raise BuildError(
            f'app "{inputs.app}": {root} has {free // 1_000_000} MB free, a build needs {FREE_NEEDED // 1_000_000} MB; '
            "make room, or keep fewer releases with release_keep"
        )


def _make_parents(root: Path, app: str, path: Path) -> None:
    for folder in (root / app, root / app / "builds", path):
        folder.mkdir(mode=0o711, exist_ok=True)
        folder.chmod(0o711)


# -- what the app may see ----------------------------------------------------------------------------------------


def _link_instance_folder(venv: Path, inputs: BuildInputs) -> None:
    """Let the instance folder of an app that is installed as a package lie in the state directory too.

    Flask has it below C(var) of the environment, see https://flask.palletsprojects.com/en/stable/config/#instance-folders.
    """
    link = venv / "var"
    if link.is_symlink():  # of the build that the environment was taken over from
        link.unlink()
    if "instance" in inputs.persistent and not link.exists():
        link.symlink_to(Path("/var/lib") / inputs.app / "instance")


def _restrict(path: Path, inputs: BuildInputs) -> None:
    """Root owns the build, the app's group reads it, and the web server reads its public directories alone."""
    group = grp.getgrnam(inputs.app).gr_gid
    if (path / "venv").exists():
        os.chown(path / "venv", -1, group)
        # Only the top: what is below it may be shared with other builds by hard links, and their modes with it.
        (path / "venv").chmod(0o750)
    place = path.resolve()  # /srv may be a link to another disk
    public = [(place / inputs.tree / name).resolve() for name in inputs.public]
    _set_modes(place / "src", group, public)
    if (place / "seed").exists():
        _set_modes(place / "seed", group, [])


def _set_modes(top: Path, group: int, public: list[Path]) -> None:
    for folder, folders, files in os.walk(top):
        here = Path(folder)
        shown = any(here == shown or shown in here.parents for shown in public)
        leads = shown or here == top or any(here in shown.parents for shown in public)
        os.chown(here, -1, group)
        here.chmod(0o755 if shown else 0o751 if leads else 0o750)
        for name in files:
            _set_mode(here / name, group, shown)
        for name in folders:
            if (here / name).is_symlink():
                os.lchown(here / name, -1, group)


def _set_mode(path: Path, group: int, shown: bool) -> None:
    os.lchown(path, -1, group)
    if path.is_symlink():
        return
    executable = path.stat().st_mode & 0o100
    path.chmod((0o755 if executable else 0o644) if shown else (0o750 if executable else 0o640))


def describe(path: Path, inputs: BuildInputs, told: dict[str, Any], packages: dict[str, str] | None = None) -> None:
    """Say what a build holds, which makes it a complete one; C(packages) are those of one without an environment."""
    description: dict[str, Any] = {
        "source": inputs.label,
        "identity": inputs.source,
        "python": inputs.python,
        "recipe": told["recipe"],
        "requirements": told["decided"],
        "lacks": told["lacks"],
        "packages": installed_packages(path / "venv") if packages is None else packages,
    }
    if inputs.seen:
        marker = path / f"{SEEN}{inputs.seen}"
        marker.touch()
        os.utime(marker, (inputs.stamp, inputs.stamp))
    write_file(path / "build.json", json.dumps(description, indent=2, sort_keys=True))


def description(path: Path) -> dict[str, Any]:
    """What is known of a complete build."""
    return dict(json.loads((path / "build.json").read_text()))
