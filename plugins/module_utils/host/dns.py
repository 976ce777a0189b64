# Copyright (c) webops.wsgi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Addresses of a name as DNS has them (RFC 1035), past the host's own ``/etc/hosts``.

A certificate authority does not read that file, and Debian's installer writes the host's full name into it with an
address of the loopback interface: the resolver of the C library would find every such name.
"""

from __future__ import annotations

import ipaddress
import re
import secrets
import socket
import struct
import typing as t

RESOLVED = "/run/systemd/resolve/resolv.conf"
"""The servers behind systemd-resolved, which itself answers from ``/etc/hosts`` as well."""
PORT = 53
TIMEOUT = 3.0
TRIES = 2

A, AAAA = 1, 28
_IN, _RECURSION_DESIRED, _TRUNCATED = 1, 0x0100, 0x0200
_RCODES = {2: "the DNS server failed (SERVFAIL)", 3: "the name does not exist (NXDOMAIN)", 5: "refused (REFUSED)"}
_POINTER = 0xC0  # the two highest bits of a length: the rest of the name stands elsewhere

Server = tuple[str, int]


class NoAddressError(Exception):
    """Why a name has no address, in words."""


def servers(given: str = "", files: t.Sequence[str] = (RESOLVED, "/etc/resolv.conf")) -> list[Server]:
    """Return the DNS servers to ask.

    :param given: ``address``, ``address:port`` or ``[address]:port``, separated by spaces; empty for the host's own
    """
    if given:
        return [_server(text) for text in given.split()]
    for path in files:
        try:
            with open(path, encoding="utf-8", errors="replace") as handle:
                found = re.findall(r"^\s*nameserver\s+(\S+)", handle.read(), re.M)
        except OSError:
            continue
        if found:
            return [(address, PORT) for address in found]
    return [("127.0.0.1", PORT)]


def _server(text: str) -> Server:
    """Return address and port of a DNS server. Raises ValueError when it is none."""
    found = re.fullmatch(r"\[(?P<six>[^]]+)\](:(?P<port6>\d+))?|(?P<four>[0-9.]+)(:(?P<port4>\d+))?|(?P<bare>.+)", text)
    parts = found.groupdict() if found else {}
    address = str(ipaddress.ip_address(parts.get("six") or parts.get("four") or parts.get("bare") or ""))
    return address, int(parts.get("port6") or parts.get("port4") or PORT)


def valid_servers(given: str) -> bool:
    """Return whether `given` can be read by `servers`."""
    try:
        return all(0 < port < 65536 for _address, port in servers(given, files=()))
    except ValueError:
        return False


def probe_name(domain: str) -> str:
    """Return a name that probes can ask for: the domain itself, or one of those that a wildcard stands for."""
    return f"wildcard{domain[1:]}" if domain.startswith("*.") else domain


def first_name(domains: t.Sequence[str]) -> str:
    """Return the name by which an app is known: the first of its domains that is no wildcard, or one below that."""
    return next((name for name in domains if not name.startswith("*.")), "") or probe_name(domains[0])


def is_address(name: str) -> bool:
    """Return whether a name is an address, and none that DNS knows."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def addresses(name: str, ask: t.Sequence[Server], timeout: float = TIMEOUT) -> list[str]:
    """Return the addresses of a name, IPv6 ones first, as certificate authorities prefer them; an address is its own.

    Raises NoAddressError saying what was seen when there is none.
    """
    if is_address(name):
        return [name]
    found = [address for kind in (AAAA, A) for address in _records(name, kind, ask, timeout)]
    if not found:
        raise NoAddressError("the name has neither an A nor an AAAA record")
    return found


def _records(name: str, kind: int, ask: t.Sequence[Server], timeout: float) -> list[str]:
    """Return the addresses of one kind from the first server that answers. Raises NoAddressError."""
    silent = ""
    for server in [*ask] * TRIES:
        try:
            return read_reply(_exchange(question(name, kind), server, timeout), kind)
        except (OSError, ValueError) as error:
            silent = f"the DNS server {server[0]} does not answer: {error or 'not understood'}"
    raise NoAddressError(silent)


def question(name: str, kind: int) -> bytes:
    """Return a DNS message that asks for the records of one kind."""
    header = struct.pack("!HHHHHH", secrets.randbits(16), _RECURSION_DESIRED, 1, 0, 0, 0)
    labels = b"".join(bytes([len(label)]) + label.encode("ascii") for label in name.rstrip(".").split("."))
    return header + labels + b"\0" + struct.pack("!HH", kind, _IN)


def _exchange(message: bytes, server: Server, timeout: float) -> bytes:
    """Ask over UDP, and over TCP when the answer does not fit. Raises OSError or ValueError."""
    family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as datagrams:
        datagrams.settimeout(timeout)
        datagrams.connect(server)
        datagrams.send(message)
        reply = datagrams.recv(4096)
    if reply[:2] != message[:2]:
        raise ValueError("the answer is for another question")
    if len(reply) < 12:
        raise ValueError("the answer is cut off")
    if not struct.unpack_from("!H", reply, 2)[0] & _TRUNCATED:
        return reply
    with socket.create_connection(server, timeout=timeout) as stream, stream.makefile("rb") as incoming:
        stream.sendall(struct.pack("!H", len(message)) + message)
        return incoming.read(struct.unpack("!H", incoming.read(2).rjust(2, b"\0"))[0])


def read_reply(reply: bytes, kind: int) -> list[str]:
    """Return the addresses in a DNS answer, wherever a chain of aliases has led.

    Raises NoAddressError when the server says why there is none, ValueError when the message is no DNS answer.
    """
    try:
        _identity, flags, questions, answers, _, _ = struct.unpack_from("!HHHHHH", reply)
        if flags & 0xF:
            raise NoAddressError(_RCODES.get(flags & 0xF, f"the DNS server answered with code {flags & 0xF}"))
        at = 12
        for _number in range(questions):
            at = _after_name(reply, at) + 4
        found = []
        for _number in range(answers):
            at = _after_name(reply, at)
            record, _class, _ttl, length = struct.unpack_from("!HHIH", reply, at)
            at += 10
            if record == kind:
                found.append(str(ipaddress.ip_address(reply[at : at + length])))
            at += length
        return found
    except (struct.error, IndexError) as error:
        raise ValueError("the answer is cut off") from error


def _after_name(message: bytes, at: int) -> int:
    """Return where the name that begins at `at` ends."""
    while length := message[at]:
        if length & _POINTER == _POINTER:
            return at + 2
        at += length + 1
    return at + 1
