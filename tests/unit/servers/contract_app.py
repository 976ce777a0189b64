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
        def answer(told: dict[str, Any], *headers: tuple[str, str]) -> list[bytes]:
            text = json.dumps(told).encode()
            fixed = [("Content-Type", "application/json"), ("Content-Length", str(len(text)))]
            start_response("200 OK", [*fixed, *headers])
            return [text]

        path = environ["PATH_INFO"]
        body = environ["wsgi.input"].read()
        if path == "/slow":
            time.sleep(1)
        if path == "/large":
            start_response("200 OK", [("Content-Type", "text/plain")])
            return (b"x" * 65536 for _ in range(size // 65536))
        if path == "/environ":
            return answer({name: value for name, value in environ.items() if isinstance(value, str)})
        if path == "/latin":
            return answer({}, ("X-Latin", "caf\xe9"))
        if path == "/split":
            return answer({}, ("X-Kind", "good\r\nX-Evil: 1"))
        told = {name: environ.get(name, "") for name in SHOWN}
        return answer(told | {"scheme": environ["wsgi.url_scheme"], "body": body.decode(), "greeting": greeting})

    return app
