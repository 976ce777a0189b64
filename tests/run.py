"""Run the checks one after the other and end in one summary: ``python tests/run.py [lint|unit|molecule]``.

Exit code 0 only when all have passed. The last line is ``N passed, N failed``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SUMMARY = ROOT / ".cache" / "test-summary.txt"  # what .ci/run shows last
SOURCES = ["plugins", "tests", "testbed", "molecule", "bench", "examples"]


@dataclass(frozen=True)
class Step:
    """One check: a command that exits 0 when all is well."""

    group: str
    name: str
    command: list[str]


@dataclass(frozen=True)
class Outcome:
    """How a step went, and how long it took in seconds."""

    step: Step
    passed: bool
    seconds: float


def steps() -> list[Step]:
    """All checks, quick ones first."""
    here = [source for source in SOURCES if (ROOT / source).is_dir()]
    python = sys.executable
    return [
        Step("lint", "ruff check", ["ruff", "check", *here]),
        Step("lint", "ruff format", ["ruff", "format", "--check", *here]),
        Step("lint", "yamllint", ["yamllint", "--strict", "."]),
        Step("lint", "mypy", ["mypy"]),
        Step("lint", "mypy testbed", ["mypy", "--strict", "testbed", "tests/run.py", "tests/matrix.py"]),
        Step("lint", "defaults = argument_specs", [python, "tests/quality/role_variables.py"]),
        Step("lint", "role READMEs current", [python, "tests/quality/role_readmes.py", "--check"]),
        Step("lint", "ansible-lint", ["ansible-lint", "--offline"]),
        Step("lint", "ansible-test sanity", [python, "tests/quality/sanity.py"]),
        Step("lint", "changelog", ["antsibull-changelog", "lint"]),
        Step("lint", "installs", [python, "tests/quality/installs.py"]),
        Step("unit", "unit and template tests", [python, "-m", "pytest", "-q"]),
        Step("unit", "examples/flask_api", [python, "tests/example.py"]),
        Step("molecule", "engine and images", [python, "-m", "testbed", "images"]),
        *(Step("molecule", f"molecule {name}", ["molecule", "test", "--scenario-name", name]) for name in scenarios()),
    ]


def scenarios() -> list[str]:
    """The Molecule scenarios by name."""
    return sorted(path.parent.name for path in ROOT.glob("molecule/*/molecule.yml"))


def run(step: Step) -> Outcome:
    """Run one step, its output going straight to the terminal."""
    print(f"\n=== {step.name}: {' '.join(step.command)}", flush=True)
    started = time.monotonic()
    try:
        passed = subprocess.run(step.command, cwd=ROOT, stdin=subprocess.DEVNULL, check=False).returncode == 0
    except OSError as error:
        print(error)
        passed = False
    return Outcome(step, passed, time.monotonic() - started)


def summary(outcomes: list[Outcome]) -> str:
    """A table of steps, and one last line that says how many passed and failed."""
    width = max(len(outcome.step.name) for outcome in outcomes)
    lines = [f"{'STEP':{width}}  RESULT  SECONDS"]
    for outcome in outcomes:
        lines.append(f"{outcome.step.name:{width}}  {'passed' if outcome.passed else 'FAILED'}  {outcome.seconds:7.1f}")
    lines.append(f"{'':{width}}          {sum(outcome.seconds for outcome in outcomes):7.1f}")
    passed = sum(outcome.passed for outcome in outcomes)
    return "\n".join([*lines, f"{passed} passed, {len(outcomes) - passed} failed"])


def main(groups: list[str]) -> int:
    """Run the steps of the named groups, or all; a failing step does not stop the rest."""
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    chosen = [step for step in steps() if not groups or step.group in groups]
    if not chosen:
        print(f"no such group: {' '.join(groups)}; there are lint, unit, molecule", file=sys.stderr)
        return 2
    outcomes = [run(step) for step in chosen]
    SUMMARY.parent.mkdir(exist_ok=True)
    SUMMARY.write_text(summary(outcomes) + "\n", encoding="utf-8")
    print(f"\n{summary(outcomes)}", flush=True)
    return 0 if all(outcome.passed for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
