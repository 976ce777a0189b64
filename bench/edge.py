"""What nginx as this collection sets it up costs, beside an nginx that was tuned by hand for one thing.

On a fresh Debian 13 host of the testbed, ``playbooks/site.yml`` puts the example API into production twice, once behind
the one-second cache. A second nginx with a few lines of configuration listens on another port of the same host, with
the same certificate, the same files and the same socket of the same app. wrk and h2load run on the host itself and ask
the two in turn, so that whatever else the machine does slows both; the median of the rounds' ratios counts. Where the
other is gunicorn itself, it has a core of its own: else the ratio tells which of its workers got the connections that
stay open, and what the machine has left beside it.

Prints every ratio beside its budget and writes ``bench/results/edge.json``. The host is removed at the end.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lab import RESULTS, TWO_APPS, BenchError, fresh_host, inventory, playbook, timed

ROUNDS = 12
SECONDS = 2  # of one measurement; many short ones in turns, since the machine's own pace changes within seconds
CONNECTIONS = 16
BARE_PORT = 8443
APART = "taskset -c 1"  # who asks shares nginx's core, see SEPARATE
DOMAIN, CACHED = "api.example.test", "httpbin.example.test"
BIG, SMALL, PLAIN = "big.5a3b1c0d.bin", "small.5a3b1c0d.bin", "small.bin"  # with a digest, as build tools name them
EXAMPLE = Path(TWO_APPS[0]["source"]["path"])

BARE = """\
user www-data;
pid /run/nginx-bare.pid;
worker_processes auto;
error_log /var/log/nginx/bare.error.log;
events { worker_connections 4096; }
http {
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    access_log /var/log/nginx/bare.access.log;
    sendfile on;
    tcp_nopush on;
    keepalive_timeout 65;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache shared:bare:10m;
    ssl_certificate /etc/nginx/tls/api/fullchain.pem;
    ssl_certificate_key /etc/nginx/tls/api/privkey.pem;
    upstream app { server unix:/run/api/current.sock fail_timeout=0; }
    server {
        listen %(port)d ssl;
        http2 on;
        location /static/ { alias /srv/api/current/app/src/app/static/; }
        location / {
            proxy_pass http://app;
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
        }
    }
}
"""


# Gives gunicorn the first core and nginx the second, for good: what is measured so comes last.
SEPARATE = """\
for service in api@:0 nginx:1; do
    mkdir -p /etc/systemd/system/${service%:*}.service.d
    printf '[Service]\\nCPUAffinity=%s\\n' ${service#*:} >/etc/systemd/system/${service%:*}.service.d/bench.conf
done
systemctl daemon-reload
systemctl restart nginx.service 'api@*.service'
"""


@dataclass(frozen=True)
class Comparison:
    """Two things to ask in turn: commands that print requests a second, and the least that their ratio may be."""

    name: str
    ours: str
    other: str
    budget: float
    apart: bool = False  # gunicorn on one core, nginx and who asks on another


def wrk(url: str, *options: str) -> str:
    """Ask over connections that stay open."""
    return " ".join([f"wrk -t1 -c{CONNECTIONS} -d{SECONDS}s", *options, url])


def h2load(url: str, *options: str) -> str:
    """The same for what is not TCP."""
    return " ".join([f"h2load --h1 -t1 -c{CONNECTIONS} -D{SECONDS}", *options, url])


def comparisons() -> list[Comparison]:
    """What is measured."""
    ours, bare = f"https://{DOMAIN}", f"https://{DOMAIN}:{BARE_PORT}"
    new = '-H "Connection: close"'
    static, bare_static = f"{ours}/static", f"{bare}/static"
    straight = h2load(f"http://{DOMAIN}/", "-B", "unix:/run/api/current.sock")
    proxied = h2load(f"{ours}/")
    return [
        Comparison("static 100 KB", wrk(f"{static}/{BIG}"), wrk(f"{bare_static}/{BIG}"), 0.97),
        Comparison("TLS, kept open", wrk(f"{static}/{SMALL}"), wrk(f"{bare_static}/{SMALL}"), 0.97),
        # A lower budget: for a name that a deployment may give to another file, nginx looks each time.
        Comparison("the same, without a digest", wrk(f"{static}/{PLAIN}"), wrk(f"{bare_static}/{PLAIN}"), 0.93),
        Comparison("TLS, full handshakes", wrk(f"{static}/{SMALL}", new), wrk(f"{bare_static}/{SMALL}", new), 0.97),
        Comparison("proxied JSON", wrk(f"{ours}/"), wrk(f"{bare}/"), 0.97),
        # JSON for which the app asks its database.
        Comparison("cached a second, to not", wrk(f"https://{CACHED}/"), wrk(f"{ours}/"), 10.0),
        Comparison("proxied JSON, to gunicorn", f"{APART} {proxied}", f"{APART} {straight}", 0.90, apart=True),
    ]


def main() -> int:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    try:
        with fresh_host() as host, TemporaryDirectory(prefix="wsgi-bench-") as folder:
            playbook("edge", inventory("edge", apps(Path(folder)), nginx_proxy_tls="selfsigned"))
            prepare(host["container"])
            results = {item.name: measure(host["container"], item) for item in comparisons()}
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "edge.json").write_text(json.dumps(results, indent=2) + "\n")
    return report(results)


def apps(folder: Path) -> list[dict[str, Any]]:
    """The example twice, with files to serve; the second behind the cache."""
    source = folder / "flask_api"
    shutil.copytree(EXAMPLE, source)
    for name, size in ((BIG, 100 * 1024), (SMALL, 1024), (PLAIN, 1024)):
        (source / "app/static" / name).write_bytes(bytes(size))
    api = {**TWO_APPS[0], "source": {"path": str(source)}, "nginx": {"static": {"/static/": "app/static"}}}
    return [api, {**api, "name": "cached", "domains": [CACHED], "nginx": {"cache": "micro"}}]


def prepare(container: str) -> None:
    """Install the tools, name the domains, start the other nginx."""
    install = "DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends wrk nghttp2-client"
    on_host(container, f"{install} && echo 127.0.0.1 {DOMAIN} {CACHED} >>/etc/hosts", "edge-tools", 300)
    write = ["docker", "exec", "-i", container, "sh", "-c", "cat >/etc/nginx/bare.conf"]
    subprocess.run(write, input=BARE % {"port": BARE_PORT}, text=True, check=True)
    on_host(container, "nginx -c /etc/nginx/bare.conf", "edge-bare", 30)


def on_host(container: str, script: str, name: str, timeout: float) -> None:
    timed(["docker", "exec", container, "sh", "-euc", script], name, timeout)


def measure(container: str, item: Comparison) -> dict[str, float]:
    """Ask both in turn, the first of a round last in the next."""
    if item.apart:
        on_host(container, SEPARATE, "edge-cores", 60)
    rates: dict[str, list[float]] = {"ours": [], "other": []}
    for number in range(ROUNDS):
        turns: list[tuple[str, str]] = [("ours", item.ours), ("other", item.other)]
        for who, command in turns if number % 2 else reversed(turns):
            rates[who].append(rate(container, command))
    ratios = [ours / other for ours, other in zip(rates["ours"], rates["other"], strict=True)]
    medians = {f"{who}_per_s": round(statistics.median(found), 1) for who, found in rates.items()}
    spread = {"ratio": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios)}
    told = medians | {name: round(value, 3) for name, value in spread.items()}
    print(f"bench: {item.name}: {told['ratio']} ({told['lowest']} to {told['highest']})", flush=True)
    return {**told, "budget": item.budget}


def rate(container: str, command: str) -> float:
    """Requests a second, all of them answered well.

    Raises:
        BenchError: there were errors, or no answers.
    """
    done = subprocess.run(
        ["docker", "exec", container, "sh", "-c", command], capture_output=True, text=True, timeout=60
    )
    found = re.search(r"Requests/sec: +([0-9.]+)|([0-9.]+) req/s", done.stdout)
    failed = re.search(r"Non-2xx|Socket errors|[1-9][0-9]* failed", done.stdout)
    if done.returncode or not found or failed:
        raise BenchError(f"`{command}` went wrong:\n{done.stdout}{done.stderr}")
    return float(found[1] or found[2])


def report(results: dict[str, dict[str, float]]) -> int:
    """Print the table; 1 when a ratio is below its budget."""
    print(f"\n{'':28} {'here':>10} {'other':>10} {'ratio':>7} {'budget':>7}")
    for name, told in results.items():
        row = f"{told['ours_per_s']:>10.0f} {told['other_per_s']:>10.0f} {told['ratio']:>7.2f} {told['budget']:>7.2f}"
        print(f"{name:28} {row}{'' if told['ratio'] >= told['budget'] else '  below'}")
    return 0 if all(told["ratio"] >= told["budget"] for told in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
