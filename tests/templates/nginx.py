"""nginx's configuration as nginx would read it: all templates of nginx_proxy rendered, includes followed, parsed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import crossplane
from render import HOST, render


class Block:
    """A block of directives, such as `server`."""

    def __init__(self, directives: list[dict[str, Any]], args: list[str] | None = None) -> None:
        self.directives = directives
        self.args = args or []

    def all(self, name: str) -> list[list[str]]:
        """Arguments of every directive of that name."""
        return [found["args"] for found in self.directives if found["directive"] == name]

    def one(self, name: str) -> str:
        """Arguments of the only directive of that name, as one text."""
        (found,) = self.all(name)
        return " ".join(found)

    def blocks(self, name: str) -> Iterator[Block]:
        """Every block of that name."""
        for found in self.directives:
            if found["directive"] == name:
                yield Block(found["block"], found["args"])

    def location(self, *args: str) -> Block:
        """The location with these arguments."""
        (found,) = [block for block in self.blocks("location") if block.args == list(args)]
        return found

    def headers(self) -> dict[str, str]:
        """What `proxy_set_header` sets."""
        return dict(self.all("proxy_set_header"))


class Config:
    """The whole configuration of a host with these apps."""

    def __init__(
        self, folder: Path, apps: list[dict[str, Any]], host: dict[str, Any], variables: dict[str, Any]
    ) -> None:
        given = {"__wsgi_apps": apps, "__wsgi_host": {**HOST, **host}, **variables}
        (folder / "wsgi/sites").mkdir(parents=True)
        (folder / "modules-enabled").mkdir()
        (folder / "mime.types").write_text("types { text/css css; }\n")
        main = folder / "nginx.conf"
        main.write_text(render("nginx_proxy", "nginx.conf.j2", **given))
        for app in apps:
            if app["state"] != "present":
                continue
            templates = {"sites": "site.conf.j2"}
            if app["path"] != "/":
                templates = {"sites": "upstream.conf.j2", f"mounts/{app['site']}": "mount.conf.j2"}
            for place, template in templates.items():
                text = render("nginx_proxy", template, **given, app=app)
                (folder / "wsgi" / place).mkdir(parents=True, exist_ok=True)
                (folder / f"wsgi/{place}/{app['name']}.conf").write_text(text)
        parsed = crossplane.parse(str(main), combine=True)
        assert parsed["errors"] == []
        self.main = Block(parsed["config"][0]["parsed"])
        (self.http,) = self.main.blocks("http")
        self.servers = list(self.http.blocks("server"))

    def first(self, port: str) -> Block:
        """The server block that answers on a port under names that none has."""
        return next(server for server in self.servers if [port] in [args[:1] for args in server.all("listen")])

    def server(self, name: str, port: str) -> Block:
        """The server block of a name at a port."""
        (found,) = [
            server
            for server in self.servers
            if [name] in [[n] for n in server.one("server_name").split()]
            and port in [args[0] for args in server.all("listen")]
        ]
        return found
