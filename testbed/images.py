"""Build the images of Debian hosts and of the certificate authority, each once per recipe and week."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

from . import machine
from .engine import ROOT, docker, ensure, need, only_one, say
from .errors import TestbedError

RECIPES = Path(__file__).parent / "images"
SUITES = {"12": "bookworm", "13": "trixie"}
PULL_TIMEOUT = 90  # seconds after which a registry counts as unreachable
PREFIX = "webops-testbed"


def host_image(release: str) -> str:
    """Name of the image of a host running Debian ``release`` ("12" or "13"), built where missing."""
    return _image("host", release)


def prepared_image(release: str) -> str:
    """Name of the image of a host that has the packages of the roles already, built where missing."""
    defaults = (ROOT / "roles/python_app/defaults/main.yml").read_text(encoding="utf-8")
    uv = re.search(r'^python_app_uv_version: "(.+)"$', defaults, re.MULTILINE)
    if uv is None:
        raise TestbedError("roles/python_app/defaults/main.yml has no python_app_uv_version")
    environment = {"UV": uv[1], "INDEX": os.environ.get("PIP_INDEX_URL", "")}
    return _image("prepared", release, host_image(release), environment)


def engines_image(release: str) -> str:
    """Name of the image of such a host with container engines, built where missing."""
    return _image("engines", release, prepared_image(release))


def fleet_image(release: str) -> str:
    """Name of the image of a prepared host that has the packages of a fleet's hosts as well, built where missing."""
    return _image("fleet", release, prepared_image(release))


def python_image(release: str) -> str:
    """Name of an image with Python and little else, for images of apps to be made on; built where missing."""
    return _image("python", release)


def node_image() -> str:
    """Name of the image of a node of a Kubernetes cluster, built where missing."""
    return _image("node", "13")


def nginx_image() -> str:
    """Name of an image with nginx, for pods, built where missing."""
    return _image("nginx", "13")


def ca_image() -> str:
    """Name of the image of the ACME certificate authority, built where missing."""
    return _image("ca", "13")


def build_all() -> None:
    """Build every image that is missing, side by side."""
    with ThreadPoolExecutor() as pool:
        for building in [pool.submit(ca_image), *(pool.submit(prepared_image, release) for release in SUITES)]:
            building.result()


def _image(kind: str, release: str, base: str = "", environment: Mapping[str, str] | None = None) -> str:
    """Name of the image that a recipe makes, run with ``environment`` in ``base``, by default the bare release."""
    if release not in SUITES:
        raise TestbedError(f"no image of Debian {release!r}; there are {', '.join(SUITES)}")
    recipe = RECIPES / f"{kind}.sh"
    ensure()
    settings = machine.apt_sources(SUITES[release]) + machine.apt_settings()
    environment = environment or {}
    inputs = [recipe.read_text(encoding="utf-8"), settings, *([base, *environment.values()] if base else [])]
    name = f"{PREFIX}-{kind}{release}:{_digest(*inputs)}"
    with only_one(f"{kind}{release}"):
        if not _exists(name):
            started = time.monotonic()
            _build(name, recipe, base or _base(release), SUITES[release], environment)
            say(f"built {name} in {time.monotonic() - started:.0f} s")
    return name


def _digest(*inputs: str) -> str:
    """Short digest of everything that shapes an image; the week is part of it, so package lists never get old."""
    week = date.today().strftime("%G-%V")
    return hashlib.sha256("\0".join((*inputs, week)).encode()).hexdigest()[:12]


def _exists(image: str) -> bool:
    return docker("images", "--quiet", image) != ""


def _build(name: str, recipe: Path, base: str, suite: str, environment: Mapping[str, str]) -> None:
    """Run ``recipe`` in a container of the image ``base`` and keep the result as image ``name``."""
    variables = [f"--env={variable}={value}" for variable, value in environment.items()]
    container = docker("create", base, "sleep", "infinity")
    try:
        docker("start", container)
        _prepare_apt(container, suite)
        say(f"building {name}")
        docker("exec", "--interactive", *variables, container, "sh", "-s", stdin=recipe.read_text(encoding="utf-8"))
        docker("commit", container, name)
    finally:
        docker("rm", "--force", container)


def _prepare_apt(container: str, suite: str) -> None:
    """Let apt in the container reach packages the way this machine does."""
    bundle = machine.ca_bundle()
    if bundle is not None:
        docker("exec", container, "mkdir", "-p", "/etc/ssl/certs")
        docker("cp", str(bundle), f"{container}:/etc/ssl/certs/ca-certificates.crt")
    sources = machine.apt_sources(suite)
    if sources:
        docker("exec", container, "sh", "-c", "rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*")
        write(container, "/etc/apt/sources.list.d/debian.sources", sources)
    write(container, "/etc/apt/apt.conf.d/90machine", machine.apt_settings())


def write(container: str, path: str, content: str, mode: str = "0644", owner: str = "root") -> None:
    """Write a file in a container; its directory is made where missing."""
    script = 'mkdir -p "$(dirname "$1")" && cat >"$1" && chmod "$2" "$1" && chown "$3:" "$1"'
    docker("exec", "--interactive", container, "sh", "-c", script, "sh", path, mode, owner, stdin=content)


def _base(release: str) -> str:
    """Name of an image of the bare release: from a registry, else made by mmdebstrap from this machine's mirror."""
    name = f"{PREFIX}-base{release}:{_digest(release)}"
    with only_one(f"base{release}"):
        if _exists(name):
            return name
        say(f"fetching debian:{release}")
        try:
            docker("pull", "--quiet", f"debian:{release}", timeout=PULL_TIMEOUT)
            docker("tag", f"debian:{release}", name)
        except TestbedError:
            _debootstrap(name, SUITES[release])
    return name


def _debootstrap(image: str, suite: str) -> None:
    mirror = machine.debian_mirrors().get("main")
    if mirror is None:
        raise TestbedError(
            "no registry is reachable to pull a Debian image from, and this machine's apt names no Debian mirror to "
            "make one from. Pull or load `debian:12` and `debian:13` by hand, then run again."
        )
    need("mmdebstrap", "mmdebstrap")
    say(f"no registry answers; making a bare Debian {suite} with mmdebstrap")
    with tempfile.TemporaryDirectory(prefix="webops-testbed-") as scratch:
        archive = Path(scratch) / "base.tar"
        settings = [f"--aptopt={line.rstrip(';')}" for line in machine.apt_settings().splitlines()]
        mode = "root" if os.geteuid() == 0 else "unshare"
        command = ["mmdebstrap", f"--mode={mode}", "--variant=minbase", "--include=ca-certificates", *settings]
        done = subprocess.run([*command, suite, str(archive), mirror], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise TestbedError(f"mmdebstrap failed ({done.returncode}):\n{done.stderr.strip()[-2000:]}")
        docker("import", str(archive), image)
