"""What clients notice of a deployment: requests over HTTPS while releases are switched, counted and timed.

On a fresh Debian 13 host of the testbed, nine clients keep asking the example API: ordinary requests, POSTs, and
requests that take a second. ``playbooks/deploy.yml`` switches its release several times meanwhile. Prints the result,
writes ``bench/results/deploy.json``, and fails when a request did. The host is removed at the end, whatever happened.
"""

from __future__ import annotations

import argparse
import http.client
import json
import socket
import ssl
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

from lab import LAB_STATE, RESULTS, TWO_APPS, BenchError, fresh_host, inventory, playbook

SWITCHES = 6
CLIENTS = ["get"] * 6 + ["post", "post", "slow"]
DOMAIN = TWO_APPS[0]["domains"][0]
QUIET = 5  # seconds of load before the first switch and after the last


class Connection(http.client.HTTPSConnection):
    """A connection to the host's published port under the app's name."""

    def __init__(self, port: int) -> None:
        self.trust = ssl.create_default_context(cafile=str(LAB_STATE / "ca.pem"))
        self.published = port
        super().__init__(DOMAIN, timeout=30, context=self.trust)

    def connect(self) -> None:
        plain = socket.create_connection(("127.0.0.1", self.published), timeout=30)
        self.sock = self.trust.wrap_socket(plain, server_hostname=DOMAIN)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--switches", type=int, default=SWITCHES, help=f"how many deployments (default {SWITCHES})")
    switches = parser.parse_args().switches
    try:
        with fresh_host() as host:
            playbook("deploy-first", release(0))
            results = under_load(int(host["ports"]["443"]), switches)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    report(results)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "deploy.json").write_text(json.dumps(results, indent=2) + "\n")
    return 1 if results["failed"] else 0


def release(number: int) -> list[str]:
    """An inventory in which the app's environment differs, so that a run makes a new release of it."""
    return inventory("deploy", [{**TWO_APPS[0], "env": {"NUMBER": str(number)}}])


def under_load(port: int, switches: int) -> dict[str, Any]:
    """Switch releases while clients ask. Raises ``BenchError`` where a deployment switched nothing."""
    over = Event()
    with ThreadPoolExecutor(len(CLIENTS)) as pool:
        clients = [pool.submit(ask, kind, port, over) for kind in CLIENTS]
        try:
            time.sleep(QUIET)
            for number in range(1, switches + 1):
                if not playbook(f"deploy-{number}", release(number), "deploy").changed:
                    raise BenchError(f"deployment {number} switched nothing")
            time.sleep(QUIET)
        finally:
            over.set()
    answered = [client.result() for client in clients]
    seconds = [second for kind, (times, _) in zip(CLIENTS, answered, strict=True) if kind != "slow" for second in times]
    failures = [failure for _, failed in answered for failure in failed]
    return {
        "switches": switches,
        "requests": sum(len(times) + len(failed) for times, failed in answered),
        "failed": len(failures),
        "failures": failures[:10],
        "median_ms": round(1000 * statistics.median(seconds), 1),
        "p99_ms": round(1000 * statistics.quantiles(seconds, n=100)[98], 1),
        "slowest_ms": round(1000 * max(seconds), 1),
    }


def ask(kind: str, port: int, over: Event) -> tuple[list[float], list[str]]:
    """Ask until it is over; seconds of every good answer, and what went wrong with the others."""
    method, path, body = {
        "get": ("GET", "/", None),
        "post": ("POST", "/echo", '{"some": "json"}'),
        "slow": ("GET", "/slow?seconds=1", None),
    }[kind]
    connection = Connection(port)
    times, failed = [], []
    while not over.is_set():
        started = time.monotonic()
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            if answer.status == 200:
                times.append(time.monotonic() - started)
            else:
                failed.append(f"{kind}: {answer.status}")
        except (OSError, http.client.HTTPException) as error:
            failed.append(f"{kind}: {error!r}")
            connection.close()
    connection.close()
    return times, failed


def report(results: dict[str, Any]) -> None:
    """Print what the clients noticed."""
    print(f"\n{results['requests']} requests over {results['switches']} deployments: {results['failed']} failed")
    for failure in results["failures"]:
        print(f"  {failure}")
    print(f"ordinary requests: median {results['median_ms']} ms, 99 % within {results['p99_ms']} ms,", end=" ")
    print(f"the slowest {results['slowest_ms']} ms")


if __name__ == "__main__":
    sys.exit(main())
