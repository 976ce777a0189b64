"""A WSGI app that shows what its server tells it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable
from typing import Any

if os.environ.get("BROKEN"):
    raise RuntimeError("broken on purpose")

SHOWN = ("REMOTE_ADDR", "REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "HTTP_HOST", "HTTP_X_REQUEST_ID")


def create_app(greeting: str, *, size: int = 0) -> Callable[..., Iterable[bytes]]:
    """An app factory with arguments."""

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        body = environ["wsgi.input"].read()
        if path == "/slow":
            time.sleep(1)
        if path == "/large":
            start_response("200 OK", [("Content-Type", "text/plain")])
            return (b"x" * 65536 for _ in range(size // 65536))
        told = {name: environ.get(name, "") for name in SHOWN}
        told |= {"scheme": environ["wsgi.url_scheme"], "body": body.decode(), "greeting": greeting}
        text = json.dumps(told).encode()
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(text)))])
        return [text]

    return app
