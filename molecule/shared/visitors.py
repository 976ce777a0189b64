"""Clients of an app on its own host, sent there to run: they ask through nginx until they are told to stop.

Half of them ask for a page or a static file, the others post, or ask for what takes a second.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import sys
import threading
import time
from pathlib import Path

name, end = sys.argv[1], Path(sys.argv[2])
port, least = map(int, sys.argv[3:5]) if len(sys.argv) > 3 else (443, 0)
trust = ssl.create_default_context()
trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
lock = threading.Lock()
good, bad, slowest = 0, [], 0.0


class Connection(http.client.HTTPSConnection):
    """To nginx on this host, under the app's name."""

    def connect(self) -> None:
        plain = socket.create_connection(("127.0.0.1", self.port), 30)
        self.sock = plain if self.port == 8080 else trust.wrap_socket(plain, server_hostname=name)


def ask(method: str, path: str) -> str:
    connection = Connection(name, port, timeout=30)
    try:
        connection.request(method, path, body=b"x" * 1000 if method == "POST" else None, headers={"Host": name})
        answer = connection.getresponse()
        answer.read()
        return "" if answer.status == 200 else str(answer.status)
    except (OSError, http.client.HTTPException) as error:
        return repr(error)
    finally:
        connection.close()


def visit(method: str, path: str) -> None:
    global good, slowest
    while not end.exists() or good < least:
        began = time.monotonic()
        fault = ask(method, path)
        with lock:
            if "slow" not in path:
                slowest = max(slowest, time.monotonic() - began)
            good += not fault
            bad.extend([fault] if fault else [])
        time.sleep(0.02)


asked = [*[("GET", "/"), ("GET", "/static/style.css")] * 3, *[("POST", "/echo")] * 2, ("GET", "/slow?seconds=1")]
visitors = [threading.Thread(target=visit, args=one) for one in asked]
for visitor in visitors:
    visitor.start()
for visitor in visitors:
    visitor.join()
print(json.dumps({"good": good, "failed": len(bad), "bad": bad[:20], "slowest": round(slowest, 2)}))
