"""One small app for every server: it answers what bench/load.py asks, and shows what it was told of a request."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import parse_qs

if os.environ.get("TROUBLE") == "import":
    raise RuntimeError("in trouble on purpose")

Environ = dict[str, Any]


def body(environ: Environ) -> Iterator[bytes]:
    """The body of a request, in pieces."""
    left = int(environ.get("CONTENT_LENGTH") or 0)
    while left and (piece := environ["wsgi.input"].read(min(left, 65536))):
        left -= len(piece)
        yield piece


def hello(_environ: Environ) -> dict[str, Any]:
    """The name that the load expects, and which release answers."""
    return {"app": "api", "release": os.environ.get("WSGI_RELEASE")}


def seen(environ: Environ) -> dict[str, Any]:
    """Everything that is text in what the app was told."""
    return {name: value for name, value in environ.items() if isinstance(value, str)}


def echo(environ: Environ) -> dict[str, Any]:
    """What came in."""
    text = b"".join(body(environ))
    return {"json": json.loads(text), "length": len(text), "content_type": environ["CONTENT_TYPE"]}


def slow(environ: Environ) -> dict[str, Any]:
    """An answer that takes its time."""
    seconds = float(parse_qs(environ["QUERY_STRING"])["seconds"][0])
    time.sleep(seconds)
    return {"slept": seconds}


def upload(environ: Environ) -> dict[str, Any]:
    """How much came in, and its digest."""
    size, digest = 0, hashlib.sha256()
    for piece in body(environ):
        size += len(piece)
        digest.update(piece)
    return {"size": size, "sha256": digest.hexdigest()}


def stream(environ: Environ) -> Iterator[bytes]:
    """Lines, one after the other over some seconds."""
    asked = parse_qs(environ["QUERY_STRING"])
    chunks, seconds = int(asked["chunks"][0]), float(asked["seconds"][0])
    for number in range(1, chunks + 1):
        yield f"line {number} of {chunks}\n".encode()
        time.sleep(seconds / chunks)


ANSWERS = {"/": hello, "/healthz": hello, "/seen": seen, "/echo": echo, "/slow": slow, "/upload": upload}


def app(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
    """WSGI."""
    if environ["PATH_INFO"] == "/stream":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return stream(environ)
    answer = ANSWERS.get(environ["PATH_INFO"])
    text = json.dumps(answer(environ) if answer else {"error": "not found"}).encode()
    status = "200 OK" if answer else "404 Not Found"
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(text)))])
    return [text]
