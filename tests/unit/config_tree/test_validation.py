"""What the validator refuses, and where the mistake is."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree import commands, validation
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.apply import apply
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.files import TreeError, TreeFile
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.generation import Live, read_live
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.plan import make_plan
from tree_program import Program, applied, make_spec, site, snapshot


@pytest.mark.parametrize("fresh", [True, False])
def test_a_refused_tree_changes_nothing_and_names_its_place(program: Program, fresh: bool) -> None:
    if not fresh:
        applied(make_spec(program, site("api")))
    spec = make_spec(program, site("api"), site("reports", "fine;\nwrong word;\n"))
    before = snapshot(program.folder)
    for _again in range(2):
        with pytest.raises(TreeError) as caught:
            apply(spec)
        etc = program.folder / "etc"
        assert str(caught.value).splitlines()[:2] == [
            'app "reports": sites/reports.conf, line 3',
            "    3 | wrong word;",
        ]
        assert f'unknown directive "wrong" in {etc}/tree/sites/reports.conf:3' in str(caught.value)
        assert ".preview" not in str(caught.value)
        assert ".new" not in str(caught.value)
        assert caught.value.details["file"] == "sites/reports.conf"
        assert caught.value.details["owner"] == 'app "reports"'
        assert snapshot(program.folder) == before


def test_a_mistake_in_the_entry_point_is_found_through_its_link(program: Program) -> None:
    with pytest.raises(TreeError, match=r"^main\.conf, line 2\n    2 \| wrong;"):
        apply(make_spec(program, files=[TreeFile("main.conf", "generation @GENERATION@;\nwrong;\n")]))


def test_an_error_without_a_place_is_traced_by_the_value_it_quotes(program: Program) -> None:
    with pytest.raises(TreeError, match=r'^app "b": sites/b.conf, line 2'):
        apply(make_spec(program, site("a"), site("b", "missing /etc/tls/b.pem\n")))


def test_the_file_that_nginx_started_with_is_not_the_place(program: Program) -> None:
    said = (
        f"nginx: the configuration file {program.main} syntax is ok\n"
        'nginx: [emerg] no "ssl_certificate_key" is defined for certificate "/no-such.pem"\n'
        f"nginx: configuration file {program.main} test failed\n"
    )
    spec = make_spec(program, site("api", "ssl_certificate /no-such.pem;\n"))
    found = validation.locate(spec, make_plan(spec, Live()), said)
    assert found is not None
    assert found[0].dest == "sites/api.conf"


def test_what_is_found_when_blocks_are_put_together_is_traced_to_its_line(program: Program) -> None:
    """nginx names the line that closes the outermost block."""
    main = TreeFile("main.conf", "http {\n    include sites;\n}\n")
    said = f'nginx: [emerg] "cache" zone "nowhere" is unknown in {program.main}:3\n'
    files = [main, site("api", "cache here;\n"), site("two", "cache nowhere;\n")]
    spec = dataclasses.replace(make_spec(program), files=files)
    found = validation.locate(spec, make_plan(spec, Live()), said)
    assert found == (files[2], 2)


def test_warnings_of_the_validator_are_passed_on(program: Program) -> None:
    etc = program.folder / "etc"
    outcome = applied(make_spec(program, site("api", "odd;\n")))
    assert outcome.warnings == [f"program: [warn] odd in {etc}/tree/sites/api.conf:2"]


def test_a_validator_that_is_missing_is_an_error_outside_check_mode(program: Program) -> None:
    before = snapshot(program.folder)
    with pytest.raises(TreeError, match="there is no program no-such-validator on this host"):
        apply(make_spec(program, validate="no-such-validator {preview}"))
    assert snapshot(program.folder / "etc") == {
        name.removeprefix("etc/"): value for name, value in before.items() if name.startswith("etc/")
    }


def test_log_lines_lose_time_and_process() -> None:
    assert commands.tidy("2026/11/22 13:57:46 [emerg] 467#467: unknown") == "[emerg] unknown"
    assert commands.tidy("nginx: [emerg] unknown") == "nginx: [emerg] unknown"
    assert commands.tidy("anything else") == "anything else"


def test_what_is_there_twice_is_also_looked_for_in_what_is_kept(program: Program) -> None:
    applied(make_spec(program, site("gone", "place /sub;\n")))
    why = 'kept for the app "gone", which the inventory does not name'
    spec = make_spec(program, site("api", "place /sub;\n"), keep={"sites/gone.conf": why})
    said = f"[emerg] duplicate place in {spec.root}/sites/api.conf:2"
    error = validation.explain(spec, make_plan(spec, read_live(spec)), said, 1, "/preview", "/tree")
    assert str(error).splitlines()[:3] == [
        'app "api": sites/api.conf, line 2',
        "    2 | place /sub;",
        f"    sites/gone.conf has it too, {why}",
    ]
