# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds of the test's own group, made without a sandbox, and a project that needs nothing to be built."""

from __future__ import annotations

import grp
import os
import sys
from pathlib import Path

from ansible_collections.webops.wsgi.plugins.module_utils.build import archive as tree_archive
from ansible_collections.webops.wsgi.plugins.module_utils.build import make
from ansible_collections.webops.wsgi.plugins.module_utils.build.inputs import BuildInputs
from bare_sandbox import BareSandbox

# A build belongs to the group that is named like its app; the test's own group always exists.
APP = grp.getgrgid(os.getgid()).gr_name
INPUTS = BuildInputs(
    app=APP,
    source={"tree": "1"},
    label="./app",
    python=f"3.{sys.version_info.minor}",
    interpreter=sys.executable,
    uv=str(Path(sys.executable).parent / "uv"),  # pip takes ten times as long
)
PROJECT = """\
[build-system]
requires = []
build-backend = "own"
backend-path = ["."]
[project]
name = "x"
version = "1"
"""
# A build back end of no dependency, which makes an empty package.
BACKEND = """\
import zipfile
def build_wheel(folder, settings=None, metadata=None):
    with zipfile.ZipFile(f"{folder}/x-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("x-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: x\\nVersion: 1\\n")
        wheel.writestr("x-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("x-1.dist-info/RECORD", "")
    return "x-1-py3-none-any.whl"
"""


def packed(folder: Path, files: dict[str, str]) -> Path:
    tree = folder / "tree"
    for name, text in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    tree_archive.pack(tree, files, folder / "source.tar.gz")
    return folder / "source.tar.gz"


def make_build(root: Path, inputs: BuildInputs, archive: Path | None) -> Path:
    return make.make_build(root, inputs, archive, BareSandbox(root))
