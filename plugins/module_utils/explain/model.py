# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What explain finds out: the look from outside, and the look at a host. Plain data, so that it can be sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


@dataclass(frozen=True)
class Reply:
    """An answer over HTTP.

    Attributes:
        status: Its status; 0 when there was none.
        seconds: How long it took.
        error: Why there was none.
        location: Its C(Location) header.
        maintenance: Whether nginx said that the app is closed on purpose.
    """

    status: int = 0
    seconds: float = 0.0
    error: str = ""
    location: str = ""
    maintenance: bool = False


@dataclass(frozen=True)
class Certificate:
    """A certificate as it was shown, or as it lies on disk.

    Attributes:
        names: The names it is for.
        issuer: Who issued it.
        begins: From when it is valid, in seconds since 1970.
        ends: Until when.
        self_signed: Whether it is its own issuer.
        fingerprint: SHA-256 of it.
        distrust: Why a client does not trust it; empty when it does, or was not asked.
        error: Why there is none.
    """

    names: tuple[str, ...] = ()
    issuer: str = ""
    begins: float = 0.0
    ends: float = 0.0
    self_signed: bool = False
    fingerprint: str = ""
    distrust: str = ""
    error: str = ""


@dataclass(frozen=True)
class Outside:
    """What a client on the controller sees.

    Attributes:
        when: The controller's time, in seconds since 1970.
        identity: The X-Request-ID of its request.
        addresses: Where the name leads.
        unresolved: Why it leads nowhere.
        address: The address that was tried.
        unreachable: Why no connection came about.
        certificate: What was shown.
        reply: What was answered.
    """

    when: float = 0.0
    identity: str = ""
    addresses: tuple[str, ...] = ()
    unresolved: str = ""
    address: str = ""
    unreachable: str = ""
    certificate: Certificate = field(default_factory=Certificate)
    reply: Reply = field(default_factory=Reply)


@dataclass(frozen=True)
class Disk:
    """A file system that is full, or nearly."""

    path: str
    free_bytes: int
    free_files: int


@dataclass(frozen=True)
class Nginx:
    """nginx on a host.

    Attributes:
        active: What the process manager calls its state.
        test: What C(nginx -t) says when it refuses the configuration.
        served: The generation of its configuration in service.
        live: The generation that is live on disk.
        edited: Whether files of it were changed by hand.
        site: Whether it has the app's server block.
        ports: The program that listens, by port.
    """

    active: str = ""
    test: str = ""
    served: str = ""
    live: str = ""
    edited: bool = False
    site: bool = True
    ports: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Instance:
    """The release in service, and what runs of it.

    Attributes:
        release: Its number; empty when the app has none.
        source: What it was built from.
        state: What the process manager calls its state: C(active), C(failed), …
        runs: Whether its server is up.
        stopped: Whether somebody stopped it, rather than that it ended.
        unit: What the process manager calls it.
        read: The command that shows its log.
        socket: Whether its socket exists.
        listens: Whether a server takes connections there.
        health: What is wrong with its health page; empty when nothing is.
        faults: What ended its processes or was refused to them, each with a fix.
        failed_after: A later release that failed to deploy; empty when there is none.
        failure: Why it did.
    """

    release: str = ""
    source: str = ""
    state: str = ""
    runs: bool = False
    stopped: bool = False
    unit: str = ""
    read: str = ""
    socket: bool = False
    listens: bool = False
    health: str = ""
    faults: tuple[Mapping[str, Any], ...] = ()
    failed_after: str = ""
    failure: str = ""


@dataclass(frozen=True)
class Traffic:
    """What the logs have of a URL.

    Attributes:
        arrived: Whether the request from outside is in the access log.
        by_app: Whether the app was asked for it.
        logged: Whether requests are logged at all, each of them.
        statuses: How often each status was given in the last hour, by status.
        samples: For each of them that is an error, the last request: C(when), C(client), C(method), C(seconds), …
        errors: What the last lines of the error log say about it.
    """

    arrived: bool = False
    by_app: bool = False
    logged: bool = True
    statuses: Mapping[str, int] = field(default_factory=dict)
    samples: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    errors: tuple[str, ...] = ()


@dataclass(frozen=True)
class Seen:
    """What was seen on a host.

    Attributes:
        host: Its name in the inventory.
        when: Its time, in seconds since 1970.
        asked: The controller's time when it was asked.
        answered: And when it had answered.
        addresses: Its addresses.
        disks: File systems that are full, or nearly.
        memory_free: Bytes that programs may still take.
        nginx: nginx.
        closed: Whether the app is closed for maintenance.
        on_disk: The certificate that nginx is to show.
        on_wire: The one it shows.
        instance: The app's release.
        direct: What the app answers over its socket.
        proxied: What nginx answers to this host itself.
        words: What the app wrote meanwhile: the cause first.
        traffic: What the logs have.
    """

    host: str = ""
    when: float = 0.0
    asked: float = 0.0
    answered: float = 0.0
    addresses: tuple[str, ...] = ()
    disks: tuple[Disk, ...] = ()
    memory_free: int = 0
    nginx: Nginx = field(default_factory=Nginx)
    closed: bool = False
    on_disk: Certificate = field(default_factory=Certificate)
    on_wire: Certificate = field(default_factory=Certificate)
    instance: Instance = field(default_factory=Instance)
    direct: Reply = field(default_factory=Reply)
    proxied: Reply = field(default_factory=Reply)
    words: tuple[str, ...] = ()
    traffic: Traffic = field(default_factory=Traffic)


def from_data(kind: type[T], data: Mapping[str, Any]) -> T:
    """An object of these classes from what :func:`dataclasses.asdict` made of it, also after it was JSON."""
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    for each in fields(kind):
        if each.name in data:
            values[each.name] = _value(hints[each.name], data[each.name])
    return kind(**values)


def _value(hint: Any, value: Any) -> Any:
    if isinstance(hint, type) and is_dataclass(hint):
        return from_data(hint, value)
    if isinstance(value, (list, tuple)):
        return tuple(_value(hint.__args__[0], item) for item in value)
    return value
