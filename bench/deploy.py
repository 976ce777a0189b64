"""What a deployment costs: clients, seconds and memory.

On a fresh Debian 13 host of the testbed, ``playbooks/site.yml`` puts the example API into production once. Then, each
for itself or all in this order (``--only``):

- ``times``: seconds of a deployment of changed code and of a rollback, beside ``ansible -m ping``;
- ``memory``: what the instances take while one replaces the other, and what a preloaded worker costs;
- ``deploy``: clients (``load.py``) over HTTPS while code is deployed six times and rolled back twice;
- ``restart``: the same clients over ``systemctl restart`` of the app, what people do without releases;
- ``config``: the same while gunicorn's threads are changed and changed back;
- ``worker``: the same while the worker class becomes gevent and gthread again;
- ``tcp``: the same straight to the app, which listens on an address of the host;
- ``twenty``: seconds of a deployment of twenty small apps that have all changed, beside one of them.

A request is *during a switch* when it was due from 2 s before a release went live until 3 s after, which is when the
new instance boots and the old one ends. Ansible runs on the same machine, so its work is in all these numbers; the
share of the processors that nothing used is given, too: on a busy machine, latencies tell about the machine, and
their budgets are left open.

Prints every number beside its budget and writes ``bench/results/deploy.json`` and, of ``deploy`` beside ``restart``,
``deploy.png``. Exits with 1 when a promise is broken, that is when a request failed. Output of every run and every
request lie in ``.cache/bench``. The host is removed at the end, whatever happened.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import plot
import traffic
from lab import LAB_STATE, RESULTS, TWO_APPS, BenchError, Run, fresh_host, inventory, playbook, timed
from noop import small_app

# Enough releases stay for every turn of deploying and going back, each of which withdraws one.
API = {
    **TWO_APPS[0],
    "release": {"health_path": "/healthz", "keep": 20},
    "nginx": {"client_max_body_size": "32m"},
}
NAME, DOMAIN = API["name"], API["domains"][0]
EXAMPLE = Path(API["source"]["path"])
GEVENT = ["gevent==26.9.0", "packaging==26.3"]
TCP_PORT = 8000

NOTHING: Mapping[str, Any] = MappingProxyType({})
QUIET = 10  # seconds of load before the first switch of `deploy` and after the last
INTERVAL = 14  # seconds from one switch of `deploy` to the next
SHORT_QUIET, SHORT_INTERVAL = 6, 9  # the same of the other scenarios
BUSY = 0.25  # share of idle processor time; the load and Ansible alone leave about half of two
TURNS = 5  # of which the median counts
MANY = 20


@dataclass
class Site:
    """The example API on the host under test, and the person who deploys it.

    Attributes:
        container: The host.
        source: A copy of the example, whose code is changed.
        version: Number of the last change.
    """

    container: str
    source: Path
    version: int = 0

    def inventory(self, **overrides: Any) -> list[str]:
        """Options naming an inventory in which the app differs by these keys from ``API``."""
        return inventory("deploy", [{**API, "source": {"path": str(self.source)}, **overrides}])

    def apply(self, name: str, book: str = "deploy", **overrides: Any) -> Run:
        """Run a playbook with an inventory in which the app differs by these keys."""
        return playbook(name, self.inventory(**overrides), book)

    def deploy_code(self, name: str) -> Run:
        """Change the code, nothing else, and deploy it."""
        self.version += 1
        code = self.source / "app" / "__init__.py"
        lines = code.read_text().splitlines()
        changed = [f'__version__ = "1.0.{self.version}"' if line.startswith("__version__") else line for line in lines]
        code.write_text("\n".join(changed) + "\n")
        return self.apply(name)

    def roll_back(self, name: str) -> Run:
        """Go back to the release before."""
        return playbook(name, [*self.inventory(), "-e", f"app={NAME}"], "rollback")

    def ping(self, name: str) -> float:
        """Seconds of what Ansible costs before it does anything."""
        return timed(["ansible", *self.inventory(), "wsgi", "-m", "ansible.builtin.ping"], name, 60)

    def run(self, *command: str) -> str:
        """What a command on the host prints."""
        done = subprocess.run(["docker", "exec", self.container, *command], capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError(f"{' '.join(command)} failed: {done.stderr.strip()}")
        return done.stdout.strip()

    def release(self) -> str:
        """Number of the release that serves."""
        return Path(self.run("readlink", f"/srv/{NAME}/current")).name

    def boot_seconds(self) -> float:
        """How long it took from starting the instance that serves to its healthy answer, as its history says."""
        last = json.loads(self.run("tail", "--lines=1", f"/srv/{NAME}/history.jsonl"))
        return float(last["seconds"]["start"])


# -- clients -----------------------------------------------------------------------------------------------------


def deploy(site: Site) -> dict[str, Any]:
    """Deploy changed code six times and go back twice."""
    deployments = [("deploy", site.deploy_code)] * 3 + [("rollback", site.roll_back)]
    return under_load(site, "deploy", deployments * 2, quiet=QUIET, interval=INTERVAL)


def restart(site: Site) -> dict[str, Any]:
    """Restart the app as one does who has no releases."""
    steps = [("restart", lambda _name: site.run("systemctl", "restart", f"{NAME}.target"))] * 4
    return under_load(site, "restart", steps, switched=False)


def config(site: Site) -> dict[str, Any]:
    """Change a setting of the server, and change it back."""
    return under_load(site, "config", there_and_back(site, gunicorn={"threads": 12}))


def worker(site: Site) -> dict[str, Any]:
    """Change the kind of worker, which takes another package and so another build, and change it back."""
    gevent: dict[str, Any] = {"gunicorn": {"worker_class": "gevent"}, "python": {"packages": GEVENT}}
    return under_load(site, "worker", there_and_back(site, **gevent))


def tcp(site: Site) -> dict[str, Any]:
    """Deploy changed code while clients ask the app itself, on an address that outlives its instances."""
    listen = {"listen": f"127.0.0.1:{TCP_PORT}"}
    return under_load(site, "tcp", there_and_back(site, listen, gunicorn={"threads": 12}), listen, port=TCP_PORT)


Steps = Sequence[tuple[str, Callable[[str], Any]]]


def there_and_back(site: Site, base: Mapping[str, Any] = NOTHING, **overrides: Any) -> Steps:
    """A change of the base and the way back, each of them a deployment."""
    return [
        ("changed", lambda name: site.apply(name, **base, **overrides)),
        ("changed back", lambda name: site.apply(name, **base)),
    ]


def under_load(
    site: Site,
    name: str,
    steps: Steps,
    base: Mapping[str, Any] = NOTHING,
    port: int = 443,
    quiet: float = SHORT_QUIET,
    interval: float = SHORT_INTERVAL,
    switched: bool = True,
) -> dict[str, Any]:
    """Take the steps while clients ask, and sum up what these noticed.

    Args:
        site: The app.
        name: Of the records, the logs and the section of the results.
        steps: What happens, with its word in the plot.
        base: In what the app differs from ``API`` before the first step.
        port: 443 for HTTPS through nginx, otherwise the app's own.
        quiet: Seconds of load before the first step and after the last.
        interval: Seconds from one step to the next, or more where a step takes longer.
        switched: Whether each step switches the release; otherwise its start is its moment.

    Raises:
        BenchError: The steps switched more often than there are steps, or less.
    """
    site.apply(f"{name}-before", **base)
    moments = []
    with idle_share() as idle, traffic.tool(site.container, name, traffic.command(DOMAIN, port)) as records:
        time.sleep(quiet)
        for number, (word, step) in enumerate(steps, 1):
            began = time.monotonic()
            moments.append(time.time())
            step(f"{name}-{number}-{word.replace(' ', '-')}")
            rest = quiet if number == len(steps) else interval - (time.monotonic() - began)
            time.sleep(max(0.0, rest))
    requests, switches = traffic.read(records)
    if switched:
        moments = [switch.start for switch in switches]
        if len(moments) != len(steps):
            raise BenchError(f"{name}: {len(steps)} steps switched the release {len(moments)} times")
    marks = [[moment, word] for moment, (word, _) in zip(moments, steps, strict=True)]
    return {**traffic.summary(requests, moments), "idle": idle[0], "marks": marks}


@contextmanager
def idle_share() -> Iterator[list[float]]:
    """Measure the share of this machine's processor time that nothing used; it is in the list at the end."""
    share: list[float] = []
    before = processor_times()
    yield share
    spent = [after - earlier for after, earlier in zip(processor_times(), before, strict=True)]
    share.append(round((spent[3] + spent[4]) / sum(spent), 2))  # idle and iowait, see proc_stat(5)


def processor_times() -> list[int]:
    """Jiffies of all processors: user, nice, system, idle, iowait and so on."""
    return [int(value) for value in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]


# -- seconds -----------------------------------------------------------------------------------------------------


def times(site: Site) -> dict[str, Any]:
    """Deploy changed code and go back, several times, beside what Ansible costs before it does anything."""
    pings, deployments, rollbacks, boots = [], [], [], []
    for turn in range(1, TURNS + 1):
        pings.append(site.ping(f"times-ping-{turn}"))
        deployments.append(site.deploy_code(f"times-deploy-{turn}").seconds)
        boots.append(site.boot_seconds())
        pings.append(site.ping(f"times-ping-{turn}"))
        rollbacks.append(site.roll_back(f"times-rollback-{turn}").seconds)
        boots.append(site.boot_seconds())
    ping, boot = statistics.median(pings), statistics.median(boots)
    return {
        "ping_s": round(ping, 2),
        "boot_s": round(boot, 2),
        "deploy_s": round(statistics.median(deployments), 2),
        "rollback_s": round(statistics.median(rollbacks), 2),
        "deploy_ratio": round((statistics.median(deployments) - boot) / ping, 2),
        "rollback_ratio": round((statistics.median(rollbacks) - boot) / ping, 2),
    }


def twenty(site: Site) -> dict[str, Any]:
    """Deploy twenty small apps of which one has changed, and all of which have."""
    sources = site.source.parent
    apps = [small_app(sources, number) for number in range(1, MANY + 1)]
    deploy_all = inventory("twenty", apps)
    playbook("twenty-first", deploy_all, "deploy")
    one, many = [], []
    for turn in range(1, 4):
        change(apps[:1], turn)
        one.append(playbook(f"twenty-one-{turn}", deploy_all, "deploy").seconds)
    for turn in (4, 5):
        change(apps, turn)
        many.append(playbook(f"twenty-all-{turn}", deploy_all, "deploy").seconds)
    return {
        "one_s": round(statistics.median(one), 2),
        "all_s": round(statistics.median(many), 2),
        "ratio": round(statistics.median(many) / statistics.median(one), 2),
    }


def change(apps: list[dict[str, Any]], turn: int) -> None:
    """Change the code of small apps."""
    for app in apps:
        code = Path(app["source"]["path"]) / "small.py"
        code.write_text(f"{code.read_text()}# change {turn}\n")


# -- memory ------------------------------------------------------------------------------------------------------


def memory(site: Site) -> dict[str, Any]:
    """Watch the instances' memory while one replaces the other, and compare one preloaded worker with two."""
    warm_up(site, "memory")
    with sampled(site, "memory-switch") as samples:
        site.deploy_code("memory-deploy")
        time.sleep(1)
    sums = by_instant(samples)
    alone = [sum(releases.values()) for releases in sums if len(releases) == 1]
    together = [sum(releases.values()) for releases in sums if len(releases) > 1]
    if not together:
        raise BenchError("two instances were never seen together")
    old, new, peak = alone[0], alone[-1], max(together)
    preloaded = [preloaded_mb(site, workers) for workers in (1, 2)]
    return {
        "old_mb": round(old, 1),
        "new_mb": round(new, 1),
        "peak_mb": round(peak, 1),
        "peak_share": round(peak / (old + new), 2),
        "preload_one_mb": round(preloaded[0], 1),
        "preload_two_mb": round(preloaded[1], 1),
        "second_worker_mb": round(preloaded[1] - preloaded[0], 1),
    }


def preloaded_mb(site: Site, workers: int) -> float:
    """Memory of an instance with so many preloaded workers, which have answered requests."""
    site.apply(f"memory-preload-{workers}", gunicorn={"preload": True, "workers": str(workers)})
    warm_up(site, f"preload-{workers}")
    with sampled(site, f"memory-preloaded-{workers}") as samples:
        time.sleep(2)
    return sum(by_instant(samples)[-1].values())


def warm_up(site: Site, name: str) -> None:
    """Let every worker answer requests: memory is first shared, then written to."""
    with traffic.tool(site.container, f"{name}-warm-up", traffic.command(DOMAIN, 443)):
        time.sleep(5)


@contextmanager
def sampled(site: Site, name: str) -> Iterator[Path]:
    """Sample the memory of the app's instances."""
    with traffic.tool(site.container, name, ["memory.py", "--app", NAME], user=NAME) as samples:
        time.sleep(1)
        yield samples


def by_instant(samples: Path) -> list[dict[str, float]]:
    """Megabytes of every release, sample by sample."""
    found: dict[str, dict[str, float]] = {}
    for line in samples.read_text().splitlines():
        instant, release, kib, _processes = line.split("\t")
        found.setdefault(instant, {})[release] = int(kib) / 1024
    return list(found.values())


# -- budgets -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Budget:
    """What a number is meant to be.

    Attributes:
        section: Its section of the results.
        key: Its key there.
        words: What it is.
        most: It must not be more.
        least: It must not be less.
        promise: Whether the benchmark fails when it is exceeded; others depend on how busy the machine is.
        latency: Whether it tells nothing when other work has used the processors up.
    """

    section: str
    key: str
    words: str
    most: float | None = None
    least: float | None = None
    promise: bool = False
    latency: bool = False

    def verdict(self, numbers: Mapping[str, Any]) -> str:
        """``ok``, ``over``, ``BROKEN`` for a promise, or ``busy`` where the machine leaves it open."""
        value = numbers[self.key]
        if self.latency and numbers["idle"] < BUSY:
            return "busy"
        kept = (self.most is None or value <= self.most) and (self.least is None or value >= self.least)
        return "ok" if kept else "BROKEN" if self.promise else "over"


BUDGETS = [
    Budget("times", "deploy_ratio", "deploy.yml of changed code, less the app's boot, in pings", most=5),
    Budget("times", "rollback_ratio", "rollback.yml, less the app's boot, in pings", most=4),
    Budget("memory", "peak_share", "peak memory of a switch, as a share of old + new", most=1.1),
    Budget("memory", "second_worker_mb", "second preloaded worker, MB of PSS", most=10),
    Budget("deploy", "requests", "requests over 6 deployments and 2 rollbacks", least=50_000),
    *(
        Budget(section, key, f"{section}: requests {key}", most=0, promise=True)
        for section in ("deploy", "config", "worker", "tcp")
        for key in ("failed", "short")
    ),
    Budget("deploy", "p99_ratio", "99th percentile during a switch, as a multiple of without", most=2, latency=True),
    Budget(
        "deploy", "p99_paired_ratio", "the same, each switch beside the seconds after it, median", most=2, latency=True
    ),
    Budget("deploy", "slowest_ms", "slowest ordinary request over deployments, ms", most=100, latency=True),
    Budget("twenty", "ratio", "deploy.yml of 20 changed apps, as a multiple of one", most=4),
]

SECTIONS: dict[str, Callable[[Site], dict[str, Any]]] = {
    "times": times,
    "memory": memory,
    "deploy": deploy,
    "restart": restart,
    "config": config,
    "worker": worker,
    "tcp": tcp,
    "twenty": twenty,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), metavar="PART")
    parser.add_argument("--keep", action="store_true", help="use the host of the run before, and leave it for the next")
    options = parser.parse_args()
    try:
        # Not in the work directory, which git ignores: so would the upload.
        with fresh_host(options.keep) as host, TemporaryDirectory(prefix="wsgi-bench-") as sources:
            results = measure(host["container"], Path(sources), options.only)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0 if report(results) else 1


def keep_results(results: dict[str, Any]) -> None:
    """Write what was measured, and draw it; parts that did not run now keep the numbers they had."""
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / "deploy.json"
    known = {**(json.loads(file.read_text()) if file.exists() else {}), **results}
    file.write_text(json.dumps(known, indent=2) + "\n")
    if known.keys() >= plot.PANELS.keys():
        plot.draw(known, RESULTS / "deploy.png")


def measure(container: str, sources: Path, sections: list[str]) -> dict[str, Any]:
    """Put the app into production, then do the sections in their order; each one's numbers are kept at once."""
    source = sources / "flask_api"
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("instance", "__pycache__", "tests"))
    site = Site(container, source)
    site.apply("site", "site")
    traffic.install(container, *traffic.TOOL_FILES, LAB_STATE / "ca.pem")
    results = {}
    for section, run in SECTIONS.items():
        if section in sections:
            results[section] = {"measured": time.strftime("%Y-%m-%d %H:%M"), **run(site)}
            keep_results(results)
    return results


def report(results: dict[str, Any]) -> bool:
    """Print every number and its budget; returns whether all promises were kept."""
    for section, numbers in results.items():
        shown = {key: value for key, value in numbers.items() if key != "marks"}
        print(f"\n{section}: " + ", ".join(f"{key} {value}" for key, value in shown.items()))
    print(f"\n{'':62}{'is':>9}{'budget':>10}")
    verdicts = []
    for budget in BUDGETS:
        if budget.section in results:
            numbers = results[budget.section]
            limit = f"<= {budget.most:g}" if budget.most is not None else f">= {budget.least:g}"
            verdicts.append(budget.verdict(numbers))
            print(f"{budget.words:62}{numbers[budget.key]:>9}{limit:>10}  {verdicts[-1]}")
    return "BROKEN" not in verdicts


if __name__ == "__main__":
    sys.exit(main())
