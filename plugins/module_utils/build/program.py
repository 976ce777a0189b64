# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens inside the sandbox of a build: everything that touches, or runs, what comes from outside.

This module has no imports beyond the standard library and those of its kind: its text is sent into the sandbox.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ansible_collections.webops.wsgi.plugins.module_utils.build.archive import TreeError, unpack
from ansible_collections.webops.wsgi.plugins.module_utils.build.command import attempt
from ansible_collections.webops.wsgi.plugins.module_utils.build.inputs import (
    PACKAGES,
    REPOSITORIES,
    BuildError,
    BuildInputs,
    is_directory_within,
    without_credentials,
)
from ansible_collections.webops.wsgi.plugins.module_utils.build.locks import TOOLS, Lock
from ansible_collections.webops.wsgi.plugins.module_utils.build.project import (
    SETUP_CFG,
    deciding_file,
    foreign_imports,
    lock_kind,
)
from ansible_collections.webops.wsgi.plugins.module_utils.build.requirements import (
    environment_recipe,
    further,
    installed_packages,
    lacks_server,
    locked_recipe,
    requirement_name,
    requirement_sets,
)
from ansible_collections.webops.wsgi.plugins.module_utils.build.versions import version_variables
from ansible_collections.webops.wsgi.plugins.module_utils.failures.remedies import build_remedy

MANY_IMPORTS = 20  # that are named in a warning
REFUSED = 3  # exit code of a build whose error is a message to a person
CACHE, SCRATCH, HOME = "cache", "tmp", "home"  # beside the build


def main(job: dict[str, Any], stream: IO[bytes]) -> None:
    """Make the build, or say why not.

    The recipe of the environment is told before anything foreign runs, which could tell another one.

    Args:
        job: The inputs without credentials, the build's path, the recipes that are there already, and C(indexes) and
            C(proxies), as the installer gets them.
        stream: The source's archive.
    """
    inputs = BuildInputs(**job["inputs"])
    path = Path(job["path"])
    try:
        for folder in (path, path.parent / SCRATCH, path.parent / HOME):
            folder.mkdir()
        _unpack(stream, path / "src", inputs, job["archive"])
        _put_repositories_aside(path)
        _refuse_wrong_subdirectory(path / "src", inputs)
        plan = _plan(path, inputs)
        # Commands may change the environment, which is then no other build's.
        recipe = "" if inputs.commands else plan.recipe
        alone = not (plan.decided or plan.runs or inputs.commands or "package" in inputs.source)
        lacks = foreign_imports(path / inputs.tree, requirement_name(inputs.server))[:MANY_IMPORTS] if alone else []
        print(json.dumps({"recipe": recipe, "decided": plan.decided, "lacks": lacks}), flush=True)
        told = version_variables(path / "src", inputs.version)
        ours = installer_environment(path.parent, job["indexes"], job["ca"], job["proxies"])
        environment = {**told, **inputs.environment, **ours}
        _provide_repositories(path, inputs, environment)
        if recipe not in job["known"]:
            _install(path, inputs, plan, environment)
        _run_commands(path, inputs, environment)
        _link_persistent(path, inputs)
        _compile_bytecode(path, inputs)
    except BuildError as error:
        print(error, file=sys.stderr)
        sys.exit(REFUSED)


def _unpack(stream: IO[bytes], target: Path, inputs: BuildInputs, sent: bool) -> None:
    if not sent:
        target.mkdir()
        return
    try:
        unpack(stream, target, inputs.stamp)
    except TreeError as error:
        raise BuildError(f'app "{inputs.app}": the archive of {inputs.label} {error}') from None
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise BuildError(f'app "{inputs.app}": source {inputs.label} cannot be unpacked: {error}') from None


def _put_repositories_aside(path: Path) -> None:
    """They are for the installer, and no part of the app."""
    if (path / "src" / REPOSITORIES).exists():
        (path / "src" / REPOSITORIES).rename(path.parent / SCRATCH / REPOSITORIES)


def _provide_repositories(path: Path, inputs: BuildInputs, environment: dict[str, str]) -> None:
    """Have git find the repositories that came with the source, whatever program starts it."""
    folder, settings = path.parent / SCRATCH / REPOSITORIES, path.parent / HOME / ".gitconfig"
    bundles = json.loads((folder / "addresses.json").read_text()) if folder.exists() else {}
    for url, bundle in bundles.items():
        # Not 0.bundle.git, which git would take for the repository that 0.bundle means.
        repository = (folder / bundle).with_suffix(".git")
        clone = ["git", "clone", "--quiet", "--bare", str(folder / bundle), str(repository)]
        try:
            done = attempt(clone, folder, environment)
        except FileNotFoundError:
            raise BuildError(
                f'app "{inputs.app}": {inputs.label} has requirements in git repositories, and installing them takes '
                "git on this host; add git to build_packages"
            ) from None
        if done.returncode:
            raise _failed(inputs, f"the repository {without_credentials(url)} cannot be unpacked", done.stderr)
        spellings = {url, re.sub(r"^([\w.-]+@[\w.-]+):(?!//)", r"ssh://\1/", url)}
        for spelling in sorted(spellings):
            setting = f"url.{repository.as_uri()}.insteadOf"
            attempt(["git", "config", "--file", str(settings), "--add", setting, spelling], folder, environment)


def _refuse_wrong_subdirectory(source: Path, inputs: BuildInputs) -> None:
    if not is_directory_within(source, inputs.subdirectory):
        raise BuildError(
            f'app "{inputs.app}": source.subdirectory is "{inputs.subdirectory}", which is not a directory of '
            f"{inputs.label}; correct its name, and write it without symlinks"
        )


# -- the virtual environment -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """What is to be installed.

    Attributes:
        recipe: What names the environment.
        decided: The file that says what is installed, as seen from the app's own directory; empty for none.
        lock: That file when it is a lock, which says it once its tool is there.
        runs: The arguments of each installer run otherwise.
    """

    recipe: str
    decided: str
    lock: Path | None
    runs: list[list[str]]


def _plan(path: Path, inputs: BuildInputs) -> Plan:
    folder = path / inputs.tree
    decides = deciding_file(path / "src", inputs)
    decided = os.path.relpath(decides, folder) if decides else ""
    if decides and lock_kind(decides):
        return Plan(locked_recipe(decides, folder, inputs), decided, decides, [])
    runs = [*requirement_sets(decides, folder, inputs), *further(inputs)]
    return Plan(environment_recipe(runs, inputs), decided, None, runs)


def _install(path: Path, inputs: BuildInputs, plan: Plan, environment: dict[str, str]) -> None:
    venv, source = path / "venv", path / inputs.tree
    _create(venv, inputs, environment, source)
    if Path(plan.decided).name == SETUP_CFG:
        _make_installable(source / plan.decided)
    if plan.lock:
        lock = Lock(plan.lock, source, inputs, environment, path.parent / SCRATCH, _tools(path, inputs, environment))
        for requirements in lock.runs():
            _run([*_installer(venv, inputs), *requirements], inputs, environment, plan.lock.parent)
    for requirements in further(inputs) if plan.lock else plan.runs:
        _run([*_installer(venv, inputs), *requirements], inputs, environment, source)
    # What the app brings wins. Its requirements need not say so: an included file, a lock, a dependency may bring it.
    if lacks_server(inputs, installed_packages(venv)):
        _run([*_installer(venv, inputs), inputs.server], inputs, environment, source)


def _make_installable(configuration: Path) -> None:
    """Installers want a setup.py beside a setup.cfg, and need no more in it than this."""
    script = configuration.parent / "setup.py"
    if not script.exists():
        script.write_text("import setuptools\n\nsetuptools.setup()\n")


def _create(venv: Path, inputs: BuildInputs, environment: dict[str, str], folder: Path) -> None:
    create = (
        [inputs.uv, "venv", "--quiet", "--relocatable", "--python", inputs.interpreter, str(venv)]
        if inputs.installer == "uv"
        else [inputs.interpreter, "-m", "venv", str(venv)]
    )
    _run(create, inputs, environment, folder)


def _tools(path: Path, inputs: BuildInputs, environment: dict[str, str]) -> Callable[[str], str]:
    """Installs a tool that reads a lock, and returns its program."""

    def tool(name: str) -> str:
        if name == "uv" and inputs.installer == "uv":
            return inputs.uv
        venv = path.parent / SCRATCH / name
        _create(venv, inputs, environment, path)
        _run([*_installer(venv, inputs), *TOOLS[name]], inputs, environment, path)
        return str(venv / "bin" / name)

    return tool


def _installer(venv: Path, inputs: BuildInputs) -> list[str]:
    python = str(venv / "bin/python")
    if inputs.installer == "uv":
        return [inputs.uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python]
    return [python, "-m", "pip", "install", "--quiet", "--no-input"]


def installer_environment(
    workshop: Path, indexes: list[str], authorities: str, proxies: dict[str, str]
) -> dict[str, str]:
    """The environment of the installer. Whatever it builds inherits it, so there is no password in it.

    Args:
        workshop: The directory that the build may write to.
        indexes: Address of the package index, empty for the public one, and those of further ones.
        authorities: The certificate authorities to trust, in PEM; empty for the installer's own.
        proxies: Variables that name the HTTP proxies to use.
    """
    index, extra = indexes[0], " ".join(indexes[1:])
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(workshop / HOME), "LANG": "C.UTF-8"}
    # A host's /tmp may be one where nothing can be executed, which builds do.
    environment.update(TMPDIR=str(workshop / SCRATCH))
    environment.update(UV_CACHE_DIR=str(workshop / CACHE / "uv"), PIP_CACHE_DIR=str(workshop / CACHE / "pip"))
    environment.update(UV_NO_CONFIG="1", UV_PYTHON_DOWNLOADS="never", UV_NO_PROGRESS="1")
    # The host's /etc/pip.conf would be another source of packages than uv's.
    environment.update(PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_CONFIG_FILE=os.devnull, **proxies)
    if index:
        environment.update(UV_DEFAULT_INDEX=index, PIP_INDEX_URL=index)
    if extra:
        environment.update(UV_INDEX=extra, PIP_EXTRA_INDEX_URL=extra)
    if authorities:
        bundle = workshop / HOME / "authorities.pem"
        bundle.write_text(authorities)
        environment.update(SSL_CERT_FILE=str(bundle), PIP_CERT=str(bundle))
    return environment


def _run(command: list[str], inputs: BuildInputs, environment: dict[str, str], folder: Path) -> None:
    try:
        done = attempt(command, folder, environment)
    except OSError as error:
        raise BuildError(f'app "{inputs.app}": {command[0]} cannot be run on this host: {error.strerror}') from None
    if done.returncode:
        raise _failed(inputs, f"installing the requirements of {inputs.label} failed", done.stderr or done.stdout)


def _failed(inputs: BuildInputs, what: str, output: str) -> BuildError:
    """What failed, what to do about it where that is known, and the end of what it printed."""
    fix = build_remedy(output, inputs.build_packages)
    lines = output.strip().splitlines()
    # uv says first which package it was, and prints the traceback of that package's back end after it.
    named = [line for line in lines[:-25] if line.startswith("error: ")][:1]
    end = "\n".join([*named, *lines[-25:]])
    return BuildError(f'app "{inputs.app}": {what}{fix and ": "}{fix}:\n{end}')


# -- the app's own commands --------------------------------------------------------------------------------------

# An exception that a Python program ended with.
_RAISED = re.compile(r"^Traceback \(most recent call last\):\n(?:[ \t].*\n)+(\S.*)", re.MULTILINE)


def _run_commands(path: Path, inputs: BuildInputs, environment: dict[str, str]) -> None:
    """Run what the app wants to be run once for each build, and give what came of it the time of the source."""
    own = {**environment, "VIRTUAL_ENV": str(path / "venv"), **inputs.variables}
    own["PATH"] = f"{path / 'venv/bin'}:{environment['PATH']}"
    for command in inputs.commands:
        done = attempt(["/bin/sh", "-ec", command], path / inputs.tree, own, together=True)
        if done.returncode:
            how = f"exit code {done.returncode}" if done.returncode > 0 else f"signal {-done.returncode}"
            text = f"the build command {json.dumps(command, ensure_ascii=False)} failed with {how}"
            if exceptions := _RAISED.findall(done.stdout):
                text += f", {exceptions[-1]}"
            raise _failed(inputs, text, done.stdout)
    if inputs.commands:
        _refuse_missing(path / inputs.tree, inputs)
        set_times(path / "src", inputs.stamp)


def _refuse_missing(source: Path, inputs: BuildInputs) -> None:
    for name in inputs.public:
        if not (source / name).is_dir() and not name.startswith(f"{PACKAGES}/"):
            raise BuildError(
                f'app "{inputs.app}": static files are served from "{name}", which is not a directory of '
                f"{inputs.label} after the commands of build; correct its name, or have one of them make it"
            )


def set_times(source: Path, stamp: int) -> None:
    """Hosts and builds that make the same files tell clients the same of them."""
    for folder, _folders, names in os.walk(source):
        for name in names:
            os.utime(Path(folder, name), (stamp, stamp), follow_symlinks=False)


# -- the source tree ---------------------------------------------------------------------------------------------


def _link_persistent(path: Path, inputs: BuildInputs) -> None:
    for name in (*inputs.persistent, *inputs.persistent_files):
        link = path / inputs.tree / name
        shipped = link.is_file() if name in inputs.persistent_files else link.is_dir()
        try:
            if shipped and not link.is_symlink():
                _keep_seed(link, path / "seed" / name)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(Path("/var/lib") / inputs.app / name)
        except OSError as error:
            raise BuildError(
                f'app "{inputs.app}": {_setting(name, inputs)} has "{name}", which cannot be a link in {inputs.label}: '
                f"{error}"
            ) from None


def _setting(name: str, inputs: BuildInputs) -> str:
    return "persistent_files" if name in inputs.persistent_files else "persistent"


def _keep_seed(shipped: Path, seed: Path) -> None:
    """What the source ships of a persistent directory or file is kept aside; a release copies it where nothing is."""
    seed.parent.mkdir(parents=True, exist_ok=True)
    shipped.rename(seed)


def _compile_bytecode(path: Path, inputs: BuildInputs) -> None:
    """Compile now what the app, which cannot write here, would otherwise compile at every start."""
    # -I: a PYTHONPYCACHEPREFIX of whoever runs this would put it elsewhere.
    command = [inputs.interpreter, "-I", "-m", "compileall", "-qq", str(path / "src")]
    # A file that does not compile, such as a template of Python code, is no fault of the build.
    subprocess.run(command, check=False, capture_output=True, stdin=subprocess.DEVNULL)
