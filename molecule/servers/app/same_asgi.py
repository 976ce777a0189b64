"""The app of same.py as ASGI: equal answers to equal requests, under the names that WSGI has for what it was told."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

import same

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


async def body(receive: Receive) -> AsyncIterator[bytes]:
    """The body of a request, in pieces."""
    more = True
    while more:
        message = await receive()
        yield message.get("body", b"")
        more = message.get("more_body", False)


def environ(scope: dict[str, Any]) -> dict[str, Any]:
    """What a WSGI app would be told of the request."""
    root = scope.get("root_path", "")
    told = {
        "REMOTE_ADDR": (scope.get("client") or [""])[0],
        "wsgi.url_scheme": scope["scheme"],
        "REQUEST_METHOD": scope.get("method", ""),
        "SCRIPT_NAME": root,
        "PATH_INFO": scope["path"].removeprefix(root),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
    }
    for name, value in scope["headers"]:
        key = name.decode("latin-1").upper().replace("-", "_")
        told[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = value.decode("latin-1")
    return told


async def lines(told: dict[str, Any], send: Send) -> None:
    """As same.stream."""
    asked = parse_qs(told["QUERY_STRING"])
    chunks, seconds = int(asked["chunks"][0]), float(asked["seconds"][0])
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    for number in range(1, chunks + 1):
        line = f"line {number} of {chunks}\n".encode()
        await send({"type": "http.response.body", "body": line, "more_body": True})
        await asyncio.sleep(seconds / chunks)
    await send({"type": "http.response.body", "body": b""})


async def answer(told: dict[str, Any], receive: Receive) -> dict[str, Any] | None:
    """As the functions of same.py."""
    path = told["PATH_INFO"]
    if path == "/echo":
        text = b"".join([piece async for piece in body(receive)])
        return {"json": json.loads(text), "length": len(text), "content_type": told["CONTENT_TYPE"]}
    if path == "/upload":
        size, digest = 0, hashlib.sha256()
        async for piece in body(receive):
            size += len(piece)
            digest.update(piece)
        return {"size": size, "sha256": digest.hexdigest()}
    if path == "/slow":
        seconds = float(parse_qs(told["QUERY_STRING"])["seconds"][0])
        await asyncio.sleep(seconds)
        return {"slept": seconds}
    return same.ANSWERS[path](told) if path in same.ANSWERS else None


async def talk(told: dict[str, Any], receive: Receive, send: Send) -> None:
    """A WebSocket: what the app was told of it and which release it is, then what comes, back again."""
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": json.dumps(told | same.hello(told))})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """ASGI."""
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    told = environ(scope)
    if scope["type"] == "websocket":
        await talk(told, receive, send)
        return
    if told["PATH_INFO"] == "/stream":
        await lines(told, send)
        return
    found = await answer(told, receive)
    text = json.dumps(found if found else {"error": "not found"}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": 200 if found else 404, "headers": headers})
    await send({"type": "http.response.body", "body": text})
