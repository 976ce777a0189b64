# SPDX-License-Identifier: GPL-3.0-or-later
"""The tools that ask git for a version are told it, each by its own variable."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.build import versions


def needing(*tools: str, name: str = "My.app-x") -> str:
    return f"[build-system]\nrequires = {list(tools)}\n[project]\nname = '{name}'\n"


@pytest.mark.parametrize(
    ("files", "names"),
    [
        ({"pyproject.toml": needing("setuptools>=80")}, []),
        ({"pyproject.toml": needing("setuptools>=80", "Setuptools_SCM[toml]>=8")}, ["SETUPTOOLS_SCM_{}_FOR_MY_APP_X"]),
        ({"pyproject.toml": needing("hatchling", "hatch-vcs")}, ["SETUPTOOLS_SCM_{}"]),
        ({"pyproject.toml": needing("pdm-backend>=2")}, ["PDM_BUILD_SCM_VERSION"]),
        ({"pyproject.toml": needing("poetry-dynamic-versioning<2")}, ["POETRY_DYNAMIC_VERSIONING_BYPASS"]),
        ({"pyproject.toml": needing("uv-dynamic-versioning")}, ["UV_DYNAMIC_VERSIONING_BYPASS"]),
        ({"pyproject.toml": needing("pbr")}, ["PBR_VERSION"]),
        ({"setup.py": "setup(use_scm_version=True)"}, ["SETUPTOOLS_SCM_{}"]),
        (
            {"setup.cfg": "[metadata]\nname = a\n[options]\nsetup_requires = setuptools_scm\n"},
            ["SETUPTOOLS_SCM_{}_FOR_A"],
        ),
        (
            {"a/pyproject.toml": needing("setuptools-scm", name="a"), "b/pyproject.toml": needing("pbr")},
            ["PBR_VERSION", "SETUPTOOLS_SCM_{}_FOR_A"],
        ),
        ({"pyproject.toml": "{{ template }}", "setup.cfg": "no ini"}, []),
    ],
)
def test_variables(tmp_path: Path, files: dict[str, str], names: list[str]) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    expected = [name.format("PRETEND_VERSION") for name in names]
    assert versions.version_variables(tmp_path, "1.2") == dict.fromkeys(expected, "1.2")
    assert versions.version_variables(tmp_path, "") == {}
