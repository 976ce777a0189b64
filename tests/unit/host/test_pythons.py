# SPDX-License-Identifier: GPL-3.0-or-later
"""Interpreters that a host lacks: which one uv has installed, why it could not, and when one goes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.webops.wsgi.plugins.action.app_build import lacking
from ansible_collections.webops.wsgi.plugins.module_utils.build.inputs import BuildError, choose_python
from ansible_collections.webops.wsgi.plugins.module_utils.host import pythons

# Installs what `patches` says of a version, as uv does, with the link that uv moves on to a later patch.
UV = """#!/bin/sh
for version; do :; done
env | sort >"$0.environment"
echo "$*" >"$0.arguments"
cd "$UV_PYTHON_INSTALL_DIR" && : >.lock && chmod 666 .lock || exit 1
for patch in $(cat "$0.patches"); do
    made=cpython-$version.$patch-linux-x86_64-gnu
    mkdir -p "$made/bin" && cp /bin/true "$made/bin/python$version" && touch "$made/BUILD"
done
mkdir -p "cpython-$version.99+freethreaded-linux-x86_64-gnu"
ln -sfn "$PWD/$made" "cpython-$version-linux-x86_64-gnu"
"""
FAILS = """#!/bin/sh
cat >&2 <<'END'
error: Failed to install cpython-3.12.16-linux-x86_64-gnu
  cause: Request failed after 3 retries in 8.2s
  cause: Failed to download `https://mirror.example.com/cpython-3.12.16.tar.gz`
  cause: dns error
  cause: Name or service not known
END
exit 1
"""


def program(folder: Path, text: str, version: str = "1.0") -> str:
    uv = folder / f"uv-{version}" / "bin" / "uv"
    uv.parent.mkdir(parents=True)
    uv.write_text(text)
    uv.chmod(0o755)
    return str(uv)


@pytest.fixture
def installer(tmp_path: Path) -> pythons.Installer:
    uv = program(tmp_path, UV)
    Path(f"{uv}.patches").write_text("9 10")
    return pythons.Installer(uv, mirror="https://mirror.example.com/x", folder=tmp_path / "pythons")


def test_newest_patch_is_the_version_s_and_root_s(installer: pythons.Installer) -> None:
    path = installer.folder / "cpython-3.12.10-linux-x86_64-gnu/bin/python3.12"
    assert pythons.install("3.12", installer) == str(path)
    assert pythons.installed(installer) == {"3.12": str(path)}
    assert (installer.folder / ".lock").stat().st_mode & 0o777 == 0o600
    environment = Path(f"{installer.uv}.environment").read_text()
    assert "UV_PYTHON_INSTALL_MIRROR=https://mirror.example.com/x\n" in environment
    assert f"HOME={os.environ['HOME']}\n" not in environment


def test_a_later_uv_brings_a_later_patch_and_the_one_before_stays(installer: pythons.Installer, tmp_path: Path) -> None:
    first = pythons.install("3.12", installer)
    later = pythons.Installer(program(tmp_path, UV, "1.1"), folder=installer.folder)
    assert pythons.installed(later) == {}
    Path(f"{later.uv}.patches").write_text("11")
    assert pythons.install("3.12", later).endswith("cpython-3.12.11-linux-x86_64-gnu/bin/python3.12")
    assert pythons.installed(installer) == {"3.12": first}


def test_an_interrupted_installation_is_none(installer: pythons.Installer) -> None:
    pythons.install("3.12", installer)
    installer.link("3.12").unlink()
    assert pythons.installed(installer) == {}


def test_reason_is_one_line_with_the_address_and_the_last_cause(tmp_path: Path) -> None:
    with pytest.raises(pythons.PythonError) as error:
        pythons.install("3.12", pythons.Installer(program(tmp_path, FAILS), folder=tmp_path / "pythons"))
    assert str(error.value) == (
        "Failed to install cpython-3.12.16-linux-x86_64-gnu: Failed to download "
        "`https://mirror.example.com/cpython-3.12.16.tar.gz`: Name or service not known"
    )


def test_interpreter_goes_with_the_last_build_that_uses_it(installer: pythons.Installer, tmp_path: Path) -> None:
    used, other = (Path(pythons.install(version, installer)) for version in ("3.12", "3.14"))
    venv = tmp_path / "srv/api/builds/1/venv/bin"
    venv.mkdir(parents=True)
    (venv / "python").symlink_to(used)
    root = tmp_path / "srv"
    pythons.remove_unused(root, installer.folder)
    assert other.exists(), "one just installed may have no build yet"
    for path in installer.folder.glob("cpython-*.*.*"):
        os.utime(path, (1, 1), follow_symlinks=False)
    pythons.remove_unused(root, installer.folder)
    assert pythons.installed(installer) == {"3.12": str(used)}
    left = sorted(path.name for path in installer.folder.iterdir() if path.name != ".lock")
    assert left == ["3.12-by-uv-1.0", "cpython-3.12-linux-x86_64-gnu", "cpython-3.12.10-linux-x86_64-gnu"]


def test_versions_that_the_host_lacks_are_told_once() -> None:
    versions = ("", "3.13", "3.12", "3.12", "3.14")
    apps = [{"python": {"version": version}, "runtime": "process"} for version in versions]
    apps.append({"python": {"version": "3.15"}, "runtime": "container"})  # which has its own
    assert lacking(apps, {"python": {"3.13": "/usr/bin/python3.13"}}) == ["3.12", "3.14"]


def test_a_python_that_is_not_to_be_installed_is_named_with_what_the_host_has() -> None:
    with pytest.raises(BuildError, match=r'"api": python.version is "3.99".* it has 3.13 \(/p\).*_downloads to true'):
        choose_python("api", "3.99", {"3.13": "/p"}, "3.13")


def test_a_python_that_cannot_be_installed_is_named_with_the_mirror_s_variable() -> None:
    with pytest.raises(BuildError) as error:
        choose_python("api", "3.12", {"3.13": "/p"}, "3.13", "Failed to download")
    assert str(error.value).startswith(
        'app "api": python.version is "3.12", which this host does not have and uv could not install: Failed to '
        "download. Set python_app_python_mirror to"
    )
