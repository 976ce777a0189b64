# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose Debian packages cannot be installed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.host import packages


def without_a_and_not_both(packages: Sequence[str]) -> str:
    if "liba" in packages:
        return "Unable to locate package liba"
    return "libb : Conflicts: libc" if {"libb", "libc"} <= set(packages) else ""


def app(name: str, system: list[str], build: list[str]) -> dict[str, object]:
    return {"name": name, "system_packages": system, "build_packages": build}


def test_only_the_app_that_wants_it_is_named_with_the_key_and_the_package() -> None:
    apps = [app("good", ["libb"], ["gcc"]), app("bad", ["libb"], ["gcc", "liba"]), app("none", [], [])]
    assert packages.failures(apps, without_a_and_not_both) == [
        'app "bad": build_packages has liba, which apt cannot install on this host (Unable to locate package liba); '
        "correct the name, or add the archive that has it to the host"
    ]


def test_packages_that_do_not_go_together_are_all_named() -> None:
    (text,) = packages.failures([app("bad", ["libb"], ["libc"])], without_a_and_not_both)
    assert 'app "bad": system_packages has libb and build_packages has libc, which apt cannot install' in text
    assert "(libb : Conflicts: libc)" in text


def test_what_apt_says_is_its_errors_and_what_depends_on_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "apt-get"
    program.write_text(
        "#!/bin/sh\n"
        "echo Reading package lists...; echo 'The following packages have unmet dependencies:'\n"
        "echo ' libb : Depends: libz but it is not installable'; echo 'W: old lists' >&2\n"
        "echo 'E: Unable to correct problems' >&2; exit 100\n"
    )
    program.chmod(0o755)
    real = packages.subprocess.run
    monkeypatch.setattr(
        packages.subprocess, "run", lambda command, **options: real([str(program), *command[1:]], **options)
    )
    told = packages.refusal(["libb"])
    assert told == "libb : Depends: libz but it is not installable; Unable to correct problems"
    program.write_text("#!/bin/sh\nexit 0\n")
    assert packages.refusal(["libb"]) == ""
