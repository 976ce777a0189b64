"""An app that fails in as many ways as its paths have names."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

STATE = Path("/var/lib/api")
Answer = tuple[str, list[tuple[str, str]], bytes]
OK: Answer = ("200 OK", [], b"ok\n")


def health(_environ: dict[str, Any]) -> Answer:
    return ("503 Service Unavailable", [], b"sick\n") if (STATE / "sick").exists() else OK


def error(_environ: dict[str, Any]) -> Answer:
    raise LookupError("no such customer")


def slow(_environ: dict[str, Any]) -> Answer:
    time.sleep(5.5)
    return OK


def stuck(_environ: dict[str, Any]) -> Answer:
    time.sleep(15)
    return OK


def wait(_environ: dict[str, Any]) -> Answer:
    time.sleep(1.5)
    return OK


def cookies(_environ: dict[str, Any]) -> Answer:
    return "200 OK", [("Set-Cookie", f"c{number}={'x' * 1000}") for number in range(40)], b""


def nice(_environ: dict[str, Any]) -> Answer:
    os.nice(1)
    return OK


def die(_environ: dict[str, Any]) -> Answer:
    os.kill(os.getpid(), signal.SIGKILL)
    return OK


def write(_environ: dict[str, Any]) -> Answer:
    (STATE / "file").write_bytes(b"x" * (1 << 20))
    return OK


def busy(_environ: dict[str, Any]) -> Answer:
    return "503 Service Unavailable", [], b"try later\n"


def around(environ: dict[str, Any]) -> Answer:
    return "302 Found", [("Location", f"https://{environ['HTTP_HOST']}/around")], b""


def nothing(_environ: dict[str, Any]) -> Answer:
    return "404 Not Found", [], b"nothing\n"


PATHS: dict[str, Callable[[dict[str, Any]], Answer]] = {
    f"/{function.__name__}": function
    for function in (health, error, slow, stuck, wait, cookies, nice, die, write, busy, around, nothing)
}


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
    status, headers, body = PATHS.get(environ["PATH_INFO"], lambda _environ: OK)(environ)
    start_response(status, [*headers, ("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return iter([body])
