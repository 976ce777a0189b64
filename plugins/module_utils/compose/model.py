# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a deployment of a Compose project is told, asks the engine for, and tells in the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ansible_collections.webops.wsgi.plugins.module_utils.compose.engine import Container

NGINX = "nginx"  # the service that clients meet
CERTBOT = "certbot"  # the service that asks authorities for certificates, where an app has one of theirs
RUNNING = "running"


class Asker(Protocol):
    """Docker Compose as a deployment needs it, see C(engine.Engine)."""

    def check(self) -> None: ...
    def has_image(self, name: str) -> bool: ...
    def build(self, service: str) -> None: ...
    def pull(self, image: str, registry: Mapping[str, Any]) -> None: ...
    def forget_image(self, name: str) -> None: ...
    def up(self, services: Iterable[str], recreate: bool = False, orphans: bool = False) -> None: ...
    def remove(self, services: Iterable[str]) -> None: ...
    def once(self, service: str, command: str, seconds: int) -> None: ...
    def ask(self, service: str) -> str: ...
    def edge(self, *arguments: str) -> str: ...
    def issued(self) -> dict[str, str]: ...
    def certify(self, app: str) -> None: ...
    def try_tree(self, tree: str) -> None: ...
    def tree_in_service(self) -> str: ...
    def hashes(self) -> dict[str, str]: ...
    def containers(self) -> list[Container]: ...
    def log(self, service: str) -> str: ...


@dataclass(frozen=True)
class App:
    """What the controller wants of an app.

    Attributes:
        name: The app.
        user: Number of the user of its containers.
        digest: Equal releases, same digest.
        image: Name of what its containers run.
        about: What a release notes of itself: its services, and how it is proved and ended.
        files: Files of the release.
        secrets: Files of the release that only its containers see.
        build: How its image is built; empty for one of a registry.
        context: Files of the image's context.
        archive: The source, as an archive.
        archive_name: The archive's name in the context.
        indexes: Where packages come from; a secret of the build.
        registry: How a registry is asked for the image.
        development: A service for a person who writes the app.
        keep: How many releases are kept.
        through: Whether it answers through nginx; a message when not.
    """

    name: str
    user: int
    digest: str
    image: str
    about: dict[str, Any]
    files: dict[str, Any]
    secrets: dict[str, Any]
    build: dict[str, Any] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)
    archive: str = ""
    archive_name: str = ""
    indexes: dict[str, Any] = field(default_factory=dict)
    registry: dict[str, Any] = field(default_factory=dict)
    development: dict[str, Any] = field(default_factory=dict)
    keep: int = 5
    through: Callable[[], str] = lambda: ""


@dataclass(frozen=True)
class Wanted:
    """What the controller wants of a project.

    Attributes:
        base: What its file has beside releases.
        apps: Its apps.
        files: Files of the project itself.
        tree: The files of nginx's tree.
        tree_name: What tells trees apart.
        certificates: Files that nginx shows clients, by name; one that is there is kept unless it must differ.
        orders: By app, what tells settings apart with which an authority is asked for its certificate.
        start: Whether the project is to run.
        who: The person and machine that asked.
    """

    base: dict[str, Any]
    apps: list[App]
    files: dict[str, Any]
    tree: dict[str, Any]
    tree_name: str
    certificates: dict[str, Any]
    orders: dict[str, str] = field(default_factory=dict)
    start: bool = True
    who: str = "unknown"


@dataclass
class Report:
    """What a run has done.

    Attributes:
        reasons: What was not as it was wanted; nothing has changed when there is none.
        failures: What went wrong, a message by app.
        releases: What serves each app.
    """

    reasons: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    releases: dict[str, str] = field(default_factory=dict)


def runs(running: Mapping[str, Container], name: str) -> bool:
    """Whether a service runs."""
    return name in running and running[name].state == RUNNING
