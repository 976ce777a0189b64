"""What the benchmarks share: a fresh host of the testbed, and runs that are timed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / ".cache" / "bench"
RESULTS = ROOT / "bench" / "results"
LAB = "bench"
LAB_STATE = ROOT / ".cache" / "lab" / LAB

TWO_APPS: list[dict[str, Any]] = [
    {
        "name": "api",
        "source": {"path": str(ROOT / "examples" / "flask_api")},
        "entrypoint": "app:create_app()",
        "domains": ["api.example.test"],
    },
    {
        "name": "httpbin",
        "source": {"package": "httpbin", "version": "0.10.4"},
        "entrypoint": "httpbin:app",
        "domains": ["httpbin.example.test"],
    },
]


class BenchError(Exception):
    """A run did not do what it must for its time to mean something."""


@dataclass(frozen=True)
class Run:
    """One run of the playbook: seconds it took, tasks that ran on the host, tasks that changed something."""

    seconds: float
    tasks: int
    changed: int


def playbook(name: str, inventories: list[str], book: str = "site", *options: str) -> Run:
    """Run one of the collection's playbooks; ``name`` is that of its log."""
    seconds = timed(["ansible-playbook", *inventories, *options, f"playbooks/{book}.yml"], name, 1200)
    recap = re.search(r"^\S+ +: ok=(\d+) +changed=(\d+)", (WORK / f"{name}.log").read_text(), re.MULTILINE)
    if not recap:
        raise BenchError(f"no recap in {WORK}/{name}.log")
    return Run(seconds, tasks=int(recap[1]), changed=int(recap[2]))


def timed(command: list[str], name: str, timeout: float) -> float:
    """Seconds a command takes; what it prints goes to its log.

    Raises:
        BenchError: it failed, or took longer than ``timeout`` seconds.
    """
    print(f"bench: {name}", end=" … ", flush=True)
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    WORK.mkdir(parents=True, exist_ok=True)
    log = WORK / f"{name}.log"
    start = time.monotonic()
    with log.open("w") as output:
        try:
            done = subprocess.run(
                command,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                text=True,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=timeout,
            )
        except subprocess.TimeoutExpired:
            raise BenchError(f"{name} took longer than {timeout:.0f} s: see {log}") from None
    seconds = time.monotonic() - start
    if done.returncode:
        raise BenchError(f"{name} failed ({done.returncode}): see {log}\n{log.read_text()[-2000:]}")
    print(f"{seconds:.2f} s", flush=True)
    return round(seconds, 3)


@contextmanager
def fresh_host(keep: bool = False, *more: str) -> Iterator[dict[str, Any]]:
    """A host that nothing has been done to: its container, addresses and ports, as the testbed tells them.

    With ``keep`` it is the one of the run before, where there is one, and stays; ``more`` are options of the testbed's.
    """
    domains = [option for app in TWO_APPS for option in ("--domain", app["domains"][0])]
    if not keep:
        testbed("down", LAB)
    try:
        yield json.loads(testbed("up", LAB, "--publish", ":443", *domains, *more))["hosts"]["host"]
    finally:
        if not keep:
            testbed("down", LAB)


def testbed(*arguments: str) -> str:
    """Ask the testbed; the JSON it prints last."""
    done = subprocess.run(
        [sys.executable, "-m", "testbed", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=900
    )
    if done.returncode:
        raise BenchError(f"testbed {arguments[0]} failed: {done.stdout}")
    return done.stdout[done.stdout.find("{") :]


def inventory(name: str, apps: list[dict[str, Any]], **variables: Any) -> list[str]:
    """Options that name the lab's inventory and one with apps beside it."""
    WORK.mkdir(parents=True, exist_ok=True)
    file = WORK / f"{name}.yml"
    settings = {"wsgi_apps": apps, "python_app_index_url": os.environ.get("PIP_INDEX_URL", ""), **variables}
    file.write_text(json.dumps({"wsgi": {"vars": settings}}, indent=1))
    return ["-i", str(LAB_STATE / "inventory.yml"), "-i", str(file)]
