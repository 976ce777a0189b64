"""Clients that are slow on purpose, while others are served as ever.

How long an answer may take is measured beside it: a machine may be busy with something else.
"""

from __future__ import annotations

import json

CONNECTIONS = 400
SECONDS = 12

# Three kinds of slow clients at once from one machine.
ATTACK = """
set -- "$0" {seconds} {connections}
slowhttptest -H -c $3 -r 200 -i 4 -l $2 -x 24 -p 3 -u "$1" >/dev/null 2>&1 &
slowhttptest -B -c $3 -r 200 -i 4 -l $2 -s 8192 -x 10 -p 3 -u "$1api/slow" >/dev/null 2>&1 &
slowhttptest -X -c $3 -r 200 -l $2 -w 1 -y 2 -n 5 -z 1 -k 3 -p 3 -u "$1static/page.css" >/dev/null 2>&1 &
wait
"""

# An honest client that asks two hosts one question after the other, in turn; what it got from each.
HONEST = """
import http.client, json, ssl, sys, time
root, seconds, *domains = sys.argv[1:]
context = ssl.create_default_context(cafile=root)
connections = {domain: http.client.HTTPSConnection(domain, context=context, timeout=60) for domain in domains}
statuses, times = {domain: set() for domain in domains}, {domain: [] for domain in domains}
end = time.monotonic() + float(seconds)
while time.monotonic() < end:
    for domain, connection in connections.items():
        started = time.monotonic()
        connection.request("GET", "/")
        answer = connection.getresponse()
        answer.read()
        times[domain].append(time.monotonic() - started)
        statuses[domain].add(answer.status)
    time.sleep(0.01)
late = {domain: sorted(found)[int(len(found) * 0.99)] for domain, found in times.items()}
print(json.dumps({domain: {"statuses": list(statuses[domain]), "p99": late[domain]} for domain in domains}))
"""

# Clients that read large unbuffered answers at 250 kB a second, beside an honest one, which asks the app, and
# nginx for a file, in turn. The kernel holds 0.5 to 3 MB of an answer, so at any time one of them has the last 200 kB
# of it, all that the app still sees, before it.
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

end, times = time.monotonic() + 8, {"/": [], "/static/style.css": []}
readers = [threading.Thread(target=read_slowly, args=[size]) for size in sizes]
for reader in readers:
    reader.start()
while time.monotonic() < end:
    for path, found in times.items():
        started = time.monotonic()
        with connect(small=False) as stream:
            ask(stream, path)
            assert b" 200 " in stream.recv(65536)
        found.append(time.monotonic() - started)
    time.sleep(0.01)
print(json.dumps({path: max(found) for path, found in times.items()}))
"""


def test_honest_clients_do_not_notice(hosts, client, python):
    """Those of the host that is attacked are served as those of the other one are."""
    quiet, host = hosts
    attack = ATTACK.format(seconds=SECONDS, connections=CONNECTIONS)
    client.shell(f"({attack}) >/dev/null 2>&1 & sleep 3", host.url("probe"))
    held = int(host.run("ss -tHn state established 'sport = :443' | wc -l"))
    at_the_app = int(host.run("ss -xHn state established src '/run/probe/*' | wc -l"))
    found = json.loads(python(HONEST, client.root, str(SECONDS - 5), quiet.domain("probe"), host.domain("probe")))
    served, beside = found[host.domain("probe")], found[quiet.domain("probe")]
    assert held > CONNECTIONS / 2, f"the attack never came: {held} connections"
    assert at_the_app <= 2, f"{at_the_app} connections at gunicorn: slow clients reached it"
    assert served["statuses"] == [200], served
    assert served["p99"] < max(0.1, 4 * beside["p99"]), f"{served} with slow clients, {beside} without"


def test_slow_readers_of_a_stream_keep_nobody_waiting(hosts, client, python):
    found = json.loads(python(READERS, hosts[1].domain("probe"), client.root))
    app, nginx = found.values()
    assert app < max(0.5, 4 * nginx), f"{found}: gunicorn waits for a client to read"
