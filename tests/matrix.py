"""Run the default scenario under the oldest and the newest ansible-core: ``python -m tests.matrix [NAME...]``.

Each runs in a virtual environment of its own, ``.venv-<name>``. Exit code 0 only when all have passed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from testbed import python_env
from testbed.engine import ROOT
from testbed.errors import TestbedError

PYTHONS = ("python3.15", "python3.14", "python3.13", "python3.12", "python3.11")
OLDEST = ("ansible-core==2.18.*", "ansible==11.*")  # the first that manages Debian 13
NEWEST = ("ansible-core", "ansible")  # that the interpreter can run


@dataclass(frozen=True)
class Variant:
    """One combination: a name, an interpreter, and what replaces the pins of requirements-dev.txt."""

    name: str
    python: str
    requirements: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """How a variant went, the versions it ran with, and the seconds it took."""

    variant: Variant
    versions: str
    passed: bool
    seconds: float


def variants() -> list[Variant]:
    """What to run, oldest ansible-core first."""
    return [
        Variant("core-2.18", "python3.11", OLDEST),
        Variant("python3.11", "python3.11", NEWEST),
        Variant("newest", newest_python(), NEWEST),
    ]


def newest_python() -> str:
    """The newest interpreter of this machine that runs, pyenv's versions included."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates = [*PYTHONS, *map(str, pyenv.glob("versions/3.*/bin/python3"))]
    found = {version: python for python in candidates if (version := _python_version(python))}
    return found[max(found)] if found else sys.executable


def _python_version(python: str) -> tuple[int, ...]:
    """Version of an interpreter; empty where it does not run."""
    try:
        asked = subprocess.run(
            [python, "-c", "import sys; print(*sys.version_info[:3])"], capture_output=True, text=True
        )
    except FileNotFoundError:
        return ()
    return tuple(map(int, asked.stdout.split()))


def run(variant: Variant) -> Outcome:
    """Make the variant's virtual environment and run the scenario in it."""
    started = time.monotonic()
    directory = ROOT / f".venv-{variant.name}"
    versions, passed = "", False
    try:
        python_env.make(directory, variant.python, list(variant.requirements))
        environment = {**os.environ, "PATH": f"{directory / 'bin'}:{os.environ['PATH']}", "VIRTUAL_ENV": str(directory)}
        versions = _versions(environment)
        print(f"\n=== {variant.name}: {versions}", flush=True)
        scenario = ["molecule", "test"]
        done = subprocess.run(scenario, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, check=False)
        passed = done.returncode == 0
    except TestbedError as error:
        print(f"{variant.name}: {error}", file=sys.stderr)
    return Outcome(variant, versions, passed, time.monotonic() - started)


def _versions(environment: dict[str, str]) -> str:
    """Which ansible-core and which Python a run uses, as they say themselves."""
    script = "import platform, ansible.release as r; print('core', r.__version__, 'Python', platform.python_version())"
    asked = subprocess.run(["python3", "-c", script], env=environment, capture_output=True, text=True, check=False)
    return asked.stdout.strip() or asked.stderr.strip()


def main(names: list[str]) -> int:
    """Run the named variants, or all, and end in a table."""
    chosen = [variant for variant in variants() if not names or variant.name in names]
    outcomes = [run(variant) for variant in chosen]
    print()
    for outcome in outcomes:
        result = "passed" if outcome.passed else "FAILED"
        print(f"{outcome.variant.name:12} {outcome.versions:42} {result} {outcome.seconds:7.1f} s")
    passed = sum(outcome.passed for outcome in outcomes)
    print(f"{passed} passed, {len(outcomes) - passed} failed")
    return 0 if outcomes and passed == len(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
