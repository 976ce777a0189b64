# SPDX-License-Identifier: GPL-3.0-or-later
"""The sandbox of builds: what its unit may do, how programs get there, and that nothing waits for a hostile one."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.build import program, sandbox

SANDBOX = sandbox.SystemdSandbox()
HERE = Path("/srv/api/builds")


@pytest.mark.parametrize(
    "line",
    [
        "DynamicUser=yes",
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=",
        "ProtectSystem=strict",
        "RestrictSUIDSGID=yes",
        "KillMode=control-group",
        "RuntimeMaxSec=1800",
        "BindPaths=/var/cache/private/wsgi-build/api:/srv/api/builds",
        "BindReadOnlyPaths=/srv/wheels",
    ],
)
def test_unit_of_a_build(line: str) -> None:
    assert f"--property={line}" in SANDBOX.build("api", HERE, 1800, [Path("/srv/wheels")])


def users(*commands: list[str]) -> set[str]:
    return {part for command in commands for part in command if part.startswith("--property=User=")}


def test_users_are_different_and_no_apps() -> None:
    found = users(
        SANDBOX.build("api", HERE, 1, []),
        SANDBOX.service("api", 1),
        SANDBOX.build("shop", HERE, 1, []),
        SANDBOX.build("a" * 30, HERE, 1, []),
    )
    names = [part.rpartition("=")[2] for part in found]
    assert len(names) == 4
    assert all(name.startswith("_wsgi_") and len(name) <= 31 for name in names)


def run(code: str, limit: int = 60) -> sandbox.Outcome:
    return sandbox.run([sys.executable, "-c", code], b"", None, limit)


def test_first_line_is_what_was_told_first() -> None:
    outcome = run("print('first', flush=True); print('second'); print('x' * 10**6)")
    assert (outcome.code, outcome.told) == (0, "first\n")


def test_flood_of_output_is_read_and_little_of_it_kept() -> None:
    outcome = run("import sys; sys.stderr.write('x' * 10**7 + 'end'); sys.exit(3)")
    assert outcome.code == 3
    assert outcome.errors.endswith("xend")
    assert len(outcome.errors) <= sandbox.OUTPUT_KEPT


def test_output_that_somebody_holds_open_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "LEFT_OPEN", 0.1)
    code = "import os, time; child = os.fork(); print(child, flush=True) if child else time.sleep(600)"
    outcome = run(code, limit=600)
    os.kill(int(outcome.told), signal.SIGKILL)  # fails for one that has ended
    assert outcome.code == 0


def test_modules_are_sent_as_text_and_secrets_are_on_no_command_line() -> None:
    sent = sandbox.parcel([program], {"secret": "hunter2"})
    assert sent.endswith(b"\n")
    assert sent.count(b"\n") == 1
    assert b"def main(job" in sent
    assert not any("hunter2" in part for part in SANDBOX.service("api", 1))


def test_workshop_is_cleared_but_for_the_cache(tmp_path: Path) -> None:
    (tmp_path / "cache/uv").mkdir(parents=True)
    (tmp_path / "home/closed").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    (tmp_path / "link").symlink_to("secret")
    sandbox.clear_workshop(tmp_path, cache=False)
    assert os.listdir(tmp_path) == ["cache"]
    sandbox.clear_workshop(tmp_path, cache=True)
    assert os.listdir(tmp_path) == []
