"""Make a virtual environment for development: ``python3 -m testbed.python_env [--python X] DIRECTORY REQUIREMENT...``.

pip installs uv, uv installs the rest: a tenth of the time. Both use the index and the certificates pip is set up for.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

from . import machine
from .engine import ROOT, install, say
from .errors import TestbedError

REQUIREMENTS = ROOT / "requirements-dev.txt"


def make(directory: Path, python: str, overrides: list[str], named: Path = REQUIREMENTS) -> None:
    """Make or update a virtual environment with what a file of requirements names.

    Args:
        directory: where it lies.
        python: the interpreter to make it with.
        overrides: pinned requirements that replace the same packages in that file.
        named: the file.

    Raises:
        TestbedError: the interpreter is too old, or an installation failed.
    """
    requirements = _requirements(named, overrides)
    stamp = directory / ".requirements"
    digest = hashlib.sha256("\n".join(requirements).encode()).hexdigest()
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == digest:
        return
    if not (directory / "bin" / "pip").exists():
        _create(directory, python)
    pip = [str(directory / "bin" / "python"), "-m", "pip"]
    say(f"installing Python packages into {directory.name}")
    uv = next(line for line in _lines(REQUIREMENTS) if line.startswith("uv=="))
    _run([*pip, "install", "--quiet", "--disable-pip-version-check", uv])
    command = [str(directory / "bin" / "uv"), "pip", "install", "--quiet", "--python", str(directory / "bin/python")]
    _run([*command, *requirements], env={**os.environ, **_uv_settings(pip)})
    stamp.write_text(digest, encoding="utf-8")


def _requirements(named: Path, overrides: list[str]) -> list[str]:
    replaced = {re.split(r"[=\[]", item)[0] for item in overrides}
    return [*(line for line in _lines(named) if re.split(r"[=\[]", line)[0] not in replaced), *overrides]


def _lines(named: Path) -> list[str]:
    lines = (line.strip() for line in named.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _create(directory: Path, python: str) -> None:
    asked = subprocess.run([python, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, text=True)
    if asked.returncode != 0 or tuple(map(int, asked.stdout.split())) < (3, 11):
        raise TestbedError(f"{python} is not Python 3.11 or newer; run `make PYTHON=python3.11` or newer")
    say(f"making {directory.name}")
    if subprocess.run([python, "-m", "venv", str(directory)], capture_output=True).returncode == 0:
        return
    install(["python3-venv"])  # Debian keeps it apart from python3
    _run([python, "-m", "venv", "--clear", str(directory)])


def _uv_settings(pip: list[str]) -> dict[str, str]:
    """Environment that makes uv use the index and the certificate authorities that pip uses."""
    listed = subprocess.run([*pip, "config", "list"], capture_output=True, text=True, check=False).stdout
    found = dict(re.findall(r"^(?:global|install|:env:)\.([a-z-]+)='(.*)'$", listed, re.MULTILINE))
    settings = {"UV_LINK_MODE": "hardlink", "UV_HTTP_TIMEOUT": "180"}
    if "index-url" in found:
        settings["UV_DEFAULT_INDEX"] = found["index-url"]
    bundle = found.get("cert") or machine.ca_bundle()
    if bundle:
        settings["SSL_CERT_FILE"] = str(bundle)
    return settings


def _run(command: list[str], env: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise TestbedError(f"{' '.join(command[:4])} … failed:\n{(done.stdout + done.stderr).strip()[-3000:]}")


def main() -> int:
    """Command line; problems end in one message and exit code 1."""
    parser = argparse.ArgumentParser(prog="testbed.python_env", description=__doc__)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("directory", type=Path)
    parser.add_argument("override", nargs="*", help="pinned requirement that replaces one of requirements-dev.txt")
    options = parser.parse_args()
    try:
        make(options.directory.resolve(), options.python, options.override)
    except TestbedError as error:
        print(f"testbed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
