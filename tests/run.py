"""Run the checks and end in one summary: ``python tests/run.py [lint|unit|molecule|NAME]``, of those that are apart.

Two run at a time, one in the terminal, the output of the other one following as a whole: the scenarios wait for
networks, package managers and time limits every now and then, as does the making of their images. Exit code 0 only when
all have passed. The last line is ``N passed, N failed``; before it are what each step took, the tests that took
longest, and what tests have measured.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from threading import Event
from typing import IO
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
SUMMARY = ROOT / ".cache" / "test-summary.txt"  # what .ci/run shows last
REPORTS = ROOT / ".cache" / "reports"
MESSAGE = 300  # characters of a failed test's message that the summary shows
IMAGES = "engine and images"
LONGEST = "deploy"  # of the scenarios
# Scenarios that are run when they are asked for: each has both processors to itself.
APART = ("compose", "containers", "fleet", "kubernetes")
BALANCERS = ("nginx", "haproxy")  # what spreads the requests of the scenario fleet
SHOWN = 15  # of the tests that took longest
SOURCES = ["plugins", "tests", "testbed", "molecule", "bench", "docs", "examples"]


@dataclass(frozen=True)
class Step:
    """One check: a command that exits 0 when all is well."""

    group: str
    name: str
    command: list[str]

    def is_scenario(self, name: str) -> bool:
        """Whether this is a scenario of Molecule."""
        return self.name == f"molecule {name}"

    def turn(self) -> int:
        """Its place among others: the longest scenario, other scenarios, tests, linters."""
        return 0 if self.is_scenario(LONGEST) else ["molecule", "unit", "lint", *APART].index(self.group) + 1

    @property
    def report(self) -> Path:
        """Where pytest notes how each test went, when the step runs it."""
        return REPORTS / f"{self.name.replace(' ', '-').replace('/', '-')}.xml"


@dataclass(frozen=True)
class Outcome:
    """How a step went, and how long it took in seconds."""

    step: Step
    passed: bool
    seconds: float

    @property
    def tests(self) -> list[ElementTree.Element]:
        """What pytest has noted of each test, where the step runs it."""
        return list(ElementTree.parse(self.step.report).iter("testcase")) if self.step.report.exists() else []

    @property
    def durations(self) -> list[tuple[float, str]]:
        """Seconds and name of each test."""
        return [(float(case.get("time", 0)), f"{self.step.name}: {case.get('name')}") for case in self.tests]

    @property
    def measured(self) -> list[str]:
        """What tests have measured, a line each."""
        return [
            f"{self.step.name}: {case.get('name')}: {told.get('value')}"
            for case in self.tests
            for told in case.iter("property")
        ]

    @property
    def failures(self) -> list[str]:
        """The tests that failed, a line each: name and message."""
        return [
            f"{case.get('name')}: {' '.join(fault.get('message', '').split())[:MESSAGE]}"
            for case in ([] if self.passed else self.tests)
            for fault in case
            if fault.tag in ("failure", "error")
        ]


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
        Step("lint", "mypy bench", ["mypy", "--strict", "--no-explicit-package-bases", "bench"]),
        Step("lint", "defaults = argument_specs", [python, "tests/quality/role_variables.py"]),
        Step("lint", "role READMEs current", [python, "tests/quality/role_readmes.py", "--check"]),
        Step("lint", "ansible-lint", ["ansible-lint", "--offline"]),
        Step("lint", "ansible-test sanity", [python, "tests/quality/sanity.py"]),
        Step("lint", "changelog", ["antsibull-changelog", "lint"]),
        Step("lint", "mypy docs", ["mypy", "--strict", "docs/site"]),
        Step("lint", "docs", [python, "-m", "docs.site.build"]),
        Step("lint", "installs", [python, "tests/quality/installs.py"]),
        Step("unit", "unit and template tests", [python, "-m", "pytest", "-q"]),
        Step("unit", "examples/flask_api", [python, "tests/example.py"]),
        Step("molecule", IMAGES, [python, "-m", "testbed", "images"]),
        *(step for name in scenarios() for step in runs_of(name)),
    ]


def runs_of(name: str) -> list[Step]:
    """The runs of a Molecule scenario, one for each of its variants."""
    group, command = name if name in APART else "molecule", ["molecule", "test", "--scenario-name", name]
    if name != "fleet":
        return [Step(group, f"molecule {name}", command)]
    return [Step(group, f"molecule {name} {by}", ["env", f"BALANCER={by}", *command]) for by in BALANCERS]


def scenarios() -> list[str]:
    """The Molecule scenarios by name."""
    return sorted(path.parent.name for path in ROOT.glob("molecule/*/molecule.yml"))


def run(step: Step) -> Outcome:
    """Run one step, its output going straight to the terminal."""
    print(heading(step), flush=True)
    return measured(step, None)


def run_beside(step: Step) -> Outcome:
    """Run one step while another has the terminal; its output follows as a whole."""
    with TemporaryFile("w+") as output:
        outcome = measured(step, output)
        output.seek(0)
        print(f"{heading(step)}\n{output.read()}", flush=True)
    return outcome


def heading(step: Step) -> str:
    """What comes before a step's output."""
    return f"\n=== {step.name}: {' '.join(step.command)}"


def measured(step: Step, output: IO[str] | None) -> Outcome:
    """Run one step, its output going to a file or, with None, to the terminal."""
    started = time.monotonic()
    step.report.unlink(missing_ok=True)
    try:
        command = subprocess.run(
            step.command,
            cwd=ROOT,
            env={**os.environ, "PYTEST_ADDOPTS": f"--junit-xml={step.report}"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output and subprocess.STDOUT,
            check=False,
        )
        passed = command.returncode == 0
    except OSError as error:
        print(error, file=output)
        passed = False
    return Outcome(step, passed, time.monotonic() - started)


def run_all(chosen: list[Step]) -> list[Outcome]:
    """Run all steps; a failing one does not stop the rest."""
    images = [step for step in chosen if step.name == IMAGES]
    if not images:
        return [run(step) for step in chosen]
    # Long ones first, or the last of them would run with nothing beside it.
    waiting = deque(sorted((step for step in chosen if step not in images), key=Step.turn))
    built = Event()
    with ThreadPoolExecutor(1) as pool:
        beside = pool.submit(lambda: [run_beside(step) for step in taken(waiting, built)])
        try:
            outcomes = [run(step) for step in images]
        finally:
            built.set()
        outcomes += [run(step) for step in taken(waiting, built)]
        outcomes += beside.result()
    return outcomes


def taken(waiting: deque[Step], built: Event) -> Iterator[Step]:
    """The steps that nobody else has taken, one after the other; those without hosts while their images are built."""
    with suppress(IndexError):
        while True:
            if built.is_set():
                yield waiting.popleft()
            elif waiting[-1].group != "molecule":
                yield waiting.pop()
            else:
                built.wait()


def summary(outcomes: list[Outcome], seconds: float) -> str:
    """A table of steps, the seconds they took in all, what failed, and how many passed and failed in one last line."""
    width = max(len(outcome.step.name) for outcome in outcomes)
    lines = [f"{'STEP':{width}}  RESULT  SECONDS"]
    for outcome in outcomes:
        lines.append(f"{outcome.step.name:{width}}  {'passed' if outcome.passed else 'FAILED'}  {outcome.seconds:7.1f}")
    lines.append(f"{'':{width}}          {seconds:7.1f}")
    longest = sorted((test for outcome in outcomes for test in outcome.durations), reverse=True)[:SHOWN]
    lines += [f"{seconds:7.1f} s  {name}" for seconds, name in longest]
    lines += [line for outcome in outcomes for line in outcome.measured]
    lines += [f"{outcome.step.name}: {failure}" for outcome in outcomes for failure in outcome.failures]
    passed = sum(outcome.passed for outcome in outcomes)
    return "\n".join([*lines, f"{passed} passed, {len(outcomes) - passed} failed"])


def main(groups: list[str]) -> int:
    """Run the steps of the named groups, or all but those apart."""
    # As make does, for whoever starts this without it.
    os.environ["PYTHONPYCACHEPREFIX"] = str(ROOT / ".cache" / "pycache")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    chosen = [step for step in steps() if (step.group in groups if groups else step.group not in APART)]
    if not chosen:
        known = ", ".join(["lint", "unit", "molecule", *APART])
        print(f"no such group: {' '.join(groups)}; there are {known}", file=sys.stderr)
        return 2
    started = time.monotonic()
    outcomes = run_all(chosen)
    SUMMARY.parent.mkdir(exist_ok=True)
    text = summary(outcomes, time.monotonic() - started)
    SUMMARY.write_text(text + "\n", encoding="utf-8")
    print(f"\n{text}", flush=True)
    return 0 if all(outcome.passed for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
