# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is found on a host that somebody has set up by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Start:
    """How a server is started, as far as its command line and its own configuration say.

    Attributes:
        server: gunicorn, uwsgi, uvicorn, waitress or granian.
        entrypoint: The callable, C(module:name); empty when it was not found.
        binds: Where it listens: C(unix:PATH) or C(HOST:PORT).
        settings: Settings that the server's role has, by their names there.
        chdir: Directory that it changes to.
        program: The program that is started.
        virtualenv: The virtual environment, where the program is not in it.
        environment: Variables that the server sets.
        left: What could not be carried over.
    """

    server: str
    entrypoint: str = ""
    binds: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    chdir: str = ""
    program: str = ""
    virtualenv: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)


@dataclass
class Program:
    """A unit of systemd, or a program of Supervisor.

    Attributes:
        name: Its name, without a suffix.
        where: Its file.
        command: What it starts.
        directory: Where it runs.
        user: As whom.
        environment: Variables that are written into it.
        files: Files that more of them are in.
        manager: Who starts it: C(systemd), C(supervisor), or C(emperor), uWSGI's for many files.
        sockets: Units of systemd that listen for it.
        script: The script that it is started by, which sets variables of its own.
        left: What could not be carried over.
    """

    name: str
    where: str
    command: str
    directory: str = ""
    user: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    manager: str = "systemd"
    sockets: list[str] = field(default_factory=list)
    script: str = ""
    left: list[str] = field(default_factory=list)


@dataclass
class Site:
    """A server block of nginx.

    Attributes:
        where: Its file.
        names: What it answers to.
        certificate: File of its certificate; empty without TLS.
        key: File of the key.
        passes_to: Where it sends requests, as a server's C(binds).
        static: Directories that it serves, by the beginning of a path.
        settings: Settings that the role nginx_proxy has, by their names there.
        left: What could not be carried over.
    """

    where: str
    names: list[str] = field(default_factory=list)
    certificate: str = ""
    key: str = ""
    passes_to: list[str] = field(default_factory=list)
    static: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)


@dataclass
class Source:
    """The code.

    Attributes:
        path: Its directory.
        subdirectory: Where it is in the repository.
        git: Address of the repository that it is a clone of; empty when it is none.
        commit: The commit that is checked out.
        requirements: The file that says what is installed; empty when it has none.
    """

    path: str
    subdirectory: str = ""
    git: str = ""
    commit: str = ""
    requirements: str = ""


@dataclass
class Data:
    """What an app keeps beside its code, and would begin without in a release.

    Attributes:
        path: Where it is, relative to the source if it is in that.
        kind: C(sqlite) or C(directory).
        size: Bytes of it.
        age: Seconds since the last change.
    """

    path: str
    kind: str
    size: int
    age: int


@dataclass
class Lineage:
    """A certificate that certbot has.

    Attributes:
        name: Its name there.
        server: The authority's ACME directory.
        key_type: Type of its key.
    """

    name: str
    server: str = ""
    key_type: str = ""


@dataclass
class App:
    """An app that was found, with all that belongs to it."""

    program: Program
    start: Start
    source: Source
    python: str = ""
    packages: dict[str, str] = field(default_factory=dict)
    site: Site | None = None
    lineage: Lineage | None = None
    env: dict[str, str] = field(default_factory=dict)
    hidden: dict[str, str] = field(default_factory=dict)  # variables whose values stay on the host, by name: their file
    workers: list[Program] = field(default_factory=list)
    crontab: list[str] = field(default_factory=list)
    data: list[Data] = field(default_factory=list)
    django: bool = False  # whether it has a manage.py
