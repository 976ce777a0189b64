# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs in the build stage of an image: the build that hosts make, by the same program, in the image's own place.

As on hosts, nothing that comes from outside runs as root or gets to see the password of an index.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ansible_collections.webops.wsgi.plugins.module_utils.build import sandbox
from ansible_collections.webops.wsgi.plugins.module_utils.build.inputs import BuildError, BuildInputs
from ansible_collections.webops.wsgi.plugins.module_utils.build.make import describe, finish, run_program
from ansible_collections.webops.wsgi.plugins.module_utils.host.outgoing import outgoing
from ansible_collections.webops.wsgi.plugins.module_utils.image.bom import bill_of_materials
from ansible_collections.webops.wsgi.plugins.module_utils.image.layers import compile_anew, settle, split

HOME = Path("/wsgi")  # of the app in the image: what a release's directory is on a host
BUILD = HOME / "app"
OUT = Path("/out")
UV = Path("/opt/wsgi/uv")
SECRETS = Path("/run/secrets/wsgi")
BUILDER, PASSER = 65532, 65533  # users without a name: who builds, and who has the passwords meanwhile
WHEELS = Path("/usr/share/python-wheels")  # where Debian keeps the pip of new environments


@dataclass(frozen=True)
class Secrets:
    """What a build may use and no layer may hold.

    Attributes:
        index_url: Package index, with credentials if it takes any.
        extra_index_urls: Further indexes.
        authorities: The certificate authorities to trust, in PEM.
        proxy: HTTP proxy.
        no_proxy: What is reached without it.
    """

    index_url: str = ""
    extra_index_urls: list[str] = field(default_factory=list)
    authorities: str = ""
    proxy: str = ""
    no_proxy: list[str] = field(default_factory=list)


class StageSandbox:
    """Runs programs as users that exist nowhere else, in a container that ends with the build."""

    def workshop(self, _app: str) -> Path:
        """The image's own place, which is nobody else's."""
        return HOME

    def seen(self, _app: str, here: Path) -> Path:
        """The place itself."""
        return here

    def clear(self, app: str, cache: bool = False) -> None:
        """Nothing: each stage begins empty."""

    def build(self, _app: str, _here: Path, _limit: int, _readable: Sequence[Path]) -> list[str]:
        """The command that runs a build."""
        return _as_user(BUILDER)

    def service(self, _app: str, _limit: int, _kind: str = "index") -> list[str]:
        """The command that runs a program beside it."""
        return _as_user(PASSER)


def _as_user(user: int) -> list[str]:
    become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--no-new-privs", "--inh-caps=-all"]
    return [*become, "--", *sandbox.interpreter(sys.executable)]


def main(arguments: Sequence[str]) -> None:
    """Do a step of the stage, and end with a message to a person where it fails.

    Args:
        arguments: C(uv VERSION) to install uv, or C(build CONTEXT) to make the build.
    """
    try:
        if arguments[0] == "uv":
            _install_uv(arguments[1])
        else:
            _build(Path(arguments[1]))
    except BuildError as error:
        print(error, file=sys.stderr)
        sys.exit(1)


def _secrets() -> Secrets:
    return Secrets(**json.loads(SECRETS.read_text())) if SECRETS.exists() else Secrets()


def _install_uv(version: str) -> None:
    told = _secrets()
    pip = [str(file) for file in WHEELS.glob("pip-*.whl")]
    environment = {"PATH": os.defpath, "LANG": "C.UTF-8", "PYTHONPATH": ":".join(pip), "PIP_CONFIG_FILE": os.devnull}
    environment |= outgoing(told.proxy, told.no_proxy).variables()
    if told.index_url:
        environment["PIP_INDEX_URL"] = told.index_url
    if told.authorities:
        environment["PIP_CERT"] = _authorities(told)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--no-cache-dir", "--only-binary", ":all:", "--root-user-action", "ignore"]
    command += ["--target", str(UV), f"uv=={version}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"uv {version} cannot be installed in the build stage:\n{done.stderr.strip()[-2000:]}")


def _authorities(told: Secrets) -> str:
    """A file with the authorities, in the container of one step."""
    file = Path("/dev/shm/authorities.pem")
    file.write_text(told.authorities)
    return str(file)


def _build(context: Path) -> None:
    inputs = _here(BuildInputs(**json.loads((context / "inputs.json").read_text())), _secrets())
    told = _secrets()
    archive = context / "source.tar.gz"
    HOME.mkdir(exist_ok=True)
    os.chown(HOME, BUILDER, BUILDER)
    way_out = outgoing(told.proxy, told.no_proxy)
    found = run_program(BUILD, inputs, archive if archive.exists() else None, StageSandbox(), way_out)
    settle(BUILD, inputs.stamp)
    finish(BUILD, inputs)
    describe(BUILD, inputs, found)
    (BUILD / "bom.cdx.json").write_text(bill_of_materials(BUILD / "venv", inputs.app, inputs.version or inputs.label))
    compile_anew(sys.executable, BUILD / "venv", BUILD / "src")
    split(BUILD, OUT, inputs.stamp)


def _here(inputs: BuildInputs, told: Secrets) -> BuildInputs:
    """The inputs with what only the base image, or a secret, can say.

    Raises:
        BuildError: The base image has another Python than the app asks for.
    """
    interpreter = shutil.which(f"python{inputs.python}") or shutil.which("python3") or sys.executable
    asked = subprocess.run([interpreter, "-V"], capture_output=True, text=True, check=True).stdout
    version = ".".join(re.findall(r"\d+", asked)[:2])
    if inputs.python not in ("", version):
        raise BuildError(
            f'app "{inputs.app}": python.version is "{inputs.python}", but the base image has Python {version}; name '
            "one that has it with image_base"
        )
    return replace(
        inputs,
        python=version,
        interpreter=interpreter,
        uv=str(UV / "bin/uv"),
        index_url=told.index_url,
        extra_index_urls=told.extra_index_urls,
        ca_bundle=_authorities(told) if told.authorities else "",
    )
