"""How long a run takes that has nothing to do, and how long the first one takes.

On fresh Debian 13 hosts of the testbed, over SSH with pipelining, the way a user runs it:

1. the bare commands that install what two apps need (apt, pip, uv), on a host of their own;
2. ``playbooks/site.yml`` with the same two apps on a fresh host, then again with nothing to do;
3. the same playbook with fifty small apps, then again with nothing to do.

Runs without work alternate with ``ansible -m ping``, what Ansible costs before it does anything, and medians are
compared: a busy machine slows both. Prints a table and writes ``bench/results/noop.json``. Output of every run lies in
``.cache/bench``. The hosts are removed at the end, whatever happened.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / ".cache" / "bench"
RESULTS = ROOT / "bench" / "results" / "noop.json"
LAB = "bench"
LAB_INVENTORY = ROOT / ".cache" / "lab" / LAB / "inventory.yml"
HOST_CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"

PACKAGES = "ca-certificates certbot nginx python3-cryptography python3-venv"  # those the roles install for two apps
REPEATS = 3  # runs without work, of which the median counts
MANY = 50
BUDGETS = {"ratio": 4.0, "ratio_50_apps": 6.0, "first_ratio": 1.5}

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

SMALL_APP = """\
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"app {number}\\n"]
"""


class BenchError(Exception):
    """A run did not do what it must for its time to mean something."""


@dataclass(frozen=True)
class Run:
    """One run of the playbook: seconds it took, tasks that ran on the host, tasks that changed something."""

    seconds: float
    tasks: int
    changed: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--apps", type=int, default=MANY, help=f"how many small apps (default {MANY}; results need it)")
    count = parser.parse_args().apps
    WORK.mkdir(parents=True, exist_ok=True)
    try:
        with fresh_host() as host:
            bare = timed(["docker", "exec", host, "bash", "-euc", bare_commands(host)], "bare", 600)
        # Not in the work directory, which git ignores: so would the upload.
        with fresh_host(), TemporaryDirectory(prefix="wsgi-bench-") as sources:
            results = {"bare_s": bare, **measure(count, Path(sources))}
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    report(results, count)
    if count == MANY:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    return 0


def measure(count: int, sources: Path) -> dict[str, Any]:
    """Converge, and run without work, with two apps and with many."""
    two = inventory("two", TWO_APPS)
    first = playbook("first", two)
    ping, noop = repeat("two", two)
    small_apps = [small_app(sources, number) for number in range(1, count + 1)]
    many = inventory("many", small_apps, nginx_proxy_tls="selfsigned")
    forget_two = inventory("none", [{"name": app["name"], "state": "absent", "purge": True} for app in TWO_APPS])
    playbook("removal", forget_two)
    first_many = playbook("many-first", many)
    ping_many, noop_many = repeat("many", many)
    return {
        "ping_s": round(ping, 3),
        "noop_s": round(noop.seconds, 3),
        "ratio": round(noop.seconds / ping, 2),
        "tasks": noop.tasks,
        "first_converge_s": round(first.seconds, 1),
        "ping_50_apps_s": round(ping_many, 3),
        "noop_50_apps_s": round(noop_many.seconds, 3),
        "ratio_50_apps": round(noop_many.seconds / ping_many, 2),
        "tasks_50_apps": noop_many.tasks,
        "first_converge_50_apps_s": round(first_many.seconds, 1),
    }


def repeat(name: str, inventories: list[str]) -> tuple[float, Run]:
    """Median seconds of a ping, and the median run without work, measured in turns.

    Raises:
        BenchError: a run changed something.
    """
    pings, runs = [], []
    for turn in range(REPEATS):
        pings.append(timed(["ansible", *inventories, "wsgi", "-m", "ansible.builtin.ping"], f"{name}-ping", 60))
        runs.append(playbook(f"{name}-noop-{turn + 1}", inventories))
        if runs[-1].changed:
            raise BenchError(
                f"a run without work changed {runs[-1].changed} tasks: see {WORK}/{name}-noop-{turn + 1}.log"
            )
        pings.append(timed(["ansible", *inventories, "wsgi", "-m", "ansible.builtin.ping"], f"{name}-ping", 60))
    return statistics.median(pings), sorted(runs, key=lambda run: run.seconds)[len(runs) // 2]


def playbook(name: str, inventories: list[str]) -> Run:
    """Run ``playbooks/site.yml``."""
    seconds = timed(["ansible-playbook", *inventories, "playbooks/site.yml"], name, 1200)
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
def fresh_host() -> Iterator[str]:
    """A host that nothing has been done to; the name of its container."""
    domains = [option for app in TWO_APPS for option in ("--domain", app["domains"][0])]
    testbed("down", LAB)
    try:
        yield json.loads(testbed("up", LAB, *domains))["hosts"]["host"]["container"]
    finally:
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
    file = WORK / f"{name}.yml"
    settings = {"wsgi_apps": apps, "python_app_index_url": os.environ.get("PIP_INDEX_URL", ""), **variables}
    file.write_text(json.dumps({"wsgi": {"vars": settings}}, indent=1))
    return ["-i", str(LAB_INVENTORY), "-i", str(file)]


def small_app(sources: Path, number: int) -> dict[str, Any]:
    """One of many: an app of three lines, written to a directory of its own."""
    source = sources / f"small{number}"
    source.mkdir()
    (source / "small.py").write_text(SMALL_APP.format(number=number))
    (source / "requirements.txt").write_text("gunicorn==27.0.1\npackaging==26.3\n")
    return {
        "name": f"small{number}",
        "source": {"path": str(source)},
        "entrypoint": "small:app",
        "domains": [f"small{number}.example.test"],
        "gunicorn": {"workers": "1", "threads": 2},
    }


def bare_commands(host: str) -> str:
    """What one would type to install the same packages: the distribution's, uv, and the two virtual environments."""
    versions = {
        name: yaml.safe_load((ROOT / "roles" / role / "defaults" / "main.yml").read_text())[f"{role}_{name}"]
        for role, name in (("python_app", "uv_version"), ("gunicorn", "version"))
    }
    requirements = Path(TWO_APPS[0]["source"]["path"]) / "requirements.txt"
    subprocess.run(
        ["docker", "cp", str(requirements), f"{host}:/root/requirements.txt"], check=True, capture_output=True
    )
    httpbin = TWO_APPS[1]["source"]
    return f"""
export DEBIAN_FRONTEND=noninteractive PIP_CERT={HOST_CA_BUNDLE} SSL_CERT_FILE={HOST_CA_BUNDLE}
{chr(10).join(f"export {name}={value}" for name, value in index_settings())}
apt-get update -q
apt-get install -yq --no-install-recommends {PACKAGES}
python3 -m venv /opt/uv
/opt/uv/bin/pip install uv=={versions["uv_version"]}
/opt/uv/bin/uv venv /opt/api
/opt/uv/bin/uv pip install --python /opt/api -r /root/requirements.txt
/opt/uv/bin/uv venv /opt/httpbin
/opt/uv/bin/uv pip install --python /opt/httpbin \\
  {httpbin["package"]}=={httpbin["version"]} gunicorn=={versions["version"]}
"""


def index_settings() -> list[tuple[str, str]]:
    """This machine's package index, if it has one of its own."""
    index = os.environ.get("PIP_INDEX_URL")
    return [("PIP_INDEX_URL", index), ("UV_DEFAULT_INDEX", index)] if index else []


def report(results: dict[str, Any], count: int) -> None:
    """Print what was measured beside what it is meant to cost."""
    first_ratio = results["first_converge_s"] / results["bare_s"]
    rows = [
        ("ansible -m ping", results["ping_s"], "", ""),
        ("nothing to do, 2 apps", results["noop_s"], results["ratio"], BUDGETS["ratio"]),
        (f"nothing to do, {count} apps", results["noop_50_apps_s"], results["ratio_50_apps"], BUDGETS["ratio_50_apps"]),
        ("bare install commands", results["bare_s"], "", ""),
        ("first run, 2 apps", results["first_converge_s"], round(first_ratio, 2), BUDGETS["first_ratio"]),
    ]
    print(f"\n{'':24}{'seconds':>9}{'ratio':>8}{'budget':>8}")
    for name, seconds, ratio, budget in rows:
        print(f"{name:24}{seconds:>9}{ratio:>8}{budget:>8}")
    print(f"\nTasks that ran, none of which changed anything: {results['tasks']} with 2 apps,", end=" ")
    print(f"{results['tasks_50_apps']} with {count}.")


if __name__ == "__main__":
    sys.exit(main())
