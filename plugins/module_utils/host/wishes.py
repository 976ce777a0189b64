# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a host can give the apps what the inventory asks of it by name: times, addresses, paths.

All of it is judged before a release of any app is made.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import tempfile
import typing as t
from pathlib import Path

from ansible_collections.webops.wsgi.plugins.module_utils.host import state
from ansible_collections.webops.wsgi.plugins.module_utils.host.marks import UNIT_MARK
from ansible_collections.webops.wsgi.plugins.module_utils.host.paths import Asked, normal, why_foreign, within

Value = t.Mapping[str, str]  # app, setting, value
SYSTEMD_ANALYZE = "systemd-analyze"
FIRST_LINE = 3  # in the unit that is made for a check; those before it are the section and a command
ANY = ("0" * 8, "0" * 32)  # all addresses of IPv4, and of IPv6, as the kernel writes them
OWN = ("systemd", "systemd-socket-")  # who holds the addresses of apps: systemd, and its proxy as the kernel names it


def problems(wanted: t.Mapping[str, t.Any], apps: t.Iterable[str]) -> list[str]:
    """What the host cannot give, each with the fix.

    Args:
        wanted: C(calendars), C(unit_lines), C(listens) and C(paths), as ``checks.places.on_host`` makes them.
        apps: Names of all apps, those that are only on the host included.
    """
    return [
        *calendar_problems(wanted.get("calendars") or []),
        *unit_problems(wanted.get("unit_lines") or []),
        *listen_problems(wanted.get("listens") or {}),
        *path_problems([Asked(**asked) for asked in wanted.get("paths") or []], list(apps)),
    ]


def calendar_problems(calendars: t.Sequence[Value], program: str = SYSTEMD_ANALYZE) -> list[str]:
    """Times that this host's systemd does not take. It is asked once for all, and again only to find out which."""
    values = list(dict.fromkeys(calendar["value"] for calendar in calendars))
    if not values or not _refusal(values, program):
        return []
    reasons = {value: _refusal([value], program) for value in values}
    return [
        f'app "{calendar["app"]}": {calendar["setting"]} is "{calendar["value"]}", which systemd does not take '
        f"({reasons[calendar['value']]}); write such as daily, Mon..Fri 06:30 or *-*-* 03:00:00, and try it with "
        f"`systemd-analyze calendar`"
        for calendar in calendars
        if reasons[calendar["value"]]
    ]


def _refusal(values: t.Sequence[str], program: str) -> str:
    """Why systemd does not take one of these times; empty when it takes all, or cannot be asked."""
    command = [program, "calendar", "--", *values]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return (said[0] if said else f"it ended with {done.returncode}") if done.returncode else ""


def unit_problems(lines: t.Sequence[Value], program: str = SYSTEMD_ANALYZE) -> list[str]:
    """Lines of a unit that this host's systemd would ignore. It is asked once for all of them."""
    if not lines:
        return []
    with tempfile.TemporaryDirectory() as folder:
        unit = Path(folder, "check.service")
        unit.write_text("".join(f"{line}\n" for line in ("[Service]", "ExecStart=/bin/true", *_values(lines))))
        command = [program, "verify", "--man=no", "--recursive-errors=no", str(unit)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, timeout=30)
        except (OSError, subprocess.TimeoutExpired):
            return []
    said = re.findall(r"check\.service:(\d+): (.*?)(?:, ignoring.*)?$", done.stderr, re.MULTILINE)
    wrong = {int(number) - FIRST_LINE: reason for number, reason in said if int(number) >= FIRST_LINE}
    return [
        f'app "{lines[at]["app"]}": {lines[at]["setting"]} has "{lines[at]["value"]}", which systemd ignores '
        f"({reason}); correct it, as systemd.directives(7) lists them"
        for at, reason in wrong.items()
    ]


def _values(lines: t.Sequence[Value]) -> list[str]:
    return [line["value"] for line in lines]


def listen_problems(
    listens: t.Mapping[str, str], proc: Path = Path("/proc"), units: Path = Path("/etc/systemd/system")
) -> list[str]:
    """Addresses that another program than an app's own socket unit listens on."""
    ports = {app: int(address.rpartition(":")[2]) for app, address in listens.items()}
    held = state.listeners(ports.values(), proc) if ports else {}
    taken = {app: held[str(port)] for app, port in ports.items() if held[str(port)]}
    ours = _addresses(units) if taken else set()
    return [
        f'app "{app}": listen is {listens[app]}, and {program} has that port; choose another port, or stop that program'
        for app, program in taken.items()
        if not (listens[app] in ours and program in OWN) and _conflicts(listens[app], proc)
    ]


def _addresses(units: Path) -> set[str]:
    """Addresses of the socket units of all apps. One that changes hands is the release's to sort out."""
    texts = [path.read_text(errors="replace") for path in units.glob("*.listen.socket")]
    return {
        line for text in texts if UNIT_MARK in text for line in re.findall(r"^ListenStream=(.*)$", text, re.MULTILINE)
    }


def _conflicts(address: str, proc: Path) -> bool:
    """Whether a listener has just this address, or all of them."""
    wanted, _colon, port = address.rpartition(":")
    return any(found in (_kernel(wanted), *ANY) for found in state.listening_addresses(int(port), proc))


def _kernel(address: str) -> str:
    """An address as /proc/net/tcp and tcp6 have it: words of four bytes, each in the host's order, little endian."""
    plain = address.strip("[]")
    data = socket.inet_pton(socket.AF_INET6 if ":" in plain else socket.AF_INET, plain)
    return "".join(data[at : at + 4][::-1].hex().upper() for at in range(0, len(data), 4))


def _as_known(place: str, resolve: t.Callable[[str], str]) -> str:
    """A path by the name that everybody knows it by, where that is a link, such as of /srv to another disk."""
    for known in ("/srv", "/var/lib", "/var"):
        real = normal(resolve(known))
        if real != known and within(place, real):
            return normal(f"{known}/{place[len(real) :]}")
    return place


def path_problems(
    paths: t.Sequence[Asked], apps: t.Sequence[str], resolve: t.Callable[[str], str] = os.path.realpath
) -> list[str]:
    """Paths that lead by symlinks to what belongs to the host or to another app."""
    found = []
    for asked in paths:
        place = _as_known(normal(resolve(normal(asked.path))), resolve)
        meant = asked._replace(allowed=[*asked.allowed, *map(resolve, asked.allowed)])
        wrong = why_foreign(meant, place, apps)
        if wrong:
            leads = "" if place == normal(asked.path) else f" and leads to {place},"
            found.append(
                f'app "{asked.app}": {asked.setting} has "{asked.path}",{leads} {wrong}; name another directory, or '
                f"write release: {{foreign_paths: [{place}]}} if you mean it"
            )
    return found
