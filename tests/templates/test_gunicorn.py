"""The command that starts an app's server."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from render import app, render


@pytest.mark.parametrize(
    "entrypoint",
    [
        "app:create_app()",
        'app:create_app("production")',
        """app:make("it's", 'a "b"  c', debug=False)""",
        "app:make('größe $HOME `id` \\\\ %i')",
    ],
)
def test_the_entry_point_reaches_the_server_as_it_is_written(tmp_path: Path, entrypoint: str) -> None:
    python = tmp_path / "app" / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\nfor last; do :; done\nprintf %s "$last"\n')
    python.chmod(0o755)
    start = tmp_path / "start"
    start.write_text(render("gunicorn", "start.j2", app=app(entrypoint=entrypoint)))
    done = subprocess.run(["sh", str(start)], env={"WSGI_RELEASE_DIR": str(tmp_path)}, capture_output=True, text=True)
    assert done.stdout == entrypoint, done.stderr
