"""WebSocket through nginx to each server of ASGI apps, also over a deployment."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from testbed import labs

DRAIN = 20  # seconds that a connection may live on after a switch
# A client of the standard library's: says what comes, sends what it is given, answers pings.
CLIENT = r"""
import base64, os, select, socket, ssl, sys
domain, root, path = sys.argv[1:]
context = ssl.create_default_context(cafile=root)
wire = context.wrap_socket(socket.create_connection((domain, 443), timeout=60), server_hostname=domain)
key = base64.b64encode(os.urandom(16)).decode()
wire.sendall(f"GET {path} HTTP/1.1\r\nHost: {domain}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
stream = wire.makefile("rb", buffering=0)

def read(count):
    data = b""
    while len(data) < count:
        piece = stream.read(count - len(data))
        if not piece:
            sys.exit(print("gone", flush=True))
        data += piece
    return data

def send(kind, data):
    mask = os.urandom(4)
    wire.sendall(bytes([0x80 | kind, 0x80 | len(data)]) + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(data)))

head = b""
while not head.endswith(b"\r\n\r\n"):
    head += read(1)
print(head.split(b"\r\n")[0].decode(), flush=True)
while True:
    if not wire.pending():
        if sys.stdin in select.select([wire, sys.stdin], [], [])[0]:
            line = sys.stdin.readline()
            if not line:
                sys.exit()
            send(1, line.strip().encode())
            continue
    kind, length = read(2)
    if length == 126:
        length = int.from_bytes(read(2), "big")
    data = read(length)
    if kind & 15 == 9:
        send(10, data)
    elif kind & 15 == 8:
        print("closed", int.from_bytes(data[:2], "big"), flush=True)
        sys.exit()
    elif kind & 15 == 1:
        print(data.decode(), flush=True)
"""


class Socket:
    """One WebSocket of an app's."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert self.heard() == "HTTP/1.1 101 Switching Protocols"
        self.told = json.loads(self.heard())

    def heard(self) -> str:
        """The next message."""
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def echo(self, text: str) -> str:
        """What the app answers."""
        assert self.process.stdin
        self.process.stdin.write(f"{text}\n")
        self.process.stdin.flush()
        return self.heard()


@pytest.fixture(name="websocket")
def fixture_websocket(client) -> Callable[..., Any]:
    """Open a WebSocket to an app of a host."""

    @contextmanager
    def opened(host: Any, name: str) -> Iterator[Socket]:
        command = ["docker", "exec", "-i", client.container, "python3", "-c", CLIENT]
        command += [host.domain("front"), client.root, f"/{name}/ws?a=b"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, **pipes) as process:
            try:
                yield Socket(process)
            finally:
                process.kill()

    return opened


def test_a_websocket_is_told_what_a_request_is(host, client, websocket, asgi):
    with websocket(host, asgi) as open_:
        assert open_.told["wsgi.url_scheme"] == "wss"
        assert open_.told["REMOTE_ADDR"] in (client.ipv4, client.ipv6)
        assert (open_.told["SCRIPT_NAME"], open_.told["PATH_INFO"]) == (f"/{asgi}", "/ws")
        assert open_.echo("hello") == "hello"


@pytest.mark.parametrize("host", ["d13"], indirect=True)  # it waits for most of its time
def test_a_websocket_lives_over_a_deployment_until_the_drain_ends(host, apps, play, websocket, asgi):
    before = host.release(asgi)
    wanted = {**apps[asgi], "env": {"CHANGE": str(time.time())}, "release": {**apps[asgi]["release"], "drain": DRAIN}}
    with websocket(host, asgi) as old, ThreadPoolExecutor() as pool:
        assert old.told["release"] == before
        run = pool.submit(play, "--limit", host.name, playbook="deploy", wsgi_apps=[apps["front"], wanted])
        labs.wait_for(lambda: host.release(asgi) != before, "a switch", timeout=600)
        assert old.echo("still there") == "still there"
        with websocket(host, asgi) as new:
            assert new.told["release"] == host.release(asgi)
        assert run.result().code == 0, run.result().output[-6000:]
        assert old.heard().split()[0] in ("closed", "gone")
