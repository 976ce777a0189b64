"""What clients of the fleet have seen, and what its hosts have."""

from __future__ import annotations

import datetime
import itertools
import json
import os
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

SAFE = ("get", "get-new", "slow", "stream")  # kinds of requests that may be sent again
DOMAIN = "api.example.test"


@dataclass
class Load:
    """What clients have seen: for each request when it began, how long it took, its kind and its outcome."""

    lines: list[tuple[float, float, str, str]] = field(default_factory=list)

    def failed(self, *kinds: str, after: float = 0) -> Counter[str]:
        """Outcomes that were not good, of these kinds or of all, of requests that began after a time."""
        return Counter(
            f"{kind} {outcome}"
            for began, _took, kind, outcome in self.lines
            if outcome not in ("ok", "repeated") and (not kinds or kind in kinds) and began > after
        )

    def gap(self) -> float:
        """The longest time in seconds in which no short request was answered."""
        good = [line for line in self.lines if line[2].startswith(("get", "post")) and line[3] == "ok"]
        ends = sorted(began + took / 1000 for began, took, _kind, _outcome in good)
        return max((later - earlier for earlier, later in itertools.pairwise(ends)), default=0)

    def percentile(self, share: float, since: float, until: float) -> float:
        """Milliseconds that a share of the short requests took at most which began in a time."""
        short = [line for line in self.lines if since < line[0] < until and line[2].startswith(("get", "post"))]
        took = sorted(line[1] for line in short)
        return took[int(len(took) * share)] if took else 0


def served(host: Any, app: str = "api") -> int:
    """How many requests of clients an app host has answered for an app, by its log; probes are not theirs."""
    return int(host.run(f"cat /var/log/nginx/{app}.access.log 2>/dev/null | grep -vc webops.wsgi || true") or 0)


def last_begun(host: Any) -> float:
    """When the last request of a client began that an app host has answered, as its log has it, in whole seconds.

    Uploads are not among them: they begin when a balancer has received them, those too that were under way by then.
    """
    lines = host.run("tail -n 500 /var/log/nginx/api.access.log | grep -v -e webops.wsgi -e /upload").splitlines()
    return max(
        datetime.datetime.fromisoformat(line["@timestamp"]).timestamp() - line["nginx.request.time"]
        for line in map(json.loads, lines)
    )


# When the youngest of nginx' processes began: those before it get no new connections from then on.
YOUNGEST = """
import os, time
master = open("/run/nginx.pid").read().strip()
others = open(f"/proc/{master}/task/{master}/children").read().split()
began = max(int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[19]) for pid in others)
up = float(open("/proc/uptime").read().split()[0])
print(time.time() - up + began / os.sysconf("SC_CLK_TCK"))
"""


def took_over(balancer: Any) -> float:
    """When a balancer took its configuration over."""
    asked = f"python3 -c '{YOUNGEST}'" if spread_by() == "nginx" else "stat --format %.3Y /run/haproxy/wsgi-loaded"
    return float(balancer.run(asked))


def spread_by() -> str:
    """What spreads the requests in this run of the scenario."""
    return os.environ.get("BALANCER") or "nginx"
