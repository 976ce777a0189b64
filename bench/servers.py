"""The same app under each server, on one host: what a person who has to choose wants to know.

On a fresh Debian 13 host of the testbed, ``playbooks/site.yml`` puts the small app of the Molecule scenario ``servers``
into production once for each entry of that scenario's inventory. wrk and h2load run on the host and ask each for JSON,
and for an answer that waits 50 ms for something else, through nginx and straight at the server's socket, one server
after the other. The same server is then started by hand, with the settings that its documentation advises, and both are
asked in turn: the processor time that each takes for a request says what the sandbox and the wrapper around the app
cost, on a machine with other work too.

Prints the table, writes ``bench/results/servers.json``, draws ``docs/img/servers.png`` and puts the table into
``docs/choosing-a-server.md``. The host is removed at the end; ``--keep`` leaves it and uses it again.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from lab import RESULTS, ROOT, BenchError, fresh_host, inventory, playbook, timed

LIST = ROOT / "molecule" / "servers" / "group_vars" / "wsgi" / "apps.yml"
PAGE = ROOT / "docs" / "choosing-a-server.md"
PLOT = ROOT / "docs" / "img" / "servers.png"
FRONT = "front"  # the app that has the domain
DOMAIN = "front.host.example.test"
SECONDS = 2  # of one measurement
TRIES = 3  # on a machine so busy that connections are not open yet when the time is over
ROUNDS, TURN = 6, 1  # of the comparison with a server started by hand, and seconds of one measurement there
STARTS = 3
LEAST = 0.95  # of what the one started by hand answers with the same processor time
QUESTIONS = {"json": ("/", 16), "wait": ("/slow?seconds=0.05", 64)}  # path, connections at once
BEGIN, END = "<!-- table:begin -->", "<!-- table:end -->"

# How each server's documentation has it started, with as many processes and threads as the inventory's entry has.
HAND = {
    "gunicorn-sync": "gunicorn --worker-class sync --workers 3 --bind unix:{socket} same:app",
    "gunicorn-gthread": "gunicorn --worker-class gthread --workers 2 --threads 8 --bind unix:{socket} same:app",
    "gunicorn-gevent": "gunicorn --worker-class gevent --workers 2 --bind unix:{socket} same:app",
    "gunicorn-asgi": "gunicorn --worker-class asgi --workers 2 --bind unix:{socket} same_asgi:app",
    "waitress": "waitress-serve --threads 8 --connection-limit 1000 --unix-socket {socket} same:app",
    "granian": "granian --interface wsgi --workers 2 --blocking-threads 8 --uds {socket} --no-access-log same:app",
    "granian-asgi": "granian --interface asgi --workers 2 --uds {socket} --no-access-log same_asgi:app",
    "uvicorn": "uvicorn --workers 2 --uds {socket} --no-access-log --log-level warning same_asgi:app",
}

# Asks the server's socket until it answers well; prints the seconds since it was told to start.
START = """
import socket, subprocess, sys, time
unit, path = sys.argv[1:]
subprocess.run(["systemctl", "stop", unit], check=True)
subprocess.run(["systemctl", "reset-failed"], check=True)  # it was started often
began = time.monotonic()
subprocess.run(["systemctl", "start", "--no-block", unit], check=True)
while time.monotonic() - began < 60:
    try:
        with socket.socket(socket.AF_UNIX) as wire:
            wire.settimeout(30)
            wire.connect(path)
            wire.sendall(b"GET /healthz HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n")
            if wire.recv(12) == b"HTTP/1.1 200":
                print(time.monotonic() - began)
                break
    except OSError:
        pass
    time.sleep(0.005)
"""
# What the processes of a unit have in memory, each with its share of what they have in common: first the first one.
MEMORY = """
import json, pathlib, subprocess, sys
main = int(subprocess.check_output(["systemctl", "show", "-P", "MainPID", sys.argv[1]]))
def share(process):
    lines = pathlib.Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
children = pathlib.Path(f"/proc/{main}/task/{main}/children").read_text().split()
print(json.dumps([share(main), *map(share, children)]))
"""

# The processor time that a unit's processes have had, those that are gone included, in hundredths of a second.
PROCESSOR = """
import pathlib, subprocess, sys
main = int(subprocess.check_output(["systemctl", "show", "-P", "MainPID", sys.argv[1]]))
def ticks(process, fields):
    return sum(map(int, pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:fields]))
children = pathlib.Path(f"/proc/{main}/task/{main}/children").read_text().split()
print(ticks(main, 15) + sum(ticks(child, 13) for child in children))
"""


def entries() -> dict[str, dict[str, Any]]:
    """The apps of the scenario's inventory, the one that has the domain first."""
    return {app["name"]: app for app in yaml.safe_load(LIST.read_text())["wsgi_apps"]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true", help="leave the host, and use the one of the run before")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="entries to measure; the others keep their numbers")
    parser.add_argument("--deployed", action="store_true", help="the host has the apps, from a run with --keep")
    parser.add_argument("--draw", action="store_true", help="only write the page and the plot again")
    options = parser.parse_args()
    file = RESULTS / "servers.json"
    results = json.loads(file.read_text()) if file.exists() and (options.only or options.draw) else {}
    apps = entries()
    chosen = [name for name in options.only or apps if name != FRONT]
    try:
        if not options.draw:
            with fresh_host(options.keep or options.deployed) as host:
                settings = {"nginx_proxy_tls": "selfsigned", "project": str(ROOT)}
                if not options.deployed:
                    playbook("servers", inventory("servers", list(apps.values()), **settings))
                asked = Host(host["container"])
                for name in chosen:
                    results[name] = measured(asked, name, apps[name])
                    file.write_text(json.dumps(results, indent=2) + "\n")
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    RESULTS.mkdir(exist_ok=True)
    results = {name: results[name] for name in apps if name in results}
    file.write_text(json.dumps(results, indent=2) + "\n")
    return report(results)


class Host:
    """The host under test."""

    def __init__(self, container: str) -> None:
        self.container = container
        install = "DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nghttp2-client wrk"
        named = f"grep -q {DOMAIN} /etc/hosts || echo 127.0.0.1 {DOMAIN} >>/etc/hosts"
        command = ["docker", "exec", container, "sh", "-euc", f"which h2load wrk >/dev/null || {install}; {named}"]
        timed(command, "servers-tools", 300)

    def run(self, *command: str, timeout: float = 120) -> str:
        """What a command prints.

        Raises:
            BenchError: it failed.
        """
        asked = ["docker", "exec", self.container, *command]
        done = subprocess.run(asked, capture_output=True, text=True, timeout=timeout)
        if done.returncode:
            raise BenchError(f"`{' '.join(command)[:300]}` failed ({done.returncode}):\n{done.stdout}{done.stderr}")
        return done.stdout

    def through_nginx(self, path: str, connections: int) -> dict[str, float]:
        """Requests a second, and the milliseconds that half and 99 of 100 of them took at most.

        Raises:
            BenchError: not all were answered well.
        """
        text = self._load(f"wrk -t1 -c{connections} -d{SECONDS} --timeout 30 --latency 'https://{DOMAIN}{path}'")
        rate = re.search(r"Requests/sec: +([0-9.]+)", text)
        times = {share: re.search(rf" {share}% +([0-9.]+)(us|ms|s)\s", text) for share in (50, 99)}
        return {
            "per_s": round(float(rate[1] if rate else 0), 1),
            **{f"p{share}_ms": milliseconds(*found.groups()) for share, found in times.items() if found},
        }

    def direct(self, socket: str, path: str, connections: int, seconds: int) -> float:
        """Requests a second at a server's socket, over connections that stay open where the server lets them.

        Raises:
            BenchError: not all were answered well.
        """
        command = f"h2load --h1 -t1 -c{connections} -D{seconds} -B unix:{socket} 'http://{DOMAIN}{path}'"
        rate = re.search(r"([0-9.]+) req/s", self._load(command))
        return float(rate[1] if rate else 0)

    def cost(self, unit: str, socket: str) -> float:
        """Hundredths of a second of processor time that a unit takes for a request for JSON."""
        before = int(self.run("python3", "-c", PROCESSOR, unit))
        answered = self.direct(socket, "/", QUESTIONS["json"][1], TURN) * TURN
        return (int(self.run("python3", "-c", PROCESSOR, unit)) - before) / answered

    def _load(self, command: str) -> str:
        for _ in range(TRIES):
            text = self.run("sh", "-c", f"timeout 60 {command} || true")
            if re.search(r"[1-9][0-9]* (failed|errored|4xx|5xx)|Non-2xx|Socket errors", text):
                raise BenchError(f"`{command}` went wrong:\n{text}")
            if re.search(r"(Requests/sec: +|finished in [0-9.]+s, )[0-9.]*[1-9]", text):
                return text
        raise BenchError(f"`{command}` got no answer:\n{text}")


def milliseconds(number: str, unit: str) -> float:
    """A time as wrk prints it."""
    return round(float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit], 1)


def measured(host: Host, name: str, app: Mapping[str, Any]) -> dict[str, Any]:
    """Everything of one server."""
    print(f"bench: {name}", end=" … ", flush=True)
    listed = host.run("systemctl", "list-units", "--plain", "--no-legend", "--state=active", f"{name}@*.service")
    unit = listed.split()[0]
    number = unit.partition("@")[2].removesuffix(".service")
    socket = f"/run/{name}/{number}/sock"
    started = [float(host.run("python3", "-c", START, unit, socket)) for _ in range(STARTS)]
    told: dict[str, Any] = {"start_s": round(statistics.median(started), 2)}
    http = speaks_http(app)
    for question, (path, connections) in QUESTIONS.items():
        prefix = app.get("path", "")
        told[question] = host.through_nginx(f"{prefix}{path}", connections)
        told[question]["direct_per_s"] = host.direct(socket, path, connections, SECONDS) if http else None
    shares = json.loads(host.run("python3", "-c", MEMORY, unit))
    told["workers"] = len(shares[1:]) or 1
    told["worker_mb"] = round(statistics.mean(shares[1:] or shares) / 1e6, 1)
    told["all_mb"] = round(sum(shares) / 1e6, 1)
    told["to_hand"] = by_hand(host, name, unit, socket) if http and name in HAND else None
    print(f"{told['json']['per_s']:.0f}/s, {told['to_hand']} of by hand", flush=True)
    return told


def speaks_http(app: Mapping[str, Any]) -> bool:
    """Whether h2load can ask it without nginx; uWSGI closes each connection, for which h2load waits too long."""
    return app.get("server") != "uwsgi"


def by_hand(host: Host, name: str, unit: str, socket: str) -> float:
    """Requests for JSON that it answers, as a share of what the same server answers that a person has started.

    Both get the same processor time: how many they answer in a second depends on what else the machine does then.
    """
    program, _blank, arguments = HAND[name].partition(" ")
    place = f"/run/hand-{name}"
    venv = f"/srv/{name}/current/app/venv"
    command = [f"{venv}/bin/{program}", *arguments.format(socket=f"{place}/sock", venv=venv).split()]
    hand = f"hand-{name}.service"
    options = [f"--unit={hand}", f"--uid={name}", f"--property=RuntimeDirectory=hand-{name}"]
    host.run("systemd-run", "--quiet", *options, f"--working-directory=/srv/{name}/current/app/src", *command)
    try:
        wait = f"for _ in $(seq 200); do curl -s --unix-socket {place}/sock http://a/ && exit; sleep 0.1; done; exit 1"
        host.run("sh", "-c", wait)
        costs: dict[str, list[float]] = {unit: [], hand: []}
        for number in range(ROUNDS):
            turns = [(unit, socket), (hand, f"{place}/sock")]
            for asked, at in turns if number % 2 else reversed(turns):
                costs[asked].append(host.cost(asked, at))
    finally:
        host.run("systemctl", "stop", hand)
    ratios = [theirs / ours for ours, theirs in zip(costs[unit], costs[hand], strict=True)]
    return round(statistics.median(ratios), 2)


# -- what is made of it ------------------------------------------------------------------------------------------------

COLUMNS: dict[str, Callable[[str, Mapping[str, Any]], str]] = {
    "server": lambda name, _told: name,
    "JSON/s": lambda _name, told: f"{told['json']['per_s']:,.0f}",
    "p50": lambda _name, told: f"{told['json']['p50_ms']:.0f}",
    "p99": lambda _name, told: f"{told['json']['p99_ms']:.0f}",
    "direct/s": lambda _name, told: f"{told['json']['direct_per_s']:,.0f}" if told["json"]["direct_per_s"] else "-",
    "waits/s": lambda _name, told: f"{told['wait']['per_s']:,.0f}",
    "p50 ": lambda _name, told: f"{told['wait']['p50_ms']:,.0f}",
    "p99 ": lambda _name, told: f"{told['wait']['p99_ms']:,.0f}",
    "MB": lambda _name, told: f"{told['workers']} x {told['worker_mb']:.0f}",
    "start": lambda _name, told: f"{told['start_s']:.1f} s",
    "by hand": lambda _name, told: f"{told['to_hand']:.2f}" if told["to_hand"] else "-",
}


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The results as a table in Markdown, padded so that it can be read as it is."""
    rows = [list(COLUMNS), *([cell(name, told) for cell in COLUMNS.values()] for name, told in results.items())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [padded(row, widths) for row in rows]
    rule = "|".join(["", ":" + "-" * (widths[0] + 1), *("-" * (width + 1) + ":" for width in widths[1:]), ""])
    return "\n".join([lines[0], rule, *lines[1:]])


def padded(row: Iterable[str], widths: list[int]) -> str:
    """One line of a table, numbers to the right."""
    first, *others = row
    cells = [first.ljust(widths[0]), *map(str.rjust, others, widths[1:])]
    return f"| {' | '.join(cells)} |"


def report(results: Mapping[str, Mapping[str, Any]]) -> int:
    """Print the table, write the page and the plot; 1 when a server is slower than one that is started by hand."""
    from plot_servers import draw  # matplotlib takes its time, which a run that fails need not

    print(f"\n{table(results)}")
    write_page(table(results), PAGE)
    PLOT.parent.mkdir(exist_ok=True)
    draw(results, PLOT)
    slower = [name for name, told in results.items() if told["to_hand"] and told["to_hand"] < LEAST]
    if slower:
        print(f"less than {LEAST} of what they answer when started by hand: {', '.join(slower)}")
    return 1 if slower else 0


def write_page(text: str, page: Path) -> None:
    """Put the table where the page has the last one."""
    before, _begin, rest = page.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


if __name__ == "__main__":
    sys.exit(main())
