"""An app that shows what its server tells it, in a WSGI and in an ASGI form."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

if os.environ.get("BROKEN"):
    time.sleep(float(os.environ["BROKEN"]))
    raise RuntimeError("broken on purpose")
if os.environ.get("ONLY_ONE"):  # process at a time may have it imported
    fcntl.flock(os.open(os.environ["ONLY_ONE"], os.O_CREAT | os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)

SHOWN = ("REMOTE_ADDR", "REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "HTTP_HOST", "HTTP_X_REQUEST_ID")


Start = Callable[..., Any]
PLAIN = [("Content-Type", "text/plain")]


def late(_environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
    """An answer of which nothing comes."""
    start_response("200 OK", PLAIN)
    raise RuntimeError("in the answer")
    yield b""


def half(_environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
    """An answer of which only the first part comes."""
    start_response("200 OK", PLAIN)
    yield b"the first half"
    raise RuntimeError("in the middle of the answer")


def file(environ: dict[str, Any], start_response: Start) -> Any:
    """A file, as a server may send it without the app."""
    start_response("200 OK", PLAIN)
    return environ["wsgi.file_wrapper"](open(__file__, "rb"))


def written(_environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
    """An answer in both ways that there are."""
    start_response("200 OK", PLAIN)(b"written")
    return [b" and", b"", b" given"]


# Answers whose length nobody says.
STREAMS: dict[str, Callable[[dict[str, Any], Start], Any]] = {
    "/raise-late": late,
    "/half": half,
    "/file": file,
    "/written": written,
}


def create_app(greeting: str, *, size: int = 0) -> Callable[..., Iterable[bytes]]:
    """An app factory with arguments."""

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        def answer(told: dict[str, Any], *headers: tuple[str, str]) -> list[bytes]:
            text = json.dumps(told).encode()
            fixed = [("Content-Type", "application/json"), ("Content-Length", str(len(text)))]
            start_response("200 OK", [*fixed, *headers])
            return [text]

        path = environ["PATH_INFO"]
        print("begun", path, file=sys.stderr, flush=True)
        body = environ["wsgi.input"].read()
        if path == "/slow":
            time.sleep(1)
        if path == "/raise":
            raise RuntimeError("in the app")
        if path in STREAMS:
            return STREAMS[path](environ, start_response)
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


def create_asgi(greeting: str, *, size: int = 0) -> Callable[..., Awaitable[None]]:
    """The same app in its other form."""

    async def app(scope: dict[str, Any], receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(scope, receive, send)
        elif scope["type"] == "websocket":
            await _websocket(scope, receive, send)
        else:
            await _http(scope, receive, send)

    async def _http(scope: dict[str, Any], receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        print("begun", scope["path"], file=sys.stderr, flush=True)
        told = _told(scope) | {"body": (await _body(receive)).decode(), "greeting": greeting}
        if told["PATH_INFO"] == "/slow":
            await asyncio.sleep(1)
        if told["PATH_INFO"] == "/split":
            headers = [(b"x-kind", b"good\r\nX-Evil: 1")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
        if told["PATH_INFO"] == "/error":  # as frameworks do it
            await send({"type": "http.response.start", "status": 500, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
            raise RuntimeError("an error on purpose")
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        if told["PATH_INFO"] == "/large":
            for _ in range(size // 65536):
                await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        else:
            await send({"type": "http.response.body", "body": json.dumps(told).encode()})

    return app


async def _lifespan(scope: dict[str, Any], receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
    while (message := await receive())["type"] == "lifespan.startup":
        if os.environ.get("BROKEN_START"):
            await send({"type": "lifespan.startup.failed", "message": "no start on purpose"})
            return
        scope["state"]["began"] = True
        await send({"type": "lifespan.startup.complete"})
    print("told of the end" if message["type"] == "lifespan.shutdown" else message, flush=True)
    await send({"type": "lifespan.shutdown.complete"})


async def _websocket(scope: dict[str, Any], receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": json.dumps(_told(scope))})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


async def _body(receive: Callable[[], Any]) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def _told(scope: dict[str, Any]) -> dict[str, Any]:
    """What a WSGI app is told, under the names it has there."""
    headers = {name.decode(): value.decode() for name, value in scope["headers"]}
    return {
        "REMOTE_ADDR": (scope["client"] or [""])[0],
        "REQUEST_METHOD": scope.get("method", ""),
        "SCRIPT_NAME": scope["root_path"],
        "PATH_INFO": scope["path"].removeprefix(scope["root_path"]),
        "QUERY_STRING": scope["query_string"].decode(),
        "HTTP_HOST": headers.get("host", ""),
        "HTTP_X_REQUEST_ID": headers.get("x-request-id", ""),
        "scheme": scope["scheme"],
    }


def create_caller(_greeting: str, *, size: int = 0) -> Callable[..., Iterable[bytes]]:
    """An app that asks a database and another HTTP server, by libraries that know nothing of its own server."""
    import psycopg
    import requests

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/database":
            with psycopg.connect(os.environ["DATABASE"]) as connection:
                connection.execute("select pg_sleep(1)")
        if environ["PATH_INFO"] == "/http":
            requests.get(os.environ["OTHER"], timeout=60).raise_for_status()
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps({"size": size}).encode()]

    return app
