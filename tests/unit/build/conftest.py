# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests here import `bare_sandbox` from beside them, and the archives that scenarios use too; a package index."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest


@pytest.fixture
def index(tmp_path: Path) -> str:
    """A package index in a directory, with two versions of a package that brings a program."""
    folder = tmp_path / "simple" / "greeter"
    folder.mkdir(parents=True)
    for version in ("1.0", "2.0"):
        info = f"greeter-{version}.dist-info"
        with zipfile.ZipFile(folder / f"greeter-{version}-py3-none-any.whl", "w") as wheel:
            wheel.writestr("greeter.py", f"def main():\n    print('hello', {version})\n")
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: greeter\nVersion: {version}\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/entry_points.txt", "[console_scripts]\ngreet = greeter:main\n")
            names = ["greeter.py", *(f"{info}/{name}" for name in ("METADATA", "WHEEL", "entry_points.txt", "RECORD"))]
            wheel.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in names))
    links = (f'<a href="{wheel.name}">{wheel.name}</a>' for wheel in sorted(folder.glob("*.whl")))
    (folder / "index.html").write_text("\n".join(links))
    return folder.parent.as_uri()
