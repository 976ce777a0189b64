# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host that somebody has set up by hand, looked at without changing anything.

Values of variables that may be secrets do not leave it, unless somebody asks for them: only their names do, with the
file that they are in.
"""

from __future__ import annotations

import configparser
import grp
import pwd
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.adopt import (
    commands,
    data,
    programs,
    proxy,
    scripts,
    variables,
)
from ansible_collections.webops.wsgi.plugins.module_utils.adopt.model import App, Lineage, Program, Site, Source
from ansible_collections.webops.wsgi.plugins.module_utils.host.marks import USER_MARK

_LARGEST = 1 << 20  # bytes of a file that is read
_REQUIREMENTS = (
    *("uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "pylock.toml", "requirements.txt", "pyproject.toml"),
    *("setup.py", "setup.cfg"),
)
_UNITS = ("/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system")
# Of a virtual environment, or of where the app was: a release has its own.
_PLACES = ("PATH", "VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH", "HOME", "USER", "LOGNAME", "SHELL", "PWD")


def taken(root: Path = Path("/srv")) -> list[str]:
    """Names that no app can have, since users, groups or directories of somebody else have them."""
    ours = {user.pw_name for user in pwd.getpwall() if user.pw_gecos.startswith(USER_MARK)}
    names = {user.pw_name for user in pwd.getpwall()} | {group.gr_name for group in grp.getgrall()}
    folders = {path.name for path in root.glob("*") if path.is_dir() and not (path / "releases").is_dir()}
    return sorted((names - ours) | folders)


class Host:
    """The files of a host.

    Args:
        root: Where its file system begins.

    Attributes:
        secrets: Values of the variables that are not told with the apps, app by app, once these were found.
        left: What of the host, and of no app, could not be carried over.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self.secrets: list[dict[str, str]] = []
        self.left: list[str] = []

    def found(self) -> list[dict[str, Any]]:
        """The apps that its units and programs start, as plain data."""
        known = [self._followed(program) for program in (*self._units(), *self._supervised())]
        known += [vassal for program in known for vassal in self._vassals(program)]
        servers = [program for program in known if commands.server_of(program.command) and not self._emperor(program)]
        sites = self._sites()
        return [asdict(self._app(program, known, servers, sites)) for program in servers]

    def read(self, path: str) -> str | None:
        """A file's text; None when it cannot be read."""
        try:
            with self._at(path).open("rb") as stream:
                return stream.read(_LARGEST).decode(errors="replace")
        except (OSError, ValueError):  # a name that cannot be one
            return None

    def _is_file(self, path: str) -> bool:
        try:
            return self._at(path).is_file()
        except (OSError, ValueError):
            return False

    def _at(self, path: str) -> Path:
        return self._root / path.lstrip("/")

    def _glob(self, *patterns: str) -> Iterator[tuple[str, str]]:
        seen = set[Path]()
        for pattern in patterns:
            try:
                paths = sorted(set(self._root.glob(pattern.lstrip("/"))) - seen)
            except (ValueError, NotImplementedError, OSError):  # no pattern, or not one that may be read
                continue
            for path in paths:
                seen.add(path)
                name = f"/{path.relative_to(self._root)}"
                if path.is_file() and (text := self.read(name)) is not None:
                    yield name, text

    def _units(self) -> Iterator[Program]:
        """Units that a person wrote; of those that come with packages, the ones that start a server."""
        seen = set()
        for folder in _UNITS:
            for where, text in self._glob(f"{folder}/*.service"):
                name = Path(where).stem
                if name in seen or (text.startswith("#") and "webops.wsgi" in text.partition("\n")[0]):
                    continue
                seen.add(name)
                added = [more for _where, more in self._glob(f"{where}.d/*.conf")]
                for program in self._instances(programs.unit(name, where, [text, *added])):
                    if folder == _UNITS[0] or commands.server_of(program.command):
                        yield replace(program, sockets=self._sockets_of(program))

    def _instances(self, program: Program) -> list[Program]:
        """What is started of a unit: itself, or the instances of a template."""
        if not program.name.endswith("@"):
            return [program]
        links = sorted(self._at("/etc/systemd/system").glob(f"*.wants/{program.name}*.service"))
        names = [path.name.removesuffix(".service").removeprefix(program.name) for path in links]
        return [programs.instance(program, name) for name in dict.fromkeys(names) if name]

    def _sockets_of(self, program: Program) -> list[str]:
        unit = f"{program.where.removesuffix('.service')}.socket"
        return [Path(unit).name] if self.read(unit) is not None else []

    def _sockets(self, program: Program) -> Iterator[str]:
        """Where systemd listens for it."""
        text = self.read(f"{program.where.removesuffix('.service')}.socket") or ""
        for place in re.findall(r"^ListenStream=(.+)$", text, re.M):
            yield f"unix:{place}" if place.startswith("/") else place

    def _supervised(self) -> Iterator[Program]:
        for where, text in self._glob("/etc/supervisor/supervisord.conf", "/etc/supervisor/conf.d/*.conf"):
            yield from programs.supervised(where, text)

    def _followed(self, program: Program) -> Program:
        """A program, or what the script starts that it is."""
        first = next(iter(commands.split(program.command)), "")
        text = "" if commands.server_of(program.command) else self.read(_below(program.directory, first))
        if inline := commands.of_shell(program.command):
            text = inline
        if text and scripts.follow(program, text):
            program.script = "" if inline else first
            program.left.append(f"{first}, a script: what it does beside starting the server")
        return program

    def _emperor(self, program: Program) -> str:
        return commands.emperor(program.command, lambda path: self.read(_below(program.directory, path)))

    def _vassals(self, program: Program) -> Iterator[Program]:
        """The apps that uWSGI's emperor starts."""
        pattern = self._emperor(program)
        if pattern and not pattern.endswith(".ini"):
            pattern = f"{pattern.rstrip('/')}/*.ini"
        for where, _text in self._glob(pattern) if pattern else ():
            command = f"{commands.split(program.command)[0]} --ini {where}"
            yield Program(Path(where).stem, where, command, user=program.user, manager="emperor")

    def _sites(self) -> list[Site]:
        """The server blocks of nginx that pass requests on; an upstream may be in another file."""
        main = self.read("/etc/nginx/nginx.conf") or ""
        more = [found for found in proxy.included(main) if not found.startswith(("/etc/nginx/modules", "/usr/"))]
        patterns = ["/etc/nginx/nginx.conf", "/etc/nginx/conf.d/*.conf", "/etc/nginx/sites-enabled/*", *more]
        files = dict(self._glob(*patterns))
        every, found = proxy.of_all_sites(files), proxy.sites(files)
        for site in found:
            site.settings = {**every.settings, **site.settings}
        self.left = [f"nginx, for all sites: {text}" for text in every.left]
        # Debian's uWSGI starts them by a script of its own, by which nothing here could stop one.
        self.left += [f"an app of Debian's uWSGI: {where}" for where, _text in self._glob("/etc/uwsgi/apps-enabled/*")]
        return found

    def _app(self, program: Program, known: list[Program], servers: list[Program], sites: list[Site]) -> App:
        start = commands.start_of(program.command, lambda path: self.read(_below(program.directory, path)))
        directory = (_below(program.directory, start.chdir) or program.directory).rstrip("/")
        directory = "" if "\0" in directory else directory
        environment = self._environment(start.virtualenv, start.program, program.environment.get("PATH", ""))
        app = App(program, start, self._source(directory), *self._python(environment))
        # A server that systemd hands its sockets to looks at no address of its own.
        start.binds = list(self._sockets(program)) or [_socket_below(directory, bind) for bind in start.binds]
        app.site = _site_of(start.binds, sites)
        if app.site:
            self._complete(app, app.site, sites)
        variables_of = {program.script or program.where: {**program.environment, **start.environment}}
        for path in [*program.files, *([] if program.files else [f"{directory}/.env"])]:
            variables_of[path] = variables.parse(self.read(path) or "")
        static = list(app.site.static.values()) if app.site else []
        texts = [value for values in variables_of.values() for value in values.values()]
        app.data = list(data.find(self._root, directory, [environment, *static], texts, time.time()))
        for where, values in variables_of.items():
            values = {name: value for name, value in values.items() if name not in _PLACES}
            shown, hidden = variables.divide(values, where)
            app.env.update(shown)
            app.hidden.update(hidden)
        app.hidden = {name: where for name, where in app.hidden.items() if name not in app.env}
        every = {name: value for values in variables_of.values() for name, value in values.items()}
        self.secrets.append({name: every[name] for name in app.hidden})
        app.workers = [other for other in known if other not in servers and _beside(other, directory, environment)]
        for worker in app.workers:
            worker.environment = {}  # may hold secrets, and is the app's
        app.program.environment = {}
        app.start.environment = {}
        app.django = self._is_file(f"{directory}/manage.py")
        app.crontab = list(self._crontab(directory, environment))
        return app

    def _complete(self, app: App, site: Site, sites: Iterable[Site]) -> None:
        """Whose certificate it is, and what another block of the same names adds."""
        for other in sites:
            if other is not site and set(other.names) & set(site.names):
                site.names += [name for name in other.names if name not in site.names]
                site.certificate, site.key = site.certificate or other.certificate, site.key or other.key
        match = re.fullmatch(r"/etc/letsencrypt/live/([^/]+)/.*", site.certificate)
        renewal = self.read(f"/etc/letsencrypt/renewal/{match[1]}.conf") if match else None
        if match and renewal is not None:
            told = dict(re.findall(r"^(\w+)\s*=\s*(.*?)\s*$", renewal, re.M))
            app.lineage = Lineage(match[1], told.get("server", ""), told.get("key_type", ""))

    def _source(self, directory: str) -> Source:
        root, subdirectory = directory, ""
        while root.count("/") > 1 and not self._is_file(f"{root}/.git/config"):
            root = root.rpartition("/")[0]
        if self._is_file(f"{root}/.git/config") and root not in ("/home", "/srv", "/opt", "/var/www"):
            subdirectory = directory.removeprefix(root).strip("/")
        else:
            root = directory
        source = self._of_tree(directory, root)
        source.subdirectory = subdirectory if source.git else ""
        return source

    def _of_tree(self, directory: str, root: str) -> Source:
        source = Source(directory)
        source.requirements = next((name for name in _REQUIREMENTS if self._is_file(f"{directory}/{name}")), "")
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        try:
            parser.read_string(self.read(f"{root}/.git/config") or "")
        except configparser.Error:
            return source
        source.git = parser.get('remote "origin"', "url", fallback="")
        source.git = re.sub(r"://[^/@]*@", "://", source.git)  # a token, perhaps
        head = (self.read(f"{root}/.git/HEAD") or "").strip()
        if head.startswith("ref: "):
            name = head.removeprefix("ref: ")
            packed = re.search(rf"^(\w+) {re.escape(name)}$", self.read(f"{root}/.git/packed-refs") or "", re.M)
            head = (self.read(f"{root}/.git/{name}") or (packed[1] if packed else "")).strip()
        source.commit = head if re.fullmatch(r"[0-9a-f]{40,64}", head) else ""
        return source

    def _python(self, environment: str) -> tuple[str, dict[str, str]]:
        """The version of Python and the packages of a virtual environment."""
        if not environment:
            return "", {}
        found = re.search(r"^version(?:_info)?\s*=\s*(\d+\.\d+)", self.read(f"{environment}/pyvenv.cfg") or "", re.M)
        packages = {}
        for path in sorted(self._at(environment).glob("lib/python*/site-packages/*.dist-info")):
            name, _dash, version = path.name.removesuffix(".dist-info").rpartition("-")
            packages[name.replace("_", "-").lower()] = version
        return found[1] if found else "", packages

    def _environment(self, told: str, program: str, search: str) -> str:
        """The virtual environment of a server; empty when it is in none.

        Args:
            told: The one that the server's settings name.
            program: The server's program.
            search: Where it is looked for when it has no path.
        """
        folders = [told, program.rpartition("/bin/")[0]]
        if "/" not in program:
            folders += [place.removesuffix("/bin") for place in search.split(":")]
        return next((folder for folder in folders if folder and self._is_file(f"{folder}/pyvenv.cfg")), "")

    def _crontab(self, directory: str, environment: str) -> Iterator[str]:
        for _where, text in self._glob("/var/spool/cron/crontabs/*", "/etc/cron.d/*"):
            for line in text.splitlines():
                places = [place for place in (directory, environment) if place not in ("", "/")]
                if not line.startswith("#") and any(place in line for place in places):
                    yield line


def _below(directory: str, path: str) -> str:
    return path if path.startswith("/") or not path else f"{directory.rstrip('/')}/{path}"


def _socket_below(directory: str, bind: str) -> str:
    return f"unix:{_below(directory, bind.removeprefix('unix:'))}" if bind.startswith("unix:") else bind


def _site_of(binds: Sequence[str], sites: Iterable[Site]) -> Site | None:
    places = {_same_place(bind) for bind in binds}
    mine = [site for site in sites if places & {_same_place(place) for place in site.passes_to}]
    return next((site for site in mine if site.certificate), mine[0] if mine else None)


def _same_place(place: str) -> str:
    place = place.replace("0.0.0.0:", "127.0.0.1:").replace("localhost:", "127.0.0.1:")
    return re.sub(r"^unix:/+(?:var/)?run/", "unix:/run/", place)


def _beside(program: Program, directory: str, environment: str) -> bool:
    """Whether a program is one of an app that is no server, such as a worker of Celery."""
    if environment and f"{environment}/bin/" in program.command:
        return True
    return bool(directory.strip("/")) and program.directory.rstrip("/") == directory
