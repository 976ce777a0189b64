# Written by Ansible (webops.wsgi.balancer). Edits are undone by the next run.
"""Have HAProxy take its configuration over.

Where only weights of servers differ from what it has loaded, and which of them are out of service, it is told over its
socket: a reload would forget what it knows of their health. What is told is in the files as well, so that it is still
so after one.
"""

from __future__ import annotations

import re
import socket
import subprocess
from pathlib import Path

FOLDER = Path("/etc/haproxy/wsgi/conf")
LOADED = Path("/run/haproxy/wsgi-loaded")
SOCKET = "/run/haproxy/admin.sock"
SERVER = re.compile(r"^( +server (\S+) .*) weight ([0-9]+)( disabled)?$", re.MULTILINE)
BACKEND = re.compile(r"^backend (\S+)", re.MULTILINE)


def text() -> str:
    """All of the configuration."""
    return "".join(path.read_text() for path in sorted(FOLDER.glob("*.cfg")))


def same_but_for_servers(one: str, other: str) -> bool:
    """Whether two configurations differ in nothing but weights and servers out of service."""
    return SERVER.sub(r"\1", one) == SERVER.sub(r"\1", other)


def commands(config: str) -> list[str]:
    """What tells HAProxy the weights of a configuration, and which servers are out of service."""
    found = []
    for part in re.split(r"^(?=backend )", config, flags=re.MULTILINE):
        backend = BACKEND.match(part)
        for _line, server, weight, disabled in SERVER.findall(part) if backend else ():
            place = f"{backend[1]}/{server}"
            found += [f"set server {place} state {'maint' if disabled else 'ready'}", f"set weight {place} {weight}"]
    return found


def tell(command: str) -> str:
    """What HAProxy answers to a command."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        caller.settimeout(10)
        caller.connect(SOCKET)
        caller.sendall(f"{command}\n".encode())
        pieces = []
        while piece := caller.recv(65536):
            pieces.append(piece)
    return b"".join(pieces).decode().strip()


def tell_all(config: str) -> None:
    """Tell HAProxy what has changed; raises RuntimeError when it refuses something."""
    generation = (FOLDER / "generation.map").read_text().split()[1]
    listed = re.search(r"^(\d+) \(.*generation\.map\)", tell("show map"), re.MULTILINE)
    if not listed:
        raise RuntimeError("it has no map of its generation")
    for command in [*commands(config), f"set map #{listed[1]} generation {generation}"]:
        answer = tell(command)
        if answer:
            raise RuntimeError(f"`{command}`: {answer}")


def main() -> None:
    """Tell HAProxy, or reload it."""
    config = text()
    loaded = LOADED.read_text() if LOADED.exists() else ""
    if loaded and same_but_for_servers(config, loaded):
        try:
            tell_all(config)
        except (OSError, RuntimeError) as error:
            print(f"reloading HAProxy: {error}")
        else:
            LOADED.write_text(config)
            return
    how = "reload-or-restart" if loaded else "restart"
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    subprocess.run(["systemctl", how, "haproxy.service"], check=True)
    LOADED.write_text(config)


if __name__ == "__main__":
    main()
