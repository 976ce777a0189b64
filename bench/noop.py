"""How long a run takes that has nothing to do, and how long the first one takes.

On fresh Debian 13 hosts of the testbed, over SSH with pipelining, the way a user runs it:

1. the bare commands that install what two apps need (apt, pip, uv), and ``playbooks/site.yml`` with the same two apps,
   each on a fresh host, in turns;
2. that playbook again, with nothing to do;
3. the same playbook with 1, 50 and 150 small apps on all servers in turn, each time again with nothing to do.

Runs without work alternate with ``ansible -m ping``, what Ansible costs before it does anything, and medians are
compared: a busy machine slows both. Prints a table, writes ``bench/results/noop.json`` and draws ``docs/img/noop.png``.
Output of every run lies in ``.cache/bench``. The hosts are removed at the end, whatever happened.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import plot_noop
import yaml
from lab import RESULTS, ROOT, TWO_APPS, WORK, BenchError, fresh_host, inventory, playbook, timed

HOST_CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"

PACKAGES = "ca-certificates certbot nginx python3-cryptography python3-venv"  # those the roles install for two apps
FIRST_RUNS = 5  # on fresh hosts, of which the median counts
REPEATS = 5  # runs without work, of which the median counts
SIZES = (1, 50, 150)  # small apps
BUDGETS = {2: 2.5, 50: 4.0, 150: 5.0}  # of a run with nothing to do, by apps, in times of a ping
FIRST_BUDGET = 1.3  # of a first run, in times of the bare commands

SMALL_APP = """\
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"app {number}\\n"]


async def asgi(scope, receive, send):
    if scope["type"] == "http":
        await send({{"type": "http.response.start", "status": 200, "headers": []}})
        await send({{"type": "http.response.body", "body": b"app {number}\\n"}})
"""
SERVERS: list[dict[str, Any]] = [
    {"server": "gunicorn", "gunicorn": {"workers": "1", "threads": 2}},
    {"server": "waitress", "waitress": {"threads": 2}},
    {"server": "uwsgi", "uwsgi": {"workers": "1", "threads": 2}},
    {"server": "granian", "granian": {"workers": "1"}},
    {"server": "uvicorn", "uvicorn": {"workers": "1"}, "interface": "asgi", "entrypoint": "small:asgi"},
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES, help="how many small apps (results need all)")
    sizes = tuple(parser.parse_args().sizes)
    try:
        bare, first = first_runs()
        # Not in the work directory, which git ignores: so would the upload.
        with fresh_host(), TemporaryDirectory(prefix="wsgi-bench-") as sources:
            results: dict[str, Any] = {"bare_s": bare, "first_converge_s": first, "noop": measure(sizes, Path(sources))}
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    report(results)
    if sizes == SIZES:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "noop.json").write_text(json.dumps(results, indent=2) + "\n")
        plot_noop.draw(results["noop"], plot_noop.PICTURE)
    return 0


def first_runs() -> tuple[float, float]:
    """Median seconds of the bare commands, and of a first run for two apps."""
    bare, first = [], []
    for turn in range(1, FIRST_RUNS + 1):
        with fresh_host() as host:
            age_lists(host["container"])
            commands = bare_commands(host["container"])
            bare.append(timed(["docker", "exec", host["container"], "bash", "-euc", commands], f"bare-{turn}", 600))
        with fresh_host() as host:
            age_lists(host["container"])
            first.append(playbook(f"first-{turn}", inventory("two", TWO_APPS)).seconds)
    return round(statistics.median(bare), 1), round(statistics.median(first), 1)


def measure(sizes: tuple[int, ...], sources: Path) -> list[dict[str, Any]]:
    """Converge, and run without work, with two apps as people have them and with small ones."""
    two = inventory("two", TWO_APPS)
    playbook("two-first", two)
    measured = [repeat("two", len(TWO_APPS), two)]
    absent = [{"name": app["name"], "state": "absent", "purge": True} for app in TWO_APPS]
    playbook("removal", inventory("none", absent))
    small_apps = [small_app(sources, number) for number in range(1, max(sizes, default=0) + 1)]
    for size in sizes:
        inventories = inventory(f"small-{size}", small_apps[:size], nginx_proxy_tls="selfsigned")
        playbook(f"small-{size}-first", inventories)
        measured.append(repeat(f"small-{size}", size, inventories))
    return measured


def repeat(name: str, apps: int, inventories: list[str]) -> dict[str, Any]:
    """The median run without work and the median ping, measured in turns.

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
    ping, run = statistics.median(pings), sorted(runs, key=lambda run: run.seconds)[len(runs) // 2]
    return {
        "apps": apps,
        "ping_s": round(ping, 3),
        "run_s": round(run.seconds, 3),
        "ratio": round(run.seconds / ping, 2),
        "tasks": run.tasks,
    }


def small_app(sources: Path, number: int) -> dict[str, Any]:
    """One of many: an app of three lines, written to a directory of its own."""
    source = sources / f"small{number}"
    source.mkdir()
    (source / "small.py").write_text(SMALL_APP.format(number=number))
    (source / "requirements.txt").write_text("")  # the server is what the role of the server pins
    return {
        "name": f"small{number}",
        "source": {"path": str(source)},
        "entrypoint": "small:app",
        "domains": [f"small{number}.example.test"],
        **SERVERS[number % len(SERVERS)],
    }


def age_lists(host: str) -> None:
    """Let the lists of packages be two days old, so that both sides fetch them whenever the host's image was made."""
    lists = "/var/lib/apt/lists"
    command = ["docker", "exec", host, "touch", "--date", "2 days ago", lists, f"{lists}/partial"]
    subprocess.run(command, check=True, capture_output=True)


def bare_commands(host: str) -> str:
    """What one would type to install the same packages: the distribution's, uv, and the two virtual environments.

    Bytecode included, which the app may not write at run time.
    """
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
/opt/uv/bin/uv pip install --compile-bytecode --python /opt/api -r /root/requirements.txt
/opt/uv/bin/uv venv /opt/httpbin
/opt/uv/bin/uv pip install --compile-bytecode --python /opt/httpbin \\
  {httpbin["package"]}=={httpbin["version"]} gunicorn=={versions["version"]}
"""


def index_settings() -> list[tuple[str, str]]:
    """This machine's package index, if it has one of its own."""
    index = os.environ.get("PIP_INDEX_URL")
    return [("PIP_INDEX_URL", index), ("UV_DEFAULT_INDEX", index)] if index else []


def report(results: dict[str, Any]) -> None:
    """Print what was measured beside what it is meant to cost."""
    print(f"\n{'':26}{'seconds':>9}{'ratio':>8}{'budget':>8}{'tasks':>7}")
    for run in results["noop"]:
        name = f"nothing to do, {run['apps']} app{'s' if run['apps'] > 1 else ''}"
        print(f"{name:26}{run['run_s']:>9}{run['ratio']:>8}{BUDGETS.get(run['apps'], ''):>8}{run['tasks']:>7}")
    first_ratio = round(results["first_converge_s"] / results["bare_s"], 2)
    print(f"{'first run, 2 apps':26}{results['first_converge_s']:>9}{first_ratio:>8}{FIRST_BUDGET:>8}")
    print(f"\nRatios are to a ping in the same minutes ({results['noop'][0]['ping_s']} s), that of the first run")
    print(f"to the bare install commands ({results['bare_s']} s).")


if __name__ == "__main__":
    sys.exit(main())
