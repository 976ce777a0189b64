"""Certificates of 6, 45, 64 and 90 days through 200 days: how close to their end, and how many were asked for.

The clocks are honest at both ends; time is only short: a day lasts some seconds (``--day``), on the host, whose timer
is started as often in such a day as it would be in a real one, and at the authority, whose certificates live as many of
these seconds. What renews is the unit that the timer starts, with Debian's certbot as the playbook has set it up, one
authority for each length of life. What is judged is the certificate on the wire, several times a second.

A renewal takes as many real seconds as ever, and so a large part of a short day: the figures are worse than they would
be, never better. Prints a table and writes ``bench/results/lifetime-<release>.json``. Takes 200 times as long as a day.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from lab import LAB, RESULTS, BenchError, inventory, playbook, testbed

LIVES = (90, 64, 45, 6)  # days
NEVER_BELOW = 10  # per cent of its life that a certificate on the wire must always have left
BUDGET = 1.5  # times the fewest certificates with which that is possible
SIMULATION = Path(__file__).with_name("lifetime_on_host.py")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--release", default="12", choices=["12", "13"], help="Debian release (default 12)")
    parser.add_argument("--day", type=float, default=10.0, help="seconds that a day lasts (default 10)")
    parser.add_argument("--days", type=int, default=200, help="how many days (default 200)")
    options = parser.parse_args()
    domains = [option for life in LIVES for option in ("--domain", domain(life))]
    testbed("down", LAB)
    try:
        lab = json.loads(testbed("up", LAB, "--release", options.release, *domains))
        results = measure(lab, options.day, options.days)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    finally:
        testbed("down", LAB)
    good = report(results, options.days)
    RESULTS.mkdir(exist_ok=True)
    told = {"day_s": options.day, "days": options.days, "lives": results}
    (RESULTS / f"lifetime-{options.release}.json").write_text(json.dumps(told, indent=2) + "\n")
    return 0 if good else 1


def domain(life: int) -> str:
    """The name whose certificates live so many days."""
    return f"life{life}.example.test"


def measure(lab: dict[str, Any], day: float, days: int) -> list[dict[str, Any]]:
    """Set the host up, and let the days go by."""
    host, authority = lab["hosts"]["host"]["container"], lab["ca"]["container"]
    for number, life in enumerate(LIVES):
        start_authority(authority, 14010 + number, round(life * day))
    source = SIMULATION.parents[1] / "molecule" / "tls" / "app"
    apps = [
        {
            "name": f"life{life}",
            "source": {"path": str(source)},
            "entrypoint": "hello:app",
            "domains": [domain(life)],
            "certbot": {"acme_directory": f"https://ca.example.test:{14010 + number}/dir"},
        }
        for number, life in enumerate(LIVES)
    ]
    playbook("lifetime-first", inventory("lifetime", apps, gunicorn_workers=1))
    print(f"bench: {days} days of {day:g} s", flush=True)
    command = ["docker", "exec", "-i", host, "python3", "-", str(day), str(days), *map(domain, LIVES)]
    with SIMULATION.open() as script:
        done = subprocess.run(command, stdin=script, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"the days ended early: {done.stderr[-2000:]}")
    return [{"life_days": life, **told} for life, told in zip(LIVES, json.loads(done.stdout), strict=True)]


def start_authority(container: str, port: int, seconds: int) -> None:
    """Start an authority whose certificates live so many seconds."""
    config = f"sed 's/:14000/:{port}/; s/:15000/:{port + 1000}/; s/7776000/{seconds}/' /etc/pebble/config.json"
    run = f"PEBBLE_VA_NOSLEEP=1 PEBBLE_WFE_NONCEREJECT=0 exec pebble -config /tmp/{port}.json -dnsserver 127.0.0.1:8053"
    script = f"{config} >/tmp/{port}.json; cd /etc/pebble; {run} >/tmp/{port}.log 2>&1"
    subprocess.run(["docker", "exec", "-d", container, "sh", "-c", script], check=True)
    ask = [
        "docker",
        "exec",
        container,
        "curl",
        "-sf",
        "--cacert",
        "/etc/pebble/acme.pem",
        f"https://localhost:{port}/dir",
    ]
    deadline = time.monotonic() + 20
    while subprocess.run(ask, capture_output=True, check=False).returncode:
        if time.monotonic() > deadline:
            raise BenchError(f"the authority on port {port} does not start")
        time.sleep(0.2)


def report(results: list[dict[str, Any]], days: int) -> bool:
    """Print what was measured; return whether all of it is as it must be."""
    print(f"\n{'life':>8}{'issued':>8}{'fewest':>8}{'ratio':>8}{'least left':>12}{'looks':>9}{'not served':>12}")
    good = True
    for row in results:
        usable = row["life_days"] * (100 - NEVER_BELOW) / 100
        row["fewest"] = max(1, math.ceil(days / usable))
        row["ratio"] = round(row["issued"] / row["fewest"], 2)
        good &= row["ratio"] <= BUDGET and row["least_left_percent"] >= NEVER_BELOW and not row["failed"]
        print(
            f"{row['life_days']:>5} d {row['issued']:>8}{row['fewest']:>8}{row['ratio']:>8}"
            f"{row['least_left_percent']:>10.1f} %{row['looks']:>9}{row['failed']:>12}"
        )
    print(f"\nRuns of the timer's unit: {results[0]['runs']}, failed: {len(results[0]['runs_failed'])}.")
    for text in results[0]["runs_failed"]:
        print(f"\n{text}")
    return good


if __name__ == "__main__":
    sys.exit(main())
