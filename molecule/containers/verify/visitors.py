"""Clients of the app on its own host, sent there to run: they ask through nginx until they are told to stop."""

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
trust = ssl.create_default_context()
trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
lock = threading.Lock()
good, bad, slowest = 0, [], 0.0


class Connection(http.client.HTTPSConnection):
    """To nginx on this host, under the app's name."""

    def connect(self) -> None:
        plain = socket.create_connection(("127.0.0.1", 443), 30)
        self.sock = trust.wrap_socket(plain, server_hostname=name)


def ask(path: str) -> str:
    connection = Connection(name, timeout=30)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        return "" if answer.status == 200 else str(answer.status)
    except (OSError, http.client.HTTPException) as error:
        return repr(error)
    finally:
        connection.close()


def visit(path: str) -> None:
    global good, slowest
    while not end.exists():
        began = time.monotonic()
        fault = ask(path)
        with lock:
            slowest = max(slowest, time.monotonic() - began)
            good += not fault
            bad.extend([fault] if fault else [])
        time.sleep(0.02)


visitors = [threading.Thread(target=visit, args=(path,)) for path in ("/", "/static/style.css") * 3]
for visitor in visitors:
    visitor.start()
for visitor in visitors:
    visitor.join()
print(json.dumps({"good": good, "bad": bad[:20], "slowest": slowest}))
