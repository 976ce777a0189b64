"""Run the example's own tests as its reader would: its pinned requirements in a virtual environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "flask_api"
VENV = ROOT / ".cache" / "example"


def main() -> int:
    """Make the environment, run pytest in the example's directory, return its exit code."""
    python = str(VENV / "bin" / "python")
    install = ["uv", "pip", "install", "--quiet", "--python", python]
    steps = [
        ["uv", "venv", "--quiet", "--clear", "--python", sys.executable, str(VENV)],
        [*install, "--require-hashes", "--requirement", str(EXAMPLE / "requirements.txt")],
        [*install, "pytest"],
    ]
    for step in steps:
        done = subprocess.run(step, check=False)
        if done.returncode != 0:
            return done.returncode
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLE)}
    tests = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={EXAMPLE}", "tests"]
    return subprocess.run(tests, cwd=EXAMPLE, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
