# SPDX-License-Identifier: GPL-3.0-or-later
"""What should run, compared with what runs; and which release is gone back to."""

from __future__ import annotations

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.release import layout, plan
from fake_systemd import APP, FakeSystemd, at_boot, configure, desired, full, roll_back, run, serving


def test_first_release_serves_and_starts_at_boot(paths: layout.Paths, systemd: FakeSystemd) -> None:
    step, failures = run(paths, systemd, desired())
    assert (failures, step.kind, step.reasons) == ([], "deploy", ["first release"])
    assert serving(paths) == "1"
    assert at_boot(paths) == {"1"}
    assert (paths.units / "multi-user.target.wants" / f"{APP}.target").is_symlink()


def test_second_run_does_nothing(paths: layout.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, desired())
    systemd.calls.clear()
    step, failures = run(paths, systemd, desired())
    assert (step.kind, failures, systemd.calls) == ("none", [], [])


@pytest.mark.parametrize("change", [{"build": "b2"}, {"config": "c2"}, {"settings": "s2"}, {"environment": 'A="2"\n'}])
def test_every_part_of_a_release_makes_a_new_one(
    paths: layout.Paths, systemd: FakeSystemd, change: dict[str, str]
) -> None:
    run(paths, systemd, desired())
    step, failures = run(paths, systemd, desired(**change))
    assert (failures, step.kind, step.reasons) == ([], "deploy", list(change))
    assert serving(paths) == "2"
    assert list(systemd.running) == [f"{APP}@2.service"]
    assert at_boot(paths) == {"2"}


def test_dead_instance_is_brought_back(paths: layout.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, desired())
    systemd.stop(f"{APP}@1.service")
    step, failures = run(paths, systemd, desired())
    assert (step.kind, failures) == ("heal", [])
    assert step.reasons == [f"{APP}@1.service is inactive"]
    assert serving(paths) == "1"


def test_instance_that_answers_badly_is_restarted(paths: layout.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, desired())
    (paths.release(APP, "1") / "etc" / "behaviour").write_text("500")
    systemd.restart(f"{APP}@1.service")
    (paths.release(APP, "1") / "etc" / "behaviour").write_text("200")
    step, failures = run(paths, systemd, desired())
    assert (step.kind, failures, serving(paths)) == ("heal", [], "1")


def test_changed_unit_file_is_put_right(paths: layout.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, desired())
    (paths.units / f"{APP}@.service").write_text("edited by hand")
    step, _failures = run(paths, systemd, desired())
    assert step.kind == "heal"
    assert (paths.units / f"{APP}@.service").read_text() == "unit"


def test_rollback_brings_code_settings_and_environment_back(paths: layout.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, desired(settings="first"))
    (paths.root / APP / "builds" / "b2").mkdir(exist_ok=True)
    run(paths, systemd, desired(build="b2", settings="second", environment='A="2"\n'))
    assert roll_back(paths, systemd) == []
    assert serving(paths) == "1"
    assert paths.settings(APP, "1").read_text().startswith("first\n")
    assert list(systemd.running) == [f"{APP}@1.service"]
    assert (paths.root / APP / "builds" / "b2").exists(), "a rollback must leave the way back"


def test_rollback_passes_over_what_failed_and_what_was_rolled_back_from(
    paths: layout.Paths, systemd: FakeSystemd
) -> None:
    run(paths, systemd, desired(environment="1", keep=5))
    run(paths, systemd, desired(environment="2", keep=5))
    configure(paths, "500")
    run(paths, systemd, desired(environment="3", keep=5))
    configure(paths, "200")
    run(paths, systemd, desired(environment="4", keep=5))
    assert roll_back(paths, systemd) == []
    assert serving(paths) == "2"
    run(paths, systemd, desired(environment="5", keep=5))
    assert roll_back(paths, systemd) == []
    assert serving(paths) == "2", "4 was rolled back from and 3 has failed"


def test_rollback_to_a_release_by_number(paths: layout.Paths, systemd: FakeSystemd) -> None:
    for number in ("1", "2"):
        run(paths, systemd, desired(environment=number))
    assert roll_back(paths, systemd, "1") == []
    assert roll_back(paths, systemd, "2") == []
    assert serving(paths) == "2"


@pytest.mark.parametrize(("target", "words"), [("7", "no good release 7"), (plan.PREVIOUS, "no earlier good release")])
def test_rollback_to_nothing_names_the_choice(
    paths: layout.Paths, systemd: FakeSystemd, target: str, words: str
) -> None:
    run(paths, systemd, desired())
    with pytest.raises(plan.ReleaseError, match=f'app "{APP}": there is {words} .* from 1; .* are: none'):
        roll_back(paths, systemd, target)


def test_rollback_that_fails_leaves_the_current_one_and_rules_the_target_out(
    paths: layout.Paths, systemd: FakeSystemd
) -> None:
    for number in ("1", "2"):
        run(paths, systemd, desired(environment=number, source=f"commit {number}"))
    (paths.release(APP, "1") / "etc" / "behaviour").write_text("500")
    (message,) = roll_back(paths, systemd)
    assert "release 1 (commit 1) was not activated, release 2 still serves" in message
    assert serving(paths) == "2"
    assert not layout.has_proved(paths, APP, "1")


def test_dead_workers_and_timers_are_brought_back(paths: layout.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, full())
    before = set(systemd.up)
    systemd.up.clear()
    step, failures = run(paths, systemd, full())
    assert (step.kind, failures, systemd.up) == ("heal", [], before)
