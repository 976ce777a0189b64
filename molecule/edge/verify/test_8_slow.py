"""Clients that are slow on purpose, while others are served as ever."""

from __future__ import annotations

import json

CONNECTIONS = 400
SECONDS = 12

# Three kinds of slow clients at once from one machine, and an honest client that asks one question after the other.
ATTACK = """
set -- "$0" {seconds} {connections}
slowhttptest -H -c $3 -r 200 -i 4 -l $2 -x 24 -p 3 -u "$1" >/dev/null 2>&1 &
slowhttptest -B -c $3 -r 200 -i 4 -l $2 -s 8192 -x 10 -p 3 -u "$1api/slow" >/dev/null 2>&1 &
slowhttptest -X -c $3 -r 200 -l $2 -w 1 -y 2 -n 5 -z 1 -k 3 -p 3 -u "$1static/page.css" >/dev/null 2>&1 &
wait
"""

HONEST = """
import http.client, json, ssl, sys, time
context = ssl.create_default_context(cafile=sys.argv[2])
statuses, times, end = {}, [], time.monotonic() + float(sys.argv[3])
connection = http.client.HTTPSConnection(sys.argv[1], context=context, timeout=20)
while time.monotonic() < end:
    started = time.monotonic()
    connection.request("GET", "/")
    answer = connection.getresponse()
    answer.read()
    times.append(time.monotonic() - started)
    statuses[answer.status] = statuses.get(answer.status, 0) + 1
    time.sleep(0.01)
times.sort()
print(json.dumps({"statuses": statuses, "median": times[len(times) // 2], "p99": times[int(len(times) * 0.99)]}))
"""


def test_honest_clients_do_not_notice(hosts, client, python):
    (host,) = [host for host in hosts if host.name == "d13"]
    domain, root = host.domain("probe"), client.root
    quiet = json.loads(python(HONEST, domain, root, "3"))
    attack = ATTACK.format(seconds=SECONDS, connections=CONNECTIONS)
    client.shell(f"({attack}) >/dev/null 2>&1 & sleep 3", host.url("probe"))
    held = int(host.run("ss -tHn state established 'sport = :443' | wc -l"))
    at_the_app = int(host.run("ss -xHn state established src '/run/probe/*' | wc -l"))
    busy = json.loads(python(HONEST, domain, root, str(SECONDS - 5)))
    assert held > CONNECTIONS / 2, f"the attack never came: {held} connections"
    assert at_the_app <= 2, f"{at_the_app} connections at gunicorn: slow clients reached it"
    assert set(busy["statuses"]) == {"200"}, busy
    assert busy["p99"] < max(0.1, 4 * quiet["p99"]), f"{busy} while slow clients were there, {quiet} before"
