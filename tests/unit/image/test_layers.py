# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files of a build are in which layer, and that equal builds give equal layers."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.image import layers
from ansible_collections.webops.wsgi.plugins.module_utils.image.bom import bill_of_materials

PACKAGES = "venv/lib/python3.13/site-packages"
STAMP = 1_000_000_000


def distribution(build: Path, name: str, folder: str = "", files: tuple[str, ...] = ()) -> None:
    info = build / PACKAGES / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.4\nName: {name.title()}\nVersion: 1.0\nLicense-Expression: MIT\n"
    )
    for file in files:
        path = build / PACKAGES / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x = 1\n")
    own = [f"{info.name}/METADATA", f"{info.name}/RECORD"]
    if folder:
        (info / "direct_url.json").write_text(json.dumps({"url": f"file://{folder}", "dir_info": {}}))
        own.append(f"{info.name}/direct_url.json")
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in (*own, *files)))


@pytest.fixture
def build(tmp_path: Path) -> Path:
    build = tmp_path / "wsgi" / "app"
    distribution(build, "flask", files=("flask/__init__.py",))
    distribution(build, "shop", "/wsgi/app/src", ("shop.py", "../../../bin/shop"))
    (build / PACKAGES / "__pycache__").mkdir()
    (build / PACKAGES / "__pycache__" / "shop.cpython-313.pyc").write_bytes(b"x")
    (build / "src").mkdir()
    (build / "src" / "app.py").write_text("y = 1\n")
    return build


def names(top: Path) -> set[str]:
    return {str(path.relative_to(top)) for path in top.rglob("*") if path.is_file()}


def split(build: Path, out: Path) -> tuple[Path, Path]:
    layers.split(build, out, STAMP)
    inner = build.relative_to("/")
    return out / "environment" / inner, out / "code" / inner


def test_what_the_project_installs_is_in_the_layer_of_the_code(build: Path, tmp_path: Path) -> None:
    environment, code = split(build, tmp_path / "out")
    assert f"{PACKAGES}/flask/__init__.py" in names(environment)
    assert not {name for name in names(environment) if "shop" in name}
    assert names(code) >= {
        "src/app.py",
        "venv/bin/shop",
        f"{PACKAGES}/shop.py",
        f"{PACKAGES}/__pycache__/shop.cpython-313.pyc",
        f"{PACKAGES}/shop-1.0.dist-info/RECORD",
    }


def test_a_record_that_names_files_outside_moves_none_of_them(build: Path, tmp_path: Path) -> None:
    (tmp_path / "passwd").write_text("root")
    record = build / PACKAGES / "shop-1.0.dist-info" / "RECORD"
    outside = os.path.relpath(tmp_path / "passwd", build / PACKAGES)
    record.write_text(f"{record.read_text()}{outside},,\n")
    split(build, tmp_path / "out")
    assert (tmp_path / "passwd").read_text() == "root"


def test_owner_permissions_and_times_are_nobody_s(build: Path, tmp_path: Path) -> None:
    (build / "src" / "app.py").chmod(0o4700)
    (build / "src" / "link").symlink_to("/var/lib/api/instance")
    environment, code = split(build, tmp_path / "out")
    assert (code / "src/app.py").stat().st_mode & 0o7777 == 0o755
    assert (code / "src/link").lstat().st_mtime == STAMP
    assert {path.lstat().st_mtime for path in code.rglob("*")} == {STAMP}
    assert {path.lstat().st_mtime for path in environment.rglob("*")} == {layers.LASTING_TIME}


def test_bytecode_is_the_same_whenever_it_is_made(tmp_path: Path) -> None:
    made = []
    for stamp in (STAMP, STAMP + 5):
        file = tmp_path / "same" / "module.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text("def f():\n    return 'x'\n")
        os.utime(file, (stamp, stamp))
        layers.compile_anew("python3", file.parent)
        [compiled] = file.parent.rglob("*.pyc")
        made.append(hashlib.sha256(compiled.read_bytes()).hexdigest())
    assert made[0] == made[1]


def test_the_bill_names_what_is_installed(build: Path) -> None:
    text = bill_of_materials(build / "venv", "shop", "1.0")
    bill = json.loads(text)
    assert [(item["name"], item["purl"]) for item in bill["components"]] == [
        ("flask", "pkg:pypi/flask@1.0"),
        ("shop", "pkg:pypi/shop@1.0"),
    ]
    assert bill["components"][0]["licenses"] == [{"expression": "MIT"}]
    assert bill["metadata"]["component"]["name"] == "shop"
    assert text == bill_of_materials(build / "venv", "shop", "1.0")
