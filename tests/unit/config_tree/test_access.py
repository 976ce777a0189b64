# SPDX-License-Identifier: GPL-3.0-or-later
"""config_tree_access: others neither look into a tree nor read the logs of its program, from the first moment on."""

from __future__ import annotations

import dataclasses
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.apply import apply
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.files import TreeError
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.spec import Spec
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.state import in_place
from tree_program import Program, applied, killed_at, make_spec, site


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    (tmp_path / "log").mkdir()
    return tmp_path / "log"


def closed(program: Program, logs: Path, **changes: Any) -> Spec:
    given = {"readers": "root", "private_logs": [str(logs / "api.log")], "private_logs_group": "adm", **changes}
    return make_spec(program, site("api"), **given)


def asked(spec: Spec) -> str:
    return in_place(dataclasses.replace(spec, files=(), validate="", reload="", logs=()))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_tree_is_closed_and_its_log_is_made(program: Program, logs: Path) -> None:
    spec = closed(program, logs)
    assert applied(spec).reloaded
    assert mode(program.folder / "etc/tree.d") == 0o750
    assert mode(logs / "api.log") == 0o640
    assert (logs / "api.log").group() == "adm"
    assert asked(spec)
    assert not apply(spec).changed


def test_the_validator_finds_the_log_made(program: Program, logs: Path) -> None:
    """It opens it, as nginx does, and would make it for everybody to read."""
    body = f"path = {str(logs / 'api.log')!r}\nassert os.stat(path).st_mode & 0o777 == 0o640\n"
    assert apply(closed(program, logs, validate=f"{program.script('looks', body)} {{preview}}")).changed


def test_a_log_that_a_check_run_makes_is_closed_too(program: Program, logs: Path) -> None:
    body = f"open({str(logs / 'api.log')!r}, 'a')\n"
    spec = closed(program, logs, validate=f"{program.script('opens', body)} {{preview}}")
    assert apply(spec, check=True).changed
    assert mode(logs / "api.log") & 0o007 == 0


@pytest.mark.parametrize(
    ("name", "before", "after"), [("api.log", 0o644, 0o640), ("api.log.1", 0o644, 0o640), ("other.log", 0o666, 0o660)]
)
def test_what_was_open_is_closed_without_a_reload(
    program: Program, logs: Path, name: str, before: int, after: int
) -> None:
    spec = closed(program, logs)
    applied(spec)
    (logs / name).write_text("GET /secret\n")
    (logs / name).chmod(before)
    assert asked(spec) == ""
    done = applied(spec)
    assert (done.changed, done.reloaded) == (True, False)
    assert [item["before_header"] for item in done.diff] == [f"{logs / name} (access)"]
    assert mode(logs / name) == after
    assert (logs / name).read_text() == "GET /secret\n"
    assert asked(spec)


def test_a_tree_that_was_open_is_closed(program: Program, logs: Path) -> None:
    applied(closed(program, logs, readers=""))
    assert mode(program.folder / "etc/tree.d") == 0o755
    spec = closed(program, logs)
    assert asked(spec) == ""
    assert not applied(spec).reloaded
    assert mode(program.folder / "etc/tree.d") == 0o750


def test_a_link_in_the_place_of_a_log_is_left_alone(program: Program, logs: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("")
    target.chmod(0o644)
    (logs / "api.log").symlink_to(target)
    (logs / "old.log").symlink_to(target)
    spec = closed(program, logs)
    applied(spec)
    assert mode(target) == 0o644
    assert asked(spec)


def test_no_logs_where_there_is_no_directory_yet(program: Program, logs: Path) -> None:
    logs.rmdir()
    assert applied(closed(program, logs)).changed
    assert not logs.exists()


def test_a_killed_run_is_completed(program: Program, logs: Path) -> None:
    spec = closed(program, logs)
    assert killed_at(spec, "closed")
    assert mode(logs / "api.log") == 0o640
    assert mode(program.folder / "etc/tree.d") == 0o750
    assert applied(spec).reloaded


def test_a_user_that_the_host_lacks(program: Program, logs: Path) -> None:
    with pytest.raises(TreeError, match='"no-such-user" does not exist'):
        apply(closed(program, logs, private_logs_owner="no-such-user"))
