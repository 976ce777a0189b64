"""Reloads that fail, that were lost, that come too late."""

from __future__ import annotations

import os
import time

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree import reload as config_tree_reload
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.apply import apply
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.files import TreeError
from tree_program import Program, applied, check_valid, killed_at, make_spec, site, snapshot


class Clock:
    """Time that passes by waiting alone."""

    def __init__(self) -> None:
        self.now = time.time()

    def time(self) -> float:
        return self.now

    monotonic = time

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize("how", ["broken", "deaf"])
def test_a_reload_that_fails_puts_the_tree_before_back(program: Program, how: str) -> None:
    first = applied(make_spec(program, site("api")))
    before = snapshot(program.folder / "etc")
    getattr(program, how).touch()
    spec = make_spec(program, site("api", "more;\n"))
    with pytest.raises(TreeError) as caught:
        apply(spec)
    message = str(caught.value)
    if how == "broken":
        assert "ended with 1:\n    job failed\n    [emerg] bind() failed\n" in message
        assert "an old line" not in message
    else:
        assert f"still serves generation {first.generation}" in message
    assert f"Put back generation {first.generation}" in message
    assert snapshot(program.folder / "etc") == before
    getattr(program, how).unlink()
    assert apply(spec).changed
    assert program.generation() == os.path.basename(os.readlink(program.folder / "etc/tree"))


def test_a_program_that_logs_an_emergency_is_given_up_early(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(config_tree_reload, "time", clock)
    applied(make_spec(program, site("api")))
    program.deaf.touch()
    program.complains.touch()
    began = clock.now
    with pytest.raises(TreeError, match=r"\[emerg\] still could not bind"):
        apply(make_spec(program, site("api", "more;\n"), timeout=20.0))
    # Once for the tree that is refused, and once for the one before, which the program does not take either.
    assert clock.now - began < 2 * (config_tree_reload.EMERGENCY_TIMEOUT + 1)


def test_a_link_that_breaks_the_program_is_taken_back(program: Program) -> None:
    spec = make_spec(program, site("api"))
    applied(spec)
    main = program.folder / "etc/main.conf"
    main.unlink()
    main.write_text("by hand\n")
    program.broken.touch()
    with pytest.raises(TreeError, match="Put back generation"):
        apply(spec)
    assert main.read_text() == "by hand\n"
    program.broken.unlink()
    assert apply(spec).changed
    check_valid(program)


def test_a_first_reload_that_fails_puts_the_packages_own_file_back(program: Program) -> None:
    program.broken.touch()
    with pytest.raises(TreeError, match="Put back what was there before this tree"):
        apply(make_spec(program, site("api")))
    etc = program.folder / "etc"
    assert (etc / "main.conf").read_text() == "the package's own\n"
    assert not (etc / "main.conf").is_symlink()
    assert not (etc / "tree").exists()
    program.broken.unlink()
    assert apply(make_spec(program, site("api"))).changed


def test_a_reload_that_fails_without_a_word_is_not_called_good(program: Program) -> None:
    applied(make_spec(program, site("api")))
    silent = program.script("silent", "sys.exit(1)\n")
    with pytest.raises(TreeError, match=r"Put back generation .*, but reloading it failed as well: it ended with 1"):
        apply(make_spec(program, site("api", "more;\n"), reload=silent, running=""))


@pytest.mark.parametrize("running", [True, False])
def test_a_lost_reload_is_made_up_for(program: Program, running: bool) -> None:
    spec = make_spec(program, site("api", "more;\n"), **({} if running else {"running": ""}))
    applied(make_spec(program, site("api")))
    killed_at(spec, "linked" if not (program.folder / "etc/main.conf").is_symlink() else "switched")
    assert program.generation() != os.path.basename(os.readlink(program.folder / "etc/tree"))
    outcome = applied(spec)
    assert outcome.changed
    assert outcome.reloaded
    assert program.generation() == outcome.generation
    assert not applied(spec).changed


def test_a_program_that_lost_its_configuration_is_reloaded(program: Program) -> None:
    spec = make_spec(program, site("api"))
    applied(spec)
    program.state.unlink()
    outcome = applied(spec)
    assert outcome.changed
    assert program.generation() == outcome.generation


def test_a_tree_that_has_served_stays_when_the_program_fails_later(program: Program) -> None:
    applied(make_spec(program, site("api")))
    spec = make_spec(program, site("api", "more;\n"))
    applied(spec)
    before = snapshot(program.folder / "etc")
    program.state.unlink()
    program.broken.touch()
    with pytest.raises(TreeError, match="is unchanged and has served before"):
        apply(spec)
    assert snapshot(program.folder / "etc") == before


def test_a_tree_never_in_service_gives_way_when_the_made_up_reload_fails(program: Program) -> None:
    first = applied(make_spec(program, site("api")))
    spec = make_spec(program, site("api", "more;\n"))
    killed_at(spec, "switched")
    program.broken.touch()
    with pytest.raises(TreeError, match=f"Put back generation {first.generation}"):
        apply(spec)
    assert os.readlink(program.folder / "etc/tree") == f"tree.d/{first.generation}"
