# SPDX-License-Identifier: GPL-3.0-or-later
"""What the collection's templates are compiled to is kept from run to run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible import constants
from ansible_collections.webops.wsgi.plugins.plugin_utils import rendering
from render import renderer


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory that Ansible has for the person who runs it."""
    known = constants.config.get_config_value
    ours = {"ANSIBLE_HOME": str(tmp_path)}
    monkeypatch.setattr(
        constants.config, "get_config_value", lambda name, **more: ours.get(name) or known(name, **more)
    )
    rendering._kept.cache_clear()
    yield tmp_path
    rendering._kept.cache_clear()


def unit() -> str:
    """A template of the collection's, rendered by what a new run would have."""
    return renderer("certbot").render("watch.timer.j2", {})


def kept(home: Path) -> list[Path]:
    return [path for path in home.rglob("*") if path.is_file()]


def test_a_template_is_compiled_once_for_many_runs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = unit()
    assert kept(home)
    monkeypatch.setattr(rendering._Environment, "compile", lambda *_: pytest.fail("compiled again"))
    assert unit() == first


def test_what_is_kept_is_for_its_owner_alone(home: Path) -> None:
    unit()
    assert {path.parent.stat().st_mode & 0o077 for path in kept(home)} == {0}


def test_another_text_is_compiled_anew(home: Path) -> None:
    made = rendering._Environment(lambda _name: None, lambda *_: "", [])
    assert made.compiled("/a.j2", "one").render() == "one"
    assert made.compiled("/a.j2", "two").render() == "two"
    assert len(kept(home)) == 1


def test_what_is_damaged_is_made_again(home: Path) -> None:
    first = unit()
    for path in kept(home):
        path.write_bytes(path.read_bytes()[:40])
    assert unit() == first


@pytest.mark.parametrize("where", ["", "webops.wsgi"])
def test_without_a_place_for_it_templates_are_rendered_all_the_same(home: Path, where: str) -> None:
    blocked = home / where if where else home
    if where:
        blocked.write_text("a file where the directory should be")
    else:
        blocked.rmdir()
        blocked.write_text("likewise")
    assert "[Timer]" in unit()


def test_a_full_disk_is_no_fault(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rendering.FileSystemBytecodeCache, "dump_bytecode", full)
    assert "[Timer]" in unit()
