# SPDX-License-Identifier: GPL-3.0-or-later
"""Which virtual environments are the same, and what a build takes over from an earlier one."""

from __future__ import annotations

import dataclasses
import grp
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.build import make, reuse
from ansible_collections.webops.wsgi.plugins.module_utils.build.inputs import BuildInputs
from ansible_collections.webops.wsgi.plugins.module_utils.build.requirements import (
    environment_recipe,
    installed_packages,
)
from bare_sandbox import BareSandbox

UV = BuildInputs(
    app=grp.getgrgid(os.getgid()).gr_name,
    source={"tree": "1"},
    label="./app",
    python=f"3.{sys.version_info.minor}",
    interpreter=sys.executable,
    uv=str(Path(sys.executable).parent / "uv"),
)

HASHED = """\
# the framework
flask==3.1.2 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
    # via -r requirements.in
tzdata==2025.2 ; sys_platform == "win32"  # via flask
celery[redis]==5.5.3
"""


def test_lines_of_a_file_with_hashes_and_comments() -> None:
    assert reuse.lines(HASHED) == [
        "flask==3.1.2",
        'tzdata==2025.2 ; sys_platform == "win32"',
        "celery[redis]==5.5.3",
    ]


@pytest.mark.parametrize(
    "requirement",
    ["flask", "flask>=3", "flask==3.*", "-e .", "-r other.txt", "./lib", "lib @ file:///lib", "a==1,<2", "--pre"],
)
def test_what_leaves_the_version_open_is_not_pinned(requirement: str) -> None:
    assert not reuse.is_pinned(requirement)


@pytest.mark.parametrize("change", [{"python": "3.99"}, {"index_url": "https://other.example.com/simple"}])
def test_recipe_changes_with_what_shapes_the_environment(change: dict[str, str]) -> None:
    runs = [["flask==3.1.2"]]
    assert environment_recipe(runs, UV) != environment_recipe(runs, dataclasses.replace(UV, **change))
    assert environment_recipe(runs, UV) != environment_recipe([["flask==3.1.3"]], UV)


def test_no_recipe_for_what_is_open_or_knows_its_place(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("flask\n")
    assert environment_recipe([["-r", str(tmp_path / "requirements.txt")]], UV) == ""
    assert environment_recipe([["./"]], UV) == ""
    assert environment_recipe([["flask==3.1.2"]], dataclasses.replace(UV, installer="pip")) == ""
    assert reuse.earlier(tmp_path, "") is None


def made(root: Path, index: str, tree: str, requirement: str) -> Path:
    source = root / f"{tree}.tar.gz"
    (root / "requirements.txt").write_text(f"{requirement}\n")
    with tarfile.open(source, "w:gz") as archive:
        archive.add(root / "requirements.txt", arcname="requirements.txt")
    inputs = dataclasses.replace(UV, index_url=index, source={"tree": tree})
    return make.make_build(root, inputs, source, BareSandbox(root))


def test_changed_code_takes_the_environment_over(tmp_path: Path, index: str) -> None:
    """It works in its new place, programs included, after the build that it came from is gone."""
    first = made(tmp_path, index, "first", "greeter==1.0")
    second = made(tmp_path, index, "second", "greeter==1.0")
    program = second / "venv/bin/greet"
    assert program.stat().st_ino == (first / "venv/bin/greet").stat().st_ino
    shutil.rmtree(first)
    greeted = subprocess.run([program], capture_output=True, text=True, check=True, env={"PATH": os.defpath})
    assert greeted.stdout == "hello 1.0\n"
    asked = [second / "venv/bin/python", "-c", "import sys, greeter; print(sys.prefix, greeter.__file__)"]
    places = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()
    assert places[0] == str(second / "venv")
    assert places[1].startswith(f"{second}/venv/lib/")


def test_other_requirements_make_an_environment_of_their_own(tmp_path: Path, index: str) -> None:
    first = made(tmp_path, index, "first", "greeter==1.0")
    second = made(tmp_path, index, "second", "greeter==2.0")
    third = made(tmp_path, index, "third", "greeter")
    assert installed_packages(first / "venv") == {"greeter": "1.0"}
    assert installed_packages(second / "venv") == installed_packages(third / "venv") == {"greeter": "2.0"}
