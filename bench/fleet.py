"""How long a run takes that has nothing to do, by the number of hosts behind one balancer.

Small Debian 13 hosts of the testbed, over SSH with pipelining, each with the same app of three lines; they share this
machine's processors, as Ansible does. For each number of hosts the playbook runs once to set the balancer up for them,
then without work, of which the median counts. Prints a table, writes ``bench/results/fleet.json`` and draws
``docs/img/fleet.png``; output of every run lies in ``.cache/bench``. The hosts are removed at the end, whatever
happened.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import statistics
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lab import RESULTS, ROOT, WORK, BenchError, playbook, timed
from noop import small_app
from plot_fleet import draw

sys.path.insert(0, str(ROOT))
from testbed import labs

HOSTS = (1, 5, 10, 20)
PLOT = ROOT / "docs" / "img" / "fleet.png"
REPEATS = 3  # runs without work, of which the median counts
BUDGET = 6.0  # times what one host costs, for the most hosts
FORKS = 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, nargs="+", default=HOSTS, help=f"how many (default {HOSTS})")
    counts = sorted(parser.parse_args().hosts)
    os.environ["ANSIBLE_FORKS"] = str(FORKS)
    webs = [labs.Host(f"web{number}", "13", fleet=True) for number in range(1, counts[-1] + 1)]
    wanted = labs.lab("bench-fleet", labs.Host("lb1", "13", fleet=True), *webs)
    try:
        facts = labs.up(wanted)
        # Not in the work directory, which git ignores: so would the upload.
        with TemporaryDirectory(prefix="wsgi-bench-") as sources:
            app = small_app(Path(sources), 1)
            results = [measure(facts, wanted.state, app, count) for count in counts]
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    finally:
        labs.down(wanted)
    report(results)
    if tuple(counts) == HOSTS:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "fleet.json").write_text(json.dumps(results, indent=2) + "\n")
        draw(results, BUDGET, PLOT)
    return 0


def measure(facts: dict[str, Any], state: Path, app: dict[str, Any], count: int) -> dict[str, Any]:
    """Seconds of a ping, and of a run without work, for so many hosts.

    Raises:
        BenchError: a run changed something.
    """
    chosen = inventory(facts, state, app, count)
    first = playbook(f"fleet-{count}-first", chosen)
    pings, runs, work = [], [], []
    for turn in range(1, REPEATS + 1):
        pings.append(timed(["ansible", *chosen, "all", "-m", "ansible.builtin.ping"], f"fleet-{count}-ping", 300))
        before = processor()
        runs.append(playbook(f"fleet-{count}-noop-{turn}", chosen))
        work.append(processor() - before)
        if re.search(r"changed=[1-9]", (WORK / f"fleet-{count}-noop-{turn}.log").read_text()):
            raise BenchError(f"a run without work changed something: see {WORK}/fleet-{count}-noop-{turn}.log")
    return {
        "hosts": count,
        "ping_s": statistics.median(pings),
        "noop_s": statistics.median(run.seconds for run in runs),
        "controller_s": round(statistics.median(work), 3),
        "first_s": first.seconds,
    }


def processor() -> float:
    """Seconds of a processor that programs started here have taken; what they had hosts do is not among them."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def inventory(facts: dict[str, Any], state: Path, app: dict[str, Any], count: int) -> list[str]:
    """Options that name the inventory of so many hosts behind the balancer."""
    told = json.loads((state / "inventory.yml").read_text())["wsgi"]
    addresses = {name: host["ipv4"] for name, host in facts["hosts"].items()}
    hosts = {name: {**variables, "balancer_address": addresses[name]} for name, variables in told["hosts"].items()}
    webs = {f"web{number}": hosts[f"web{number}"] for number in range(1, count + 1)}
    index = os.environ.get("PIP_INDEX_URL", "")
    settings = {"wsgi_apps": [app], "python_app_index_url": index, "nginx_proxy_tls": "selfsigned", **told["vars"]}
    fleet = {"balancers": {"hosts": {"lb1": hosts["lb1"]}}, "wsgi": {"hosts": webs}}
    WORK.mkdir(parents=True, exist_ok=True)
    file = WORK / f"fleet-{count}.json"
    file.write_text(json.dumps({"fleet": {"children": fleet, "vars": settings}}, indent=1))
    return ["-i", str(file)]


def report(results: list[dict[str, Any]]) -> None:
    """Print what was measured, beside what one host costs."""
    one = results[0]["noop_s"]
    print(f"\n{'hosts':>6}{'ping':>9}{'nothing to do':>15}{'times one':>11}{'controller':>12}{'first run':>11}")
    for row in results:
        times = row["noop_s"] / one
        wall = f"{row['hosts']:>6}{row['ping_s']:>9.2f}{row['noop_s']:>15.2f}{times:>11.2f}"
        print(f"{wall}{row['controller_s']:>12.2f}{row['first_s']:>11.1f}")
    print(f"\nBudget: {results[-1]['hosts']} hosts at most {BUDGET:g} times one.")


if __name__ == "__main__":
    sys.exit(main())
