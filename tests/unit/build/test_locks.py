# SPDX-License-Identifier: GPL-3.0-or-later
"""Lock files: which one decides, that it is followed to the letter, and that a stale one is no build."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from pathlib import Path

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.build import make
from ansible_collections.webops.wsgi.plugins.module_utils.build import project as build_project
from ansible_collections.webops.wsgi.plugins.module_utils.build.inputs import BuildError, BuildInputs
from ansible_collections.webops.wsgi.plugins.module_utils.build.locks import Lock
from ansible_collections.webops.wsgi.plugins.module_utils.build.requirements import installed_packages
from builds import BACKEND, INPUTS, PROJECT, make_build, packed

VIRTUAL = '[project]\nname = "api"\nversion = "1"\nrequires-python = ">=3.10"\ndependencies = ["greeter<2"]\n'


def written(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def locked(folder: Path, index: str, files: dict[str, str], project: str = ".") -> dict[str, str]:
    """The files of a project and the uv.lock that uv makes of them."""
    written(folder, files)
    environment = {"PATH": os.defpath, "HOME": str(folder), "UV_DEFAULT_INDEX": index, "UV_PYTHON": INPUTS.interpreter}
    subprocess.run([INPUTS.uv, "lock", "--quiet"], cwd=folder / project, env=environment, check=True)
    lock = next(folder.rglob("uv.lock"))
    return files | {str(lock.relative_to(folder)): lock.read_text()}


def inputs(index: str, **change: object) -> BuildInputs:
    return dataclasses.replace(INPUTS, index_url=index, **change)  # type: ignore[arg-type]


def test_lock_is_followed_and_named(tmp_path: Path, index: str) -> None:
    files = locked(tmp_path / "made", index, {"pyproject.toml": VIRTUAL})
    path = make_build(tmp_path, inputs(index), packed(tmp_path, files | {"app.py": ""}))
    assert installed_packages(path / "venv") == {"greeter": "1.0"}
    assert make.description(path)["requirements"] == "uv.lock"


def test_changed_code_takes_the_environment_of_a_lock_over(tmp_path: Path, index: str) -> None:
    files = locked(tmp_path / "made", index, {"pyproject.toml": VIRTUAL})
    first = make_build(tmp_path, inputs(index), packed(tmp_path, files | {"app.py": "a = 1"}))
    second = make_build(tmp_path, inputs(index, source={"tree": "2"}), packed(tmp_path, files | {"app.py": "a = 2"}))
    module = "lib/python*/site-packages/greeter.py"
    (one,), (two,) = ([*path.glob(f"venv/{module}")] for path in (first, second))
    assert one.samefile(two)


def test_stale_lock_fails_the_build(tmp_path: Path, index: str) -> None:
    files = locked(tmp_path / "made", index, {"pyproject.toml": VIRTUAL})
    files["pyproject.toml"] = VIRTUAL.replace("greeter<2", "greeter>1")
    with pytest.raises(BuildError, match=r"uv\.lock of \./app does not fit what it was made from; run `uv lock` and"):
        make_build(tmp_path, inputs(index), packed(tmp_path, files))


WORKSPACE = {
    "pyproject.toml": '[tool.uv.workspace]\nmembers = ["services/*", "libs/*"]\n',
    "libs/x/pyproject.toml": PROJECT + 'requires-python = ">=3.10"\n',
    "libs/x/own.py": BACKEND,
    "services/api/pyproject.toml": (
        '[project]\nname = "api"\nversion = "1"\nrequires-python = ">=3.10"\ndependencies = ["x"]\n'
        'optional-dependencies = {old = ["greeter<2"]}\n'
        '[dependency-groups]\nnew = ["greeter>1"]\n[tool.uv]\nconflicts = [[{extra = "old"}, {group = "new"}]]\n'
        "[tool.uv.sources]\nx = {workspace = true}\n"
    ),
}


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [({}, {}), ({"extras": ["old"]}, {"greeter": "1.0"}), ({"groups": ["new"]}, {"greeter": "2.0"})],
)
def test_member_of_a_workspace_has_its_lock(
    tmp_path: Path, index: str, chosen: dict[str, object], expected: dict[str, str]
) -> None:
    files = locked(tmp_path / "made", index, WORKSPACE, "services/api")
    wanted = inputs(index, subdirectory="services/api", **chosen)
    path = make_build(tmp_path, wanted, packed(tmp_path, files))
    assert make.description(path)["requirements"] == "../../uv.lock"
    assert installed_packages(path / "venv") == {"x": "1"} | expected


def test_lock_above_that_does_not_have_the_project_is_not_its(tmp_path: Path) -> None:
    source = written(tmp_path, {"uv.lock": "version = 1\n", "api/pyproject.toml": "", "pyproject.toml": ""})
    assert build_project.deciding_file(source, inputs("", subdirectory="api")) == source / "api/pyproject.toml"


def test_extra_that_the_lock_lacks_is_named(tmp_path: Path, index: str) -> None:
    files = locked(tmp_path / "made", index, {"pyproject.toml": VIRTUAL})
    with pytest.raises(BuildError, match=r"(?s)uv\.lock of \./app cannot be used:.*Extra `nope` is not defined"):
        make_build(tmp_path, inputs(index, extras=["nope"]), packed(tmp_path, files))


@pytest.mark.parametrize(
    ("files", "requirements", "expected"),
    [
        (["requirements.txt", "poetry.lock"], "", "poetry.lock"),
        (["requirements.txt", "poetry.lock"], "requirements.txt", "requirements.txt"),
        (["uv.lock", "pylock.toml"], "pylock.toml", "pylock.toml"),
        (["requirements.txt", "pyproject.toml"], "", "requirements.txt"),
        (["setup.py", "setup.cfg"], "", "setup.py"),
    ],
)
def test_which_file_decides(tmp_path: Path, files: list[str], requirements: str, expected: str) -> None:
    written(tmp_path, dict.fromkeys(files, ""))
    assert build_project.deciding_file(tmp_path, inputs("", requirements=requirements)) == tmp_path / expected


def test_locks_that_contradict_one_another_are_refused(tmp_path: Path) -> None:
    written(tmp_path, {"uv.lock": "", "poetry.lock": ""})
    with pytest.raises(BuildError, match=r"has uv\.lock and poetry\.lock, and one of them must decide"):
        build_project.deciding_file(tmp_path, inputs(""))


def test_poetry_s_project_that_is_no_package_needs_its_lock(tmp_path: Path) -> None:
    written(tmp_path, {"pyproject.toml": "[build-system]\n[tool.poetry]\npackage-mode = false\n"})
    with pytest.raises(BuildError, match=r"package-mode = false, so that only Poetry .* commit its poetry\.lock"):
        build_project.project_runs(tmp_path / "pyproject.toml", tmp_path, inputs(""))


# -- other tools, played by a program that writes down how it was called -------------------------------------------

PLAYED = """\
#!/bin/sh
echo "$@" >> calls
case "$*" in "$FAILS"*) echo "it is stale" >&2; exit 1;; esac
case "$1" in requirements) cat export;; export) for last; do :; done; cp export "$last";; esac
"""
EXPORT = "-i https://a.example.com/simple\n# made by\na==1 \\\n    --hash=sha256:aa\nb==2 --hash=sha256:bb\n../lib\n"


def played(folder: Path, lock: str, fails: str = "never", **change: object) -> Lock:
    written(folder, {lock: '{"packages": {}, "g": {}}', "export": EXPORT, "tool": PLAYED, "pyproject.toml": ""})
    (folder / "tool").chmod(0o755)
    environment = {"PATH": os.defpath, "FAILS": fails}
    return Lock(folder / lock, folder, inputs("", **change), environment, folder, lambda _name: str(folder / "tool"))


@pytest.mark.parametrize(
    ("lock", "chosen", "call"),
    [
        ("poetry.lock", {"extras": ["e"], "groups": ["g"]}, "export --without-urls"),
        ("pdm.lock", {"extras": ["e"]}, "lock --check\nexport --format requirements --prod --group e"),
        ("pdm.lock", {"groups": ["g"]}, "lock --check\nexport --format requirements --group g"),
        ("Pipfile.lock", {"groups": ["g"]}, "verify\nrequirements --hash --exclude-index --categories packages g"),
    ],
)
def test_export_of_another_tool(tmp_path: Path, lock: str, chosen: dict[str, object], call: str) -> None:
    runs = played(tmp_path, lock, **chosen).runs()
    assert (tmp_path / "calls").read_text().startswith(call)
    texts = [Path(run[2]).read_text() for run in runs[:2]]
    assert [run[:2] for run in runs[:2]] == [["--no-deps", "-r"]] * 2
    assert [text.split() for text in texts] == [
        ["a==1", "--hash=sha256:aa", "b==2", "--hash=sha256:bb"],
        ["../lib"],
    ]
    # Poetry's project is a package unless it says otherwise.
    assert runs[2:] == ([["--no-deps", str(tmp_path)]] if lock == "poetry.lock" else [])


@pytest.mark.parametrize(
    ("lock", "fails", "message"),
    [
        ("poetry.lock", "export", r"poetry\.lock of \./app cannot be used:\nit is stale"),
        ("pdm.lock", "lock --check", r"pdm\.lock of \./app does not fit .* run `pdm lock` and commit the result"),
        ("Pipfile.lock", "verify", r"Pipfile\.lock of \./app does not fit .* run `pipenv lock` and commit"),
    ],
)
def test_stale_lock_of_another_tool(tmp_path: Path, lock: str, fails: str, message: str) -> None:
    with pytest.raises(BuildError, match=message):
        played(tmp_path, lock, fails).runs()


def test_category_that_pipfile_lock_lacks(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r'python\.groups has "nope", which Pipfile\.lock of \./app lacks'):
        played(tmp_path, "Pipfile.lock", groups=["nope"]).runs()


@pytest.mark.parametrize(
    ("lock", "project", "expected"),
    [
        ("poetry.lock", "", True),
        ("poetry.lock", "[tool.poetry]\npackage-mode = false\n", False),
        ("pdm.lock", "[build-system]\n", True),
        ("pdm.lock", "[build-system]\n[tool.pdm]\ndistribution = false\n", False),
        ("Pipfile.lock", "[build-system]\n", False),
        ("pylock.toml", "[build-system]\n", True),
        ("pylock.toml", "", False),
    ],
)
def test_whether_the_project_itself_is_installed(tmp_path: Path, lock: str, project: str, expected: bool) -> None:
    written(tmp_path, {lock: "", "pyproject.toml": project})
    assert build_project.is_package(tmp_path, tmp_path / lock, inputs("")) == expected


def test_pylock_needs_uv(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"pylock\.toml is installed by uv alone; set python\.installer to uv"):
        played(tmp_path, "pylock.toml", installer="pip").runs()


# -- nothing that says it ------------------------------------------------------------------------------------------

IMPORTS = """\
import json, os.path
import flask.views as v, helpers
from sqlalchemy.orm import Session
from . import sibling
from package import thing
try:
    import ujson
except ImportError:
    pass
"""


@pytest.mark.parametrize(
    ("files", "change", "lacks"),
    [
        ({}, {}, ["flask", "sqlalchemy"]),
        ({"requirements.txt": ""}, {}, []),
        ({}, {"packages": ["greeter==1.0"]}, []),
    ],
)
def test_what_is_imported_and_not_installed_is_known(
    tmp_path: Path, index: str, files: dict[str, str], change: dict[str, object], lacks: list[str]
) -> None:
    tree = {"app.py": IMPORTS, "helpers.py": "", "package/__init__.py": "", "tests/test_a.py": "import pytest"}
    path = make_build(tmp_path, inputs(index, **change), packed(tmp_path, tree | files | {"bad.py": "{{ x"}))
    assert make.description(path)["lacks"] == lacks
