# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Command lines of servers, and the files that they name."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.adopt.model import Start

SERVERS = ("gunicorn", "uwsgi", "uvicorn", "waitress-serve", "granian")

# Options of each server, by the settings of its role: name there, and how its value is read. None: an option that needs
# no counterpart, since the collection does it in its own way.
_NONE: None = None
_GUNICORN: dict[str, tuple[str, type] | None] = {
    "workers": ("workers", str),
    "threads": ("threads", int),
    "timeout": ("timeout", int),
    "graceful-timeout": ("graceful_timeout", int),
    "worker-class": ("worker_class", str),
    "max-requests": ("max_requests", int),
    "max-requests-jitter": ("max_requests_jitter", int),
    "preload": ("preload", bool),
    "bind": _NONE,
    "chdir": _NONE,
    "config": _NONE,
    "user": _NONE,
    "group": _NONE,
    "umask": _NONE,
    "pid": _NONE,
    "pidfile": _NONE,
    "daemon": _NONE,
    "name": _NONE,
    "proc-name": _NONE,
    "access-logfile": _NONE,
    "error-logfile": _NONE,
    "log-file": _NONE,
    "log-level": _NONE,
    "capture-output": _NONE,
    "forwarded-allow-ips": _NONE,
    "env": _NONE,
    "raw-env": _NONE,
    "pythonpath": _NONE,
    "reload": _NONE,
    "accesslog": _NONE,
    "errorlog": _NONE,
    "loglevel": _NONE,
    "worker-tmp-dir": _NONE,
}
_SHORT = {
    "gunicorn": {
        "w": "workers",
        "t": "timeout",
        "k": "worker-class",
        "b": "bind",
        "c": "config",
        "u": "user",
        "g": "group",
        "m": "umask",
        "p": "pid",
        "D": "daemon",
        "n": "name",
        "e": "env",
    },
    "uvicorn": {},
    "waitress-serve": {},
    "granian": {},
}
_UVICORN: dict[str, tuple[str, type] | None] = {
    "workers": ("workers", str),
    "uds": _NONE,
    "host": _NONE,
    "port": _NONE,
    "app-dir": _NONE,
    "factory": _NONE,
    "proxy-headers": _NONE,
    "forwarded-allow-ips": _NONE,
    "log-level": _NONE,
}
_WAITRESS: dict[str, tuple[str, type] | None] = {
    "threads": ("threads", int),
    "listen": _NONE,
    "unix-socket": _NONE,
    "host": _NONE,
    "port": _NONE,
    "call": _NONE,
}
_GRANIAN: dict[str, tuple[str, type] | None] = {
    "workers": ("workers", str),
    "blocking-threads": ("blocking_threads", int),
    "interface": _NONE,
    "host": _NONE,
    "port": _NONE,
    "uds": _NONE,
    "factory": _NONE,
}
_OPTIONS = {"gunicorn": _GUNICORN, "uvicorn": _UVICORN, "waitress-serve": _WAITRESS, "granian": _GRANIAN}
_FLAGS = {"preload", "daemon", "capture-output", "factory", "proxy-headers", "call", "reload"}
_UWSGI: dict[str, tuple[str, type] | None] = {
    "processes": ("workers", str),
    "workers": ("workers", str),
    "threads": ("threads", int),
    "harakiri": ("harakiri", int),
    **dict.fromkeys(
        ("module", "wsgi-file", "callable", "mount", "socket", "http-socket", "http", "chdir", "master", "vacuum"),
        _NONE,
    ),
    **dict.fromkeys(
        ("die-on-term", "uid", "gid", "chmod-socket", "chown-socket", "virtualenv", "home", "venv", "plugins"), _NONE
    ),
    **dict.fromkeys(("plugin", "enable-threads", "need-app", "pythonpath", "single-interpreter", "logto"), _NONE),
    **dict.fromkeys(("ini", "emperor", "pidfile", "daemonize", "strict", "lazy-apps", "env", "log-date"), _NONE),
}

Reader = Callable[[str], "str | None"]


def server_of(command: str) -> str:
    """The server that a command line starts; empty when it starts something else."""
    words = split(command)
    for place, word in enumerate(words[:4]):
        name = word.rsplit("/", 1)[-1]
        if name in SERVERS:
            return name
        if (
            word == "-m"
            and words[place + 1 : place + 2]
            and words[place + 1].partition(".")[0] in ("gunicorn", "uvicorn")
        ):
            return words[place + 1].partition(".")[0]
    return ""


def of_shell(command: str) -> str:
    """The script in a command line that hands one to a shell, C(sh -c '…'); empty for any other."""
    words = split(command)
    shells = ("sh", "bash", "dash")
    if (
        not words
        or words[0].rsplit("/", 1)[-1] not in shells
        or not any(re.fullmatch("-l?c", word) for word in words[:3])
    ):
        return ""
    return "#!/bin/sh\n" + re.sub(r"\s*(?:&&|;)\s*", "\n", words[-1])


def start_of(command: str, read: Reader) -> Start:
    """What a command line says of the app it starts.

    Args:
        command: The command line.
        read: Reads a file that it names, by its path; None when there is none.
    """
    server, words = server_of(command), split(command)
    program = words[0]
    if server == "uwsgi":
        return _uwsgi(program, words[1:], read)
    begin = next(
        place for place, word in enumerate(words) if server in (word.rsplit("/", 1)[-1], word.partition(".")[0])
    )
    return _by_options(server, program, words[begin + 1 :], read)


def split(command: str) -> list[str]:
    """The words of a command line."""
    try:
        return shlex.split(command)
    except ValueError:
        return command.split()


def _by_options(server: str, program: str, words: list[str], read: Reader) -> Start:
    start = Start(server.removesuffix("-serve"), program=program)
    found: dict[str, str] = {}
    for name, value in _options(words, _SHORT[server]):
        if not name:
            start.entrypoint = start.entrypoint or value
        elif name == "bind":
            start.binds.append(value)
        elif name == "env":
            start.environment.update([_assignment(value)])
        else:
            found[name] = value
    if server == "gunicorn" and "config" in found:
        _gunicorn_file(start, found["config"].removeprefix("file:"), found.get("chdir", ""), found, read)
    start.chdir = found.get("chdir", found.get("app-dir", ""))
    _take(start, found, _OPTIONS[server])
    start.binds += _binds(server, found, start.binds)
    if server == "gunicorn" and start.entrypoint and ":" not in start.entrypoint:
        start.entrypoint += ":application"
    if ("factory" in found or "call" in found) and not start.entrypoint.endswith(")"):
        start.entrypoint += "()"
    return start


def _binds(server: str, found: Mapping[str, str], known: list[str]) -> list[str]:
    """Where a server listens by options other than C(bind)."""
    if "uds" in found or "unix-socket" in found:
        return [f"unix:{found.get('uds') or found['unix-socket']}"]
    if "listen" in found:
        return [found["listen"].replace("*:", "0.0.0.0:")]
    if "port" in found:
        return [f"{found.get('host', '127.0.0.1')}:{found['port']}"]
    if known:
        return []
    return ["127.0.0.1:8080" if server == "waitress-serve" else "127.0.0.1:8000"]


def _options(words: list[str], short: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Names and values of options; a word that belongs to none has an empty name."""
    place = 0
    while place < len(words):
        word, place = words[place], place + 1
        if not word.startswith("-") or word == "-":
            yield "", word
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if not word.startswith("--"):
            name, value = short.get(word[1:2], word[1:2]), word[2:].removeprefix("=")
            equals = value
        if name in _FLAGS:
            value = value or "true"
        elif not equals and place < len(words):
            value, place = words[place], place + 1
        yield name, value


def _take(start: Start, found: Mapping[str, str], known: Mapping[str, tuple[str, type] | None]) -> None:
    """Carry options over that have a counterpart, and note those that are not known."""
    for name, value in found.items():
        if name not in known:
            start.left.append(f"{start.server}: {name} = {value}")
            continue
        setting = known[name]
        if setting is None:
            continue
        try:
            start.settings[setting[0]] = True if setting[1] is bool else setting[1](value)
        except ValueError:
            start.left.append(f"{start.server}: {name} = {value}")


def _gunicorn_file(start: Start, path: str, folder: str, found: dict[str, str], read: Reader) -> None:
    """Settings of a configuration file of gunicorn that are plain values. Options on the command line win."""
    text = read(path if path.startswith("/") or not folder else f"{folder}/{path}")
    try:
        statements = ast.parse(text or "").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        statements = []
    if not text:
        start.left.append(f"{path}, which could not be read")
    for statement in statements:
        if isinstance(statement, ast.Expr | ast.Import | ast.ImportFrom):
            continue
        name, value = _assigned(statement)
        name = {"preload-app": "preload", "proc-name": "name"}.get(name, name)
        if value is None:
            start.left.append(f"{path}: {ast.unparse(statement).splitlines()[0]}")
        elif name == "bind":
            start.binds += [value] if isinstance(value, str) else [str(item) for item in value]
        elif name == "raw-env" and isinstance(value, list | tuple):
            start.environment.update(_assignment(str(item)) for item in value)
        elif name == "wsgi-app":
            start.entrypoint = start.entrypoint or str(value)
        elif not (name in _FLAGS and value is False):
            found.setdefault(name, str(value))


def _assignment(text: str) -> tuple[str, str]:
    name, _equals, value = text.partition("=")
    return name.strip(), value.strip()


def _assigned(statement: ast.stmt) -> tuple[str, Any]:
    """Name and value of an assignment of a plain value, the name as options have it; None for anything else."""
    if not isinstance(statement, ast.Assign) or not isinstance(statement.targets[0], ast.Name):
        return "", None
    try:
        return statement.targets[0].id.replace("_", "-"), ast.literal_eval(statement.value)
    except ValueError:
        return "", None


def _uwsgi(program: str, words: list[str], read: Reader) -> Start:
    options = _uwsgi_options(words, read)
    found = {name: value for name, value in options if name}
    start = Start("uwsgi", program=program, chdir=found.get("chdir", ""))
    start.virtualenv = next((found[name] for name in ("virtualenv", "home", "venv") if name in found), "")
    start.environment = dict(_assignment(value) for name, value in options if name == "env")
    start.binds = [_uwsgi_bind(value) for name, value in options if name in ("socket", "http-socket", "http")]
    module, of_file = found.get("module", ""), found.get("wsgi-file", "")
    if module:
        start.entrypoint = module if ":" in module else f"{module}:{found.get('callable', 'application')}"
    elif of_file:
        name = re.sub(r"\.py$", "", of_file.removeprefix(f"{start.chdir}/")).strip("/").replace("/", ".")
        start.entrypoint = f"{name}:{found.get('callable', 'application')}"
    _take(start, found, _UWSGI)
    return start


def emperor(command: str, read: Reader) -> str:
    """Where the files are that uWSGI's emperor starts an app each for; empty for any other command."""
    if server_of(command) != "uwsgi":
        return ""
    return dict(_uwsgi_options(split(command)[1:], read)).get("emperor", "")


def _uwsgi_options(words: list[str], read: Reader) -> list[tuple[str, str]]:
    options: list[tuple[str, str]] = []
    for name, value in _options(words, {"s": "socket", "w": "module", "p": "processes", "H": "virtualenv", "x": "xml"}):
        options.append(("ini" if not name and value.endswith(".ini") else name, value))
    for name, value in list(options):
        if name == "ini":
            options += _ini(value, read)
    return options


def _uwsgi_bind(value: str) -> str:
    if "/" in value or ":" not in value:
        return f"unix:{value}"
    return f"127.0.0.1{value}" if value.startswith(":") else value


def _ini(path: str, read: Reader) -> list[tuple[str, str]]:
    """Options of a configuration file of uWSGI, which may repeat one; without those that only others use."""
    lines = (re.sub(r"^[;#].*", "", line.strip()) for line in (read(path) or "").splitlines())
    folder, _slash, file = path.rpartition("/")
    known = {"n": file.removesuffix(".ini"), "d": f"{folder}/", "p": path}
    found, section, named = [], "", set[str]()
    for line in lines:
        if line.startswith("["):
            section = line.strip("[]")
        elif line and section == "uwsgi":
            name, equals, value = (part.strip() for part in line.partition("="))
            named |= set(re.findall(r"%\((\w[\w-]*)\)", value))
            value = re.sub(r"%\((\w[\w-]*)\)|%([ndp])", lambda match: known.get(match[1] or match[2], match[0]), value)
            known[name] = value
            found.append((name, value if equals else "true"))
    return [(name, value) for name, value in found if name in _UWSGI or name not in named]
