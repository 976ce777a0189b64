# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of what goes into an app's unit in systemd's own words."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import App, Problem, show

_MEMORY = re.compile(r"[0-9]*[1-9][0-9]*[KMGT]?|([1-9][0-9]?|100)%|infinity")
_QUOTA = re.compile(r"[1-9][0-9]*%")
_LINE = re.compile(r"[A-Za-z]+ *=([^\r\n\0]*[^\r\n\0\\])?")  # a backslash at the end would take the next line along
_PATH = re.compile(r"""-?/[^\s"'\\]*""")  # with a hyphen in front systemd lets the path be missing
_CALL = re.compile(r"@?[a-z0-9_-]+(:[A-Za-z0-9]+)?")

# Address families of Linux, as in systemd's table.
_FAMILIES = """
    ALG APPLETALK ASH ATMPVC ATMSVC AX25 BLUETOOTH BRIDGE CAIF CAN DECnet ECONET FILE IB IEEE802154 INET INET6 IPX IRDA
    ISDN IUCV KCM KEY LLC LOCAL MCTP MPLS NETBEUI NETLINK NETROM NFC PACKET PHONET PPPOX QIPCRTR RDS ROSE ROUTE RXRPC
    SECURITY SMC SNA TIPC UNIX VSOCK WANPIPE X25 XDP
"""
FAMILIES = frozenset(f"AF_{name}" for name in _FAMILIES.split())

# Groups of system calls that systemd.exec(5) names.
_GROUPS = """
    aio basic-io chown clock cpu-emulation debug default file-system io-event ipc keyring known memlock module mount
    network-io obsolete pkey privileged process raw-io reboot resources sandbox setuid signal swap sync system-service
    timer
"""
CALL_GROUPS = frozenset(f"@{name}" for name in _GROUPS.split())


def check_resources(app: App) -> t.Iterator[Problem]:
    """Limits as systemd reads them."""
    forms = (
        ("memory_max", _MEMORY, "write a number and K, M, G or T, such as 512M"),
        ("memory_high", _MEMORY, "write a number and K, M, G or T, such as 512M"),
        ("cpu_quota", _QUOTA, "write a percentage, such as 150%"),
    )
    for name, form, fix in forms:
        value = app.data["release"].get(name)
        if isinstance(value, str) and value and app.usable(f"release.{name}") and not form.fullmatch(value):
            yield app.problem(f"{app.setting('release', name)} is {show(value)}, which systemd does not take", fix)


def _items(app: App, name: str) -> list[str]:
    """The texts in a list of the release; none when the list is unusable."""
    value = app.data["release"].get(name) if app.usable(f"release.{name}") else []
    return [str(item) for item in value] if isinstance(value, list) else []


def _words(item: str) -> list[str]:
    """Words of one line of a unit. A line break parts no words, it stays in one and makes that a wrong one."""
    return re.split(r"[ \t]+", item.strip(" \t"))


def check_unit_extra(app: App) -> t.Iterator[Problem]:
    """Each item is one ``Key=value`` line."""
    for line in _items(app, "unit_extra"):
        if not _LINE.fullmatch(line):
            text = f"{app.setting('release', 'unit_extra')} has {show(line)}, which is not a line of a unit's section"
            yield app.problem(text, "write Key=value, one an item, such as CPUWeight=50")


def check_writable_paths(app: App) -> t.Iterator[Problem]:
    """Absolute paths, in characters that systemd reads as they are."""
    setting = app.setting("release", "writable_paths")
    for path in _items(app, "writable_paths"):
        if not path.lstrip("-").startswith("/"):
            yield app.problem(f"{setting} has {show(path)}, which is not absolute", "begin it with a slash")
        elif ".." in path.split("/"):
            yield app.problem(f"{setting} has {show(path)}, which has a part ..", "write the path without it")
        elif not _PATH.fullmatch(path):
            text = f"{setting} has {show(path)}, with a character that a unit file does not take"
            yield app.problem(text, "leave out white space, quotes and backslashes")


def check_address_families(app: App) -> t.Iterator[Problem]:
    """Families that systemd knows, ``none`` by itself, or a ``~`` in front of those to forbid."""
    words = [word for item in _items(app, "address_families") for word in _words(item)]
    if words == ["none"]:
        return
    setting = app.setting("release", "address_families")
    for number, word in enumerate(words):
        if word == "none":
            yield app.problem(f'{setting} has "none" beside others', "write none by itself, or remove it")
        elif (word[1:] if number == 0 and word.startswith("~") else word) not in FAMILIES:
            text = f"{setting} has {show(word)}, which systemd does not know"
            yield app.problem(text, "write such as AF_UNIX, AF_INET, AF_INET6, AF_NETLINK or none")


def check_system_calls(app: App) -> t.Iterator[Problem]:
    """Names of system calls and of systemd's groups of them; ``~`` at the beginning forbids what follows."""
    setting = app.setting("release", "system_call_filter")
    for item in _items(app, "system_call_filter"):
        for number, word in enumerate(_words(item)):
            call = word[1:] if number == 0 and word.startswith("~") else word
            if not _CALL.fullmatch(call):
                text = f"{setting} has {show(item)}, in which {show(word)} is no system call"
                yield app.problem(text, "write names and groups such as @system-service, a ~ only at the beginning")
            elif call.startswith("@") and call.split(":", maxsplit=1)[0] not in CALL_GROUPS:
                text = f"{setting} has {show(item)}, in which {show(call)} is no group of systemd's"
                yield app.problem(text, "write one that systemd.exec(5) names, such as @system-service")


CHECKS: tuple[t.Callable[[App], t.Iterator[Problem]], ...] = (
    check_resources,
    check_unit_extra,
    check_writable_paths,
    check_address_families,
    check_system_calls,
)
