# SPDX-License-Identifier: GPL-3.0-or-later
"""How Docker Compose is asked, with a program in its place that answers as it does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.compose.engine import ComposeError, Engine

SCRIPT = """#!/bin/sh
case "$*" in
"compose version"*) echo 2.26.1 ;;
ps*) cat "$PLACES" ;;
*certificates*once*)
    printf 'Saving\\n  Domain: a.example.com\\n  Type:   dns\\n  Detail: no such name\\nHint: ...\\n'
    echo 'Some challenges have failed.' >&2
    exit 1
    ;;
esac
"""


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directories of projects of the name that run."""
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(SCRIPT)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PLACES", str(tmp_path / "places"))
    return tmp_path / "places"


def test_a_project_of_the_same_name_elsewhere_is_left_alone(places: Path) -> None:
    places.write_text("/srv/compose\n\n")
    Engine(Path("/srv/compose"), "wsgi").check()
    with pytest.raises(
        ComposeError, match=r'compose_project is "wsgi", .* runs from /srv/compose: .* write another name'
    ):
        Engine(Path("/home/me/notes"), "wsgi").check()


@pytest.mark.usefixtures("places")
def test_what_an_authority_refused_is_told_in_its_own_words() -> None:
    with pytest.raises(
        ComposeError, match=r"(?s)for its domains.*Domain: a\.example\.com\nType:   dns\nDetail: no such name$"
    ):
        Engine(Path("/srv/compose"), "wsgi").certify("api")
