"""Runs an app's server in a container for development: over TCP, and again whenever its source has changed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

SOURCE = Path("/wsgi/app/src")
PORT = 8000
INTERVAL = 0.5  # seconds between two looks at the source
PATIENCE = 30.0  # seconds that a client waits for a server that starts
SUFFIXES = (".py", ".toml", ".cfg", ".ini", ".json", ".yml", ".yaml")  # templates and static files are read anew anyway


def seen() -> dict[str, int]:
    """What the server has read of the source, and when that was changed."""
    found = {}
    for place, folders, names in os.walk(SOURCE):
        folders[:] = [folder for folder in folders if not folder.startswith((".", "__pycache__", "node_modules"))]
        for name in names:
            if name.endswith(SUFFIXES):
                with contextlib.suppress(OSError):
                    found[os.path.join(place, name)] = os.stat(os.path.join(place, name)).st_mtime_ns
    return found


async def serve(ending: asyncio.Event) -> None:
    """Have the server run, anew after each change; one that has ended by itself waits for the next one."""
    while not ending.is_set():
        before = seen()
        server = await asyncio.create_subprocess_exec("/wsgi/enter", "/wsgi/start")
        while seen() == before and not ending.is_set():
            await asyncio.sleep(INTERVAL)
        if server.returncode is None:
            server.terminate()
            await server.wait()
        if not ending.is_set():
            print("development: the source has changed, starting again", flush=True)


async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Lead a client to the server's socket."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while True:
        try:
            inner, outer = await asyncio.open_unix_connection(os.environ["WSGI_SOCKET"])
            break
        except OSError:
            if asyncio.get_running_loop().time() > deadline:
                writer.close()
                return
            await asyncio.sleep(0.1)
    await asyncio.gather(copy(reader, outer), copy(inner, writer))


async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Pass on what comes in, and the end of it."""
    with contextlib.suppress(OSError):
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    with contextlib.suppress(OSError):
        target.close()


async def main() -> None:
    """Serve until the container is to end."""
    ending = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ending.set)
    async with await asyncio.start_server(lead, "0.0.0.0", PORT):
        await serve(ending)


if __name__ == "__main__":
    asyncio.run(main())
