# SPDX-License-Identifier: GPL-3.0-or-later
"""What an inventory asks of a host by name, and the host cannot give."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.host import marks, wishes
from ansible_collections.webops.wsgi.plugins.module_utils.host.paths import Asked

# Takes what systemd-analyze takes: a subcommand, two hyphens and times. It knows two times, and counts its calls.
ANALYZE = """#!/bin/sh
echo x >>"$0.calls"
[ "$1 $2" = "calendar --" ] || exit 2
shift 2
for time; do
    case "$time" in daily | hourly) continue ;; esac
    echo "Failed to parse calendar specification '$time': Invalid argument" >&2
    bad=1
done
exit ${bad:-0}
"""


@pytest.fixture
def analyze(tmp_path: Path) -> Path:
    program = tmp_path / "systemd-analyze"
    program.write_text(ANALYZE)
    program.chmod(0o755)
    return program


def calendar(value: str, number: int = 0) -> dict[str, str]:
    return {"app": "api", "setting": f"timers[{number}].on_calendar", "value": value}


def test_times_that_systemd_does_not_take(analyze: Path) -> None:
    times = [calendar("daily"), calendar("Fooday", 1), calendar("25:00", 2), calendar("daily", 3)]
    first, second = wishes.calendar_problems(times, str(analyze))
    assert first.startswith(
        'app "api": timers[1].on_calendar is "Fooday", which systemd does not take (Failed to parse'
    )
    assert "Mon..Fri 06:30" in first
    assert second.startswith('app "api": timers[2].on_calendar is "25:00"')


def test_systemd_is_asked_once_for_all_times_and_not_without_any(analyze: Path) -> None:
    calls = Path(f"{analyze}.calls")
    assert wishes.calendar_problems([], str(analyze)) == []
    assert not calls.exists()
    assert wishes.calendar_problems([calendar("daily"), calendar("hourly", 1)], str(analyze)) == []
    assert calls.read_text().count("x") == 1


def test_a_host_without_the_program_is_left_to_its_release(tmp_path: Path) -> None:
    assert wishes.calendar_problems([calendar("Fooday")], str(tmp_path / "nothing")) == []


@pytest.fixture
def held() -> Callable[[str], int]:
    """Listen on an address; returns the port."""
    sockets = []

    def hold(address: str) -> int:
        made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        made.bind((address, 0))
        made.listen()
        sockets.append(made)
        return int(made.getsockname()[1])

    yield hold
    for made in sockets:
        made.close()


def test_an_address_that_another_program_has(held: Callable[[str], int], tmp_path: Path) -> None:
    port = held("127.0.0.1")
    (problem,) = wishes.listen_problems({"api": f"127.0.0.1:{port}"}, units=tmp_path)
    assert problem.startswith(f'app "api": listen is 127.0.0.1:{port}, and ')
    assert "choose another port" in problem


def test_a_port_that_somebody_has_on_all_addresses(held: Callable[[str], int], tmp_path: Path) -> None:
    assert wishes.listen_problems({"api": f"127.0.0.1:{held('0.0.0.0')}"}, units=tmp_path)


def test_the_same_port_of_another_address_is_free(held: Callable[[str], int], tmp_path: Path) -> None:
    assert wishes.listen_problems({"api": f"127.0.0.2:{held('127.0.0.1')}"}, units=tmp_path) == []
    assert wishes.listen_problems({}, units=tmp_path) == []


def test_an_address_of_ipv6(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As the kernel lists it, for machines without IPv6."""
    monkeypatch.setattr(wishes.state, "listeners", lambda ports, _proc: dict.fromkeys(map(str, ports), "python3"))
    monkeypatch.setattr(wishes.state, "listening_addresses", lambda _port, _proc: {f"{0:024X}01000000"})
    assert wishes.listen_problems({"api": "[::1]:8123"}, units=tmp_path)
    assert wishes.listen_problems({"api": "[fd00::1]:8123"}, units=tmp_path) == []


@pytest.mark.parametrize(
    ("mark", "holder", "taken"),
    [(marks.UNIT_MARK, "systemd", False), ("somebody's", "systemd", True), (marks.UNIT_MARK, "python3", True)],
)
def test_the_app_s_own_address_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mark: str, holder: str, taken: bool
) -> None:
    (tmp_path / "api.listen.socket").write_text(f"# {mark}\n[Socket]\nListenStream=127.0.0.1:8123\nBacklog=1\n")
    monkeypatch.setattr(wishes.state, "listeners", lambda ports, _proc: dict.fromkeys(map(str, ports), holder))
    monkeypatch.setattr(wishes.state, "listening_addresses", lambda _port, _proc: {"0100007F"})
    assert bool(wishes.listen_problems({"api": "127.0.0.1:8123"}, units=tmp_path)) is taken


@pytest.mark.parametrize(
    ("leads_to", "allowed", "word"),
    [
        ("/etc/ssl", [], "leads to /etc/ssl, which belongs to the host (/etc)"),
        ("/srv/gone", [], 'leads to /srv/gone, which belongs to the app "gone"'),
        ("/var/lib/gone/x", [], 'which belongs to the app "gone"'),
        ("/", [], "which has /bin in it"),
        ("/etc/ssl", ["/etc/ssl"], ""),
        ("/etc/ssl", ["/srv/data"], ""),
        ("/mnt/disk/data", [], ""),
        ("/srv/data", [], ""),
    ],
)
@pytest.mark.parametrize("writable", [True, False])
def test_where_a_path_leads(leads_to: str, allowed: list[str], word: str, writable: bool) -> None:
    asked = Asked("api", "release.writable_paths", "/srv/data", allowed, writable)

    def resolve(path: str) -> str:
        return leads_to if path == "/srv/data" else path

    found = wishes.path_problems([asked], ["api", "gone"], resolve)
    assert bool(found) is bool(word)
    if word:
        assert word in found[0]
        assert f"foreign_paths: [{leads_to}]" in found[0]


@pytest.mark.parametrize(
    ("path", "word"),
    [("/data/srv/gone/releases", 'belongs to the app "gone"'), ("/srv/media", ""), ("/data/srv/media", "")],
)
def test_apps_that_are_on_another_disk_are_known_by_their_names(path: str, word: str) -> None:
    def resolve(asked: str) -> str:
        return f"/data{asked}" if asked.startswith("/srv") else asked

    found = wishes.path_problems([Asked("api", "release.writable_paths", path)], ["api", "gone"], resolve)
    assert (word in found[0]) if word else found == []


def test_all_wishes_at_once() -> None:
    asked = Asked("api", "release.writable_paths", "/etc")._asdict()
    wanted = {"paths": [asked], "calendars": [], "listens": {}}
    (problem,) = wishes.problems(wanted, ["api"])
    assert '"/etc", which belongs to the host' in problem
    assert wishes.problems({}, []) == []


def test_unit_lines_that_systemd_ignores_are_named(tmp_path: Path) -> None:
    """A stand-in for systemd-analyze says of the fourth line what the real one says."""
    analyze = tmp_path / "analyze"
    said = "$4:4: Unknown key 'CPUWeigth' in section [Service], ignoring."
    analyze.write_text(f'#!/bin/sh\nsed -n 4p "$4" | grep -q CPUWeigth || exit 0\necho "{said}" >&2\nexit 1\n')
    analyze.chmod(0o755)
    lines = [
        {"app": "api", "setting": "release.unit_extra", "value": value} for value in ("CPUWeight=50", "CPUWeigth=50")
    ]
    assert wishes.unit_problems(lines, str(analyze)) == [
        'app "api": release.unit_extra has "CPUWeigth=50", which systemd ignores '
        "(Unknown key 'CPUWeigth' in section [Service]); correct it, as systemd.directives(7) lists them"
    ]
    assert wishes.unit_problems(lines[:1], str(analyze)) == []
    assert wishes.unit_problems([], str(tmp_path / "nothing")) == []
    assert wishes.unit_problems(lines, str(tmp_path / "nothing")) == []
