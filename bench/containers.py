"""The same app as a process, in a container of Podman, in one of Docker, and in a Compose project, on one host.

On a fresh Debian 13 host of the testbed with engines, ``playbooks/image.yml`` builds the example API and pushes it to
the host's own registry, ``site.yml`` puts it into production three times, and ``compose.yml`` once more on other ports.
wrk runs on the host and asks them in turn, so that whatever else the machine does slows all of them: the median of the
rounds' ratios to the process counts.

Prints the table and writes ``bench/results/containers.json``; fails when a release that is a container answers fewer
requests, or later, than the budget allows. The host is removed at the end; ``--keep`` leaves it and uses it again.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
from typing import Any

from lab import RESULTS, TWO_APPS, WORK, BenchError, fresh_host, inventory, playbook, timed

ROUNDS, SECONDS, CONNECTIONS = 12, 3, 16
LEAST, MOST = 0.9, 1.1  # of the process's requests a second, and of the milliseconds that 99 of 100 take
WAYS = {"process": 443, "in-podman": 443, "in-docker": 443, "in-compose": 8444}  # and the port of each
REGISTRY = "127.0.0.1:5000"
RELEASES = {"in-podman": "podman", "in-docker": "docker"}
SETTINGS: dict[str, Any] = {
    "nginx_proxy_tls": "selfsigned",
    "image_base": "python-base:13",
    "image_engine": "docker",
    "image_registry": REGISTRY,
    "image_registry_insecure": True,
    "image_host": "host",
    "image_host_become": True,
    "compose_nginx_base": "python-base:13",
    # Nobody may raise a limit on a host that is a container itself.
    "release_limit_nofile": 16384,
}
CONFIGURE = r"""
cat >/etc/docker/registry/config.yml <<'C'
version: 0.1
storage: {filesystem: {rootdirectory: /var/lib/docker-registry}, delete: {enabled: true}}
http: {addr: "127.0.0.1:5000"}
C
systemctl restart docker-registry
for name in process in-podman in-docker in-compose; do
    grep -q " $name.example.test" /etc/hosts || echo "127.0.0.1 $name.example.test" >>/etc/hosts
done
which wrk >/dev/null || DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends wrk
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true", help="leave the host, and use it again")
    parser.add_argument("--deployed", action="store_true", help="measure what a run with --keep has deployed")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    try:
        with fresh_host(options.keep or options.deployed, "--engines") as host:
            if not options.deployed:
                deploy(host["container"])
            return report([one_round(host["container"], number) for number in range(options.rounds)])
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1


def app(name: str, **keys: Any) -> dict[str, Any]:
    """The example under another name."""
    return {**TWO_APPS[0], "name": name, "domains": [f"{name}.example.test"], **keys}


def deploy(container: str) -> None:
    """Put all ways of running it on the host."""
    timed(["docker", "exec", container, "sh", "-euc", CONFIGURE], "containers-tools", 300)
    built = inventory("containers-image", [app("process")], **SETTINGS, image_push=True)
    playbook("containers-image", built, "image", "-e", "app=process")
    told = (WORK / "containers-image.log").read_text()
    image = re.search(rf"{REGISTRY}/process@sha256:[0-9a-f]+", told)
    if not image:
        raise BenchError(f"no image in {WORK}/containers-image.log")
    contained = [
        app(name, runtime="container", source={"image": image[0]}, image={"engine": engine})
        for name, engine in RELEASES.items()
    ]
    playbook("containers-site", inventory("containers", [app("process"), *contained], **SETTINGS))
    ports = {"nginx_proxy_http_port": 8081, "nginx_proxy_https_port": WAYS["in-compose"]}
    playbook("containers-compose", inventory("containers-compose", [app("in-compose")], **SETTINGS, **ports), "compose")


def one_round(container: str, number: int) -> dict[str, dict[str, float]]:
    """Requests a second and latencies of every way, each time in another order."""
    print(f"bench: round {number + 1}", end=" … ", flush=True)
    order = [*WAYS][number % len(WAYS) :] + [*WAYS][: number % len(WAYS)]
    measured = {name: ask(container, name, WAYS[name]) for name in order}
    print(", ".join(f"{name} {measured[name]['per_s']:.0f}/s" for name in WAYS), flush=True)
    return measured


def ask(container: str, name: str, port: int) -> dict[str, float]:
    """What clients on the host get.

    Raises:
        BenchError: Not all requests were answered well.
    """
    url = f"https://{name}.example.test:{port}/"
    command = ["docker", "exec", container, "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}", "--latency", url]
    text = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
    rate = re.search(r"Requests/sec: +([0-9.]+)", text)
    times = {share: re.search(rf" {share}% +([0-9.]+)(us|ms|s)\s", text) for share in (50, 99)}
    if not rate or "Non-2xx" in text or "Socket errors" in text:
        raise BenchError(f"{url} was not answered well:\n{text}")
    units = {"us": 0.001, "ms": 1.0, "s": 1000.0}
    return {
        "per_s": float(rate[1]),
        **{f"p{share}_ms": float(found[1]) * units[found[2]] for share, found in times.items() if found},
    }


def report(rounds: list[dict[str, dict[str, float]]]) -> int:
    """Print and keep the medians; 1 when a release that is a container misses the budget."""
    results: dict[str, dict[str, float]] = {}
    for name in WAYS:
        own = {key: [one[name][key] for one in rounds] for key in ("per_s", "p50_ms", "p99_ms")}
        ratios = {key: [one[name][key] / one["process"][key] for one in rounds] for key in ("per_s", "p99_ms")}
        results[name] = {key: round(statistics.median(values), 1) for key, values in own.items()}
        results[name] |= {f"{key}_to_process": round(statistics.median(values), 2) for key, values in ratios.items()}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "containers.json").write_text(json.dumps(results, indent=2) + "\n")
    print(f"\n{'':10} {'per s':>7} {'p50':>7} {'p99':>7}   to a process: per s, p99")
    for name, told in results.items():
        print(
            f"{name:10} {told['per_s']:7.0f} {told['p50_ms']:4.1f} ms {told['p99_ms']:4.1f} ms"
            f"   {told['per_s_to_process']:18.2f} {told['p99_ms_to_process']:4.2f}"
        )
    missed = [
        name
        for name in RELEASES
        if results[name]["per_s_to_process"] < LEAST or results[name]["p99_ms_to_process"] > MOST
    ]
    if missed:
        print(f"outside of {LEAST} and {MOST}: {', '.join(missed)}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
