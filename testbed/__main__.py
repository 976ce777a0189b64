"""Command line of the testbed: ``python3 -m testbed --help``."""

from __future__ import annotations

import argparse
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from . import cluster, demo, engine, images, labs
from .errors import TestbedError


def _port(text: str) -> tuple[int, int]:
    """Read ``8080:80`` as (80, 8080)."""
    here, inside = text.split(":")
    return int(inside), int(here or 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="testbed", description="Debian hosts under systemd and an ACME CA, in Docker")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("engine", help="start a container engine where none runs")
    verbs.add_parser("images", help="build the images that are missing")
    start = verbs.add_parser("up", help="start a lab and print where things are (JSON); also writes inventory.yml")
    start.add_argument("lab", help="its name; state goes to .cache/lab/<name>")
    start.add_argument("--release", default="13", choices=sorted(images.SUITES), help="Debian release")
    start.add_argument("--host", default="host", help="host name")
    start.add_argument("--domain", action="append", default=[], help="a name that leads to the host; repeatable")
    start.add_argument("--publish", action="append", default=[], type=_port, metavar="HERE:THERE", help="repeatable")
    start.add_argument("--engines", action="store_true", help="with container engines and a registry of its own")
    stop = verbs.add_parser("down", help="remove a lab and its state")
    stop.add_argument("lab")
    show = verbs.add_parser("demo", help="the demo's host; `run` also deploys to it and shows the result")
    show.add_argument("action", choices=["run", "up", "down"])
    show.add_argument("--started", type=float, default=time.time(), help="when the wait began, seconds since the epoch")
    molecule = verbs.add_parser("molecule", help="the hosts of a Molecule scenario")
    molecule.add_argument("action", choices=["up", "down"])
    molecule.add_argument("scenario", choices=sorted([*labs.SCENARIOS, cluster.SCENARIO]))
    hand = verbs.add_parser("give", help="hand an app's image to the nodes of the cluster")
    hand.add_argument("app")
    hand.add_argument("image", help="its name on the host that builds images")
    return parser


def _run(options: argparse.Namespace) -> int:
    if options.verb == "engine":
        engine.ensure()
    elif options.verb == "images":
        images.build_all()
    elif options.verb == "up":
        host = labs.Host(
            options.host, options.release, tuple(options.domain), dict(options.publish), engines=options.engines
        )
        print(json.dumps(labs.up(labs.lab(options.lab, host)), indent=2))
    elif options.verb == "down":
        labs.down(labs.lab(options.lab))
    elif options.verb == "give":
        print(cluster.give(options.app, options.image))
    elif options.verb == "molecule" and options.scenario == cluster.SCENARIO:
        _cluster(options.action)
    elif options.action == "run":
        return demo.run(options.started)
    else:
        wanted = labs.DEMO if options.verb == "demo" else labs.SCENARIOS[options.scenario]
        if options.action == "up":
            labs.up(wanted)
        else:
            labs.down(wanted)
    return 0


def _cluster(action: str) -> None:
    """The scenario whose hosts are a cluster and the host that builds its images."""
    if action == "up":
        with ThreadPoolExecutor() as pool:
            for started in [pool.submit(cluster.up), pool.submit(labs.up, cluster.BUILDER)]:
                started.result()
    else:
        cluster.down()
        labs.down(cluster.BUILDER)


def main() -> int:
    """Run one verb; problems that a person can fix end in one line on stderr and exit code 1."""
    try:
        return _run(_parser().parse_args())
    except TestbedError as error:
        print(f"testbed: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
