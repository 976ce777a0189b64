# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds: source and virtual environment in one immutable directory named by the digest of its inputs."""

from __future__ import annotations

import grp
import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from ansible_collections.webops.wsgi.plugins.module_utils import assets, environment_reuse
from ansible_collections.webops.wsgi.plugins.module_utils.files import write_file

BUILD_FORMAT = 2  # part of every digest; raise it when the way a build is made changes what is in it
UV_CACHE = Path("/var/cache/wsgi/uv")
FREE_NEEDED = 500_000_000  # bytes; a large app's environment and what is downloaded for it
INSTALL_TIMEOUT = 1800  # seconds for one installer run: a large dependency compiled on a small host


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
        requirements: Requirements file or pyproject.toml within the source; empty to find it.
        packages: Further requirements, such as C(gevent==26.4.0).
        server: The requirement of the application server, installed unless the app brings its own.
        index_url: Package index, with credentials if it takes any.
        extra_index_urls: Further indexes.
        ca_bundle: CA bundle on the host that the indexes are verified with.
        public: Directories of the source that the web server serves.
        fingerprint: Pattern of the names of their files that carry a digest.
        persistent: Directories of the source that live in the state directory.
        brotli: Whether their files are compressed by brotli too.
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

    @property
    def digest(self) -> str:
        """The build's name: equal inputs, same build."""
        inputs = asdict(self)
        for cosmetic in ("label", "stamp", "uv", "ca_bundle"):
            del inputs[cosmetic]
        # A new password for the same index is no new build.
        inputs["index_url"] = without_credentials(self.index_url)
        inputs["extra_index_urls"] = [without_credentials(url) for url in self.extra_index_urls]
        if not self.brotli:
            del inputs["brotli"]  # builds from before there was it stay what they are
        inputs["format"] = BUILD_FORMAT
        text = json.dumps(inputs, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def without_credentials(url: str) -> str:
    """The URL without user and password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def choose_python(app: str, wanted: str, found: Mapping[str, str], default: str) -> tuple[str, str]:
    """Version and path of the interpreter an app gets.

    Args:
        app: The app's name, for the message.
        wanted: A version such as C(3.12); empty for the host's default.
        found: The host's interpreters by version.
        default: The version of the host's C(python3).

    Raises:
        BuildError: The host does not have it; the message lists what it has.
    """
    version = wanted or default
    if version in found:
        return version, found[version]
    available = ", ".join(f"{name} ({path})" for name, path in sorted(found.items())) or "none"
    raise BuildError(
        f'app "{app}": python.version is "{version}", which this host does not have; it has {available}. '
        "Install that interpreter or choose one of these"
    )


def build_path(root: Path, inputs: BuildInputs) -> Path:
    """Where the build lies, whether or not it exists."""
    return root / inputs.app / "builds" / inputs.digest


def is_complete(path: Path) -> bool:
    """Whether a build was finished: its description is written last."""
    return (path / "build.json").exists()


def make_build(root: Path, inputs: BuildInputs, archive: Path | None) -> Path:
    """Make the build, starting afresh where an earlier attempt was interrupted.

    A build is made in its final place, since a virtual environment holds its own path.

    Args:
        root: The directory of all apps, C(/srv).
        inputs: What to build.
        archive: The source's tar archive; None for a package.

    Raises:
        BuildError: A step failed; nothing that runs has been touched.
    """
    path = build_path(root, inputs)
    shutil.rmtree(path, ignore_errors=True)
    _refuse_full_disk(root, inputs)
    _make_parents(root, inputs.app, path)
    try:
        _unpack(archive, path / "src", inputs)
        _refuse_links_out(path / "src", inputs)
        recipe = _install(path, inputs)
        _link_persistent(path / "src", inputs)
        _link_instance_folder(path / "venv", inputs)
        _compile_bytecode(path)
        _compress(path, inputs)
        _restrict(path, inputs)
        assets.keep(root / inputs.app, path / "src", inputs.public, inputs.fingerprint)
        _describe(path, inputs, recipe)
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise
    return path


def _refuse_links_out(source: Path, inputs: BuildInputs) -> None:
    for path in assets.links_out(source, inputs.public):
        raise BuildError(
            f'app "{inputs.app}": source {inputs.label} has {path.relative_to(source)}, a link to {os.readlink(path)} '
            "among the static files, which leads out of the source; put there what visitors are to see itself"
        )


def _compress(path: Path, inputs: BuildInputs) -> None:
    try:
        assets.compress((path / "src" / name for name in inputs.public), inputs.brotli)
    except subprocess.CalledProcessError as error:
        raise BuildError(f'app "{inputs.app}": compressing its files failed: {error.stderr.decode()}') from error


def _refuse_full_disk(root: Path, inputs: BuildInputs) -> None:
    free = shutil.disk_usage(root).free
    if free < FREE_NEEDED:
        raise BuildError(
            f'app "{inputs.app}": {root} has {free // 1_000_000} MB free, a build needs {FREE_NEEDED // 1_000_000} MB; '
            "make room, or keep fewer releases with release_keep"
        )


def _make_parents(root: Path, app: str, path: Path) -> None:
    for folder in (root / app, root / app / "builds", path, path / "src"):
        folder.mkdir(mode=0o711, exist_ok=True)
        folder.chmod(0o711)


def _unpack(archive: Path | None, target: Path, inputs: BuildInputs) -> None:
    if archive is None:
        return
    try:
        with tarfile.open(archive) as source:
            # The controller made this archive and left nothing in it that leads outside.
            if hasattr(tarfile, "data_filter"):
                source.extractall(target, filter="tar")
            else:
                source.extractall(target)
    except (OSError, tarfile.TarError) as error:
        raise BuildError(f'app "{inputs.app}": source {inputs.label} cannot be unpacked: {error}') from None
    # nginx makes a file's ETag from its time and size: with one constant time a changed file could keep its tag.
    for path in target.rglob("*"):
        os.utime(path, (inputs.stamp, inputs.stamp), follow_symlinks=False)


def _compile_bytecode(path: Path) -> None:
    """Compile now what the app, which cannot write here, would otherwise compile at every start."""
    # -I: a PYTHONPYCACHEPREFIX of whoever runs this would put it elsewhere.
    command = [str(path / "venv/bin/python"), "-I", "-m", "compileall", "-qq", str(path / "src")]
    # A file that does not compile, such as a template of Python code, is no fault of the build.
    subprocess.run(command, check=False, capture_output=True)


# -- the virtual environment -------------------------------------------------------------------------------------


def _install(path: Path, inputs: BuildInputs) -> str:
    """Fill the virtual environment; returns its recipe."""
    venv, source = path / "venv", path / "src"
    runs = requirement_sets(source, inputs)
    recipe = environment_recipe(runs, inputs)
    same = environment_reuse.earlier(path.parent, recipe)
    if same:
        environment_reuse.take_over(same, venv)
        return recipe
    environment = installer_environment(inputs)
    create = (
        [inputs.uv, "venv", "--quiet", "--relocatable", "--python", inputs.interpreter, str(venv)]
        if inputs.installer == "uv"
        else [inputs.interpreter, "-m", "venv", str(venv)]
    )
    _run(create, inputs, environment, source)
    for requirements in runs:
        _run([*_installer(venv, inputs), *requirements], inputs, environment, source)
    return recipe


def environment_recipe(runs: list[list[str]], inputs: BuildInputs) -> str:
    """What names the virtual environment of a build; empty for one that no other build can take over."""
    if inputs.installer != "uv":  # the scripts in an environment that pip fills know their place
        return ""
    indexes = map(without_credentials, (inputs.index_url, *inputs.extra_index_urls))
    return environment_reuse.recipe(runs, inputs.python, inputs.interpreter, *indexes)


def _installer(venv: Path, inputs: BuildInputs) -> list[str]:
    if inputs.installer == "uv":
        return [inputs.uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(venv / "bin/python")]
    return [
        str(venv / "bin/python"),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-input",
        "--cache-dir",
        str(UV_CACHE.with_name("pip")),
    ]


def requirement_sets(source: Path, inputs: BuildInputs) -> list[list[str]]:
    """The arguments of each installer run.

    The app's own requirements come first and alone, because a file with hashes admits no requirement without one.
    The server is added only where the app does not bring it, so that the app's own pin wins.
    """
    runs: list[list[str]] = []
    named = requirements_file(source, inputs)
    if named and named.name == "pyproject.toml":
        runs.append([f"./{named.parent.relative_to(source)}"])
    elif named:
        runs.append(["-r", str(named)])
    extra = list(inputs.packages)
    if "package" in inputs.source:
        extra.append(inputs.source["package"])
    if inputs.server and not _brings(inputs.server, named, extra):
        extra.append(inputs.server)
    if extra:
        runs.append(extra)
    return runs


def requirements_file(source: Path, inputs: BuildInputs) -> Path | None:
    """The file that names the app's requirements, or None when it has none.

    Raises:
        BuildError: The named file does not exist in the source.
    """
    if inputs.requirements:
        named = source / inputs.requirements
        if not named.is_file():
            raise BuildError(
                f'app "{inputs.app}": python.requirements is "{inputs.requirements}", which {inputs.label} '
                "does not hold; name a file of the source"
            )
        return named
    for name in ("requirements.txt", "pyproject.toml"):
        if (source / name).is_file():
            return source / name
    return None


def _brings(server: str, named: Path | None, extra: list[str]) -> bool:
    name = requirement_name(server)
    if any(requirement_name(requirement) == name for requirement in extra):
        return True
    if named is None:
        return False
    text = named.read_text(errors="replace")
    if named.name == "pyproject.toml":
        return bool(re.search(rf"""["']{name}\b(?!-)""", text, re.IGNORECASE))
    return any(requirement_name(line) == name for line in text.splitlines())


def requirement_name(requirement: str) -> str:
    """The normalised project name of a requirement such as C(Flask[async]>=3)."""
    name = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)", requirement)
    return re.sub(r"[-_.]+", "-", name.group(1)).lower() if name else ""


def installer_environment(inputs: BuildInputs) -> dict[str, str]:
    """The environment of the installer: indexes go here, since arguments are visible to every local user."""
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}
    environment.update(UV_CACHE_DIR=str(UV_CACHE), UV_NO_CONFIG="1", UV_PYTHON_DOWNLOADS="never", UV_NO_PROGRESS="1")
    environment.update(PIP_DISABLE_PIP_VERSION_CHECK="1")
    if inputs.index_url:
        environment.update(UV_DEFAULT_INDEX=inputs.index_url, PIP_INDEX_URL=inputs.index_url)
    if inputs.extra_index_urls:
        urls = " ".join(inputs.extra_index_urls)
        environment.update(UV_INDEX=urls, PIP_EXTRA_INDEX_URL=urls)
    if inputs.ca_bundle:
        environment.update(SSL_CERT_FILE=inputs.ca_bundle, PIP_CERT=inputs.ca_bundle)
    return environment


def _run(command: list[str], inputs: BuildInputs, environment: dict[str, str], folder: Path) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=INSTALL_TIMEOUT,
            umask=0o022,
        )
    except FileNotFoundError:
        raise BuildError(f'app "{inputs.app}": {command[0]} does not exist on this host') from None
    except subprocess.TimeoutExpired:
        raise BuildError(f'app "{inputs.app}": the installer took longer than {INSTALL_TIMEOUT} s') from None
    if done.returncode:
        reason = "\n".join((done.stderr or done.stdout).strip().splitlines()[-25:])
        for url in (inputs.index_url, *inputs.extra_index_urls):
            reason = reason.replace(url, without_credentials(url)) if url else reason
        raise BuildError(f'app "{inputs.app}": installing the requirements of {inputs.label} failed:\n{reason}')


# -- what the app may see ----------------------------------------------------------------------------------------


def _link_persistent(source: Path, inputs: BuildInputs) -> None:
    for name in inputs.persistent:
        link = source / name
        if link.is_dir() and not link.is_symlink():
            _keep_seed(link, source.parent / "seed" / name)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(Path("/var/lib") / inputs.app / name)


def _link_instance_folder(venv: Path, inputs: BuildInputs) -> None:
    """Let the instance folder of an app that is installed as a package lie in the state directory too.

    Flask has it below C(var) of the environment, see https://flask.palletsprojects.com/en/stable/config/#instance-folders.
    """
    link = venv / "var"
    if link.is_symlink():  # of the build that the environment was taken over from
        link.unlink()
    if "instance" in inputs.persistent and not link.exists():
        link.symlink_to(Path("/var/lib") / inputs.app / "instance")


def _keep_seed(shipped: Path, seed: Path) -> None:
    """What the source ships in a persistent directory is kept aside; a release copies it where nothing is."""
    seed.parent.mkdir(parents=True, exist_ok=True)
    shipped.rename(seed)


def _restrict(path: Path, inputs: BuildInputs) -> None:
    """Root owns the build, the app's group reads it, and the web server reads its public directories alone."""
    group = grp.getgrnam(inputs.app).gr_gid
    os.chown(path / "venv", -1, group)
    # Only the top: below it are hard links to the installer's cache, whose modes other builds share.
    (path / "venv").chmod(0o750)
    public = [(path / "src" / name).resolve() for name in inputs.public]
    _set_modes(path / "src", group, public)
    if (path / "seed").exists():
        _set_modes(path / "seed", group, [])


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


def _describe(path: Path, inputs: BuildInputs, recipe: str) -> None:
    description: dict[str, Any] = {
        "source": inputs.label,
        "identity": inputs.source,
        "python": inputs.python,
        "recipe": recipe,
        "packages": installed_packages(path / "venv"),
    }
    write_file(path / "build.json", json.dumps(description, indent=2, sort_keys=True))


def installed_packages(venv: Path) -> dict[str, str]:
    """Name and version of every distribution in a virtual environment."""
    found = {}
    for info in venv.glob("lib/python*/site-packages/*.dist-info"):
        name, _dash, version = info.name.removesuffix(".dist-info").rpartition("-")
        found[requirement_name(name)] = version
    return found
