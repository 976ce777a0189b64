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

# Clients that read large unbuffered answers at 250 kB a second, beside an honest one. The kernel holds 0.5 to 3 MB of
# an answer, so at any time one of them has the last 200 kB of it, all that the app still sees, before it.
READERS = """
import json, socket, ssl, sys, threading, time
domain, context = sys.argv[1], ssl.create_default_context(cafile=sys.argv[2])
sizes, piece, pause = range(1_000_000, 5_000_000, 500_000), 12_500, 0.05

def connect(small):
    raw = socket.socket()
    if small:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect((domain, 443))
    return context.wrap_socket(raw, server_hostname=domain)

def ask(stream, path):
    stream.sendall(f"GET {path} HTTP/1.1\\r\\nHost: {domain}\\r\\nConnection: close\\r\\n\\r\\n".encode())

def read_slowly(size):
    with connect(small=True) as stream:
        ask(stream, f"/events/large?bytes={size}")
        while time.monotonic() < end and stream.recv(piece):
            time.sleep(pause)

end, times = time.monotonic() + 8, []
readers = [threading.Thread(target=read_slowly, args=[size]) for size in sizes]
for reader in readers:
    reader.start()
while time.monotonic() < end:
    started = time.monotonic()
    with connect(small=False) as stream:
        ask(stream, "/")
        assert b" 200 " in stream.recv(65536)
    times.append(time.monotonic() - started)
    time.sleep(0.01)
print(json.dumps({"slowest": max(times), "answers": len(times)}))
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


def test_slow_readers_of_a_stream_keep_nobody_waiting(hosts, client, python):
    (host,) = [host for host in hosts if host.name == "d13"]
    found = json.loads(python(READERS, host.domain("probe"), client.root))
    assert found["slowest"] < 0.5, f"{found}: gunicorn waits for a client to read"
