"""config_tree: what becomes of a tree on a host, step by step. The program that reads it is a small HTTP server."""

from __future__ import annotations

import dataclasses
import grp
import http.server
import json
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils import config_tree
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree import Outcome, Spec, TreeError, TreeFile, apply

STEPS = ["written", "validated", "named", "switched", "linked", "reloaded", "marked", "swept"]


class Program:
    """Stands in for nginx: `reload` makes it read main.conf, and it answers the generation that it has read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.main = folder / "etc/main.conf"
        self.log = folder / "error.log"
        self.state = folder / "generation-in-service"
        self.broken = folder / "reload-fails"
        self.deaf = folder / "reload-does-nothing"
        self.complains = folder / "reload-complains"
        self.reloads = folder / "reloads"
        self.url = ""
        self.log.write_text("an old line\n")

    def script(self, name: str, body: str) -> str:
        path = self.folder / name
        path.write_text(f"#!{sys.executable} -SE\nimport os, re, sys\n{body}")
        path.chmod(0o755)
        return str(path)

    @property
    def reload(self) -> str:
        return self.script(
            "reload",
            f"""
open({str(self.reloads)!r}, "a").write("x")
if os.path.exists({str(self.broken)!r}):
    open({str(self.log)!r}, "a").write("2026/01/02 03:04:05 [emerg] 12#12: bind() failed\\n")
    sys.exit("job failed")
if os.path.exists({str(self.complains)!r}):
    open({str(self.log)!r}, "a").write("[emerg] still could not bind()\\n")
if not os.path.exists({str(self.deaf)!r}):
    try:
        text = open({str(self.main)!r}).read()
    except OSError:
        text = ""
    found = re.search(r"generation (\\S+);", text)
    open({str(self.state)!r}, "w").write(found.group(1) if found else "")
""",
        )

    @property
    def validate(self) -> str:
        """Refuses the directive `wrong`; prints places as nginx does. Follows main.conf as the program would."""
        checker = self.script(
            "validate",
            """
import glob
folder = sys.argv[1]
assert os.path.exists(os.path.join(folder, "sibling.conf")), "siblings are not in the preview"
for path in [os.path.join(folder, "main.conf"), *sorted(glob.glob(os.path.join(folder, "tree/sites/*.conf")))]:
    for number, line in enumerate(open(path), 1):
        if line.startswith("wrong"):
            sys.exit(f'program: [emerg] unknown directive "wrong" in {path}:{number}')
        if line.startswith("missing"):
            sys.exit(f'program: [emerg] cannot load "{line.split()[1]}"')
        if line.startswith("odd"):
            print(f"program: [warn] odd in {path}:{number}", file=sys.stderr)
""",
        )
        return f"{checker} {{preview}}"

    def generation(self) -> str:
        return self.state.read_text() if self.state.exists() else ""

    def count(self) -> int:
        return len(self.reloads.read_text()) if self.reloads.exists() else 0


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/sibling.conf").write_text("stays\n")
    (tmp_path / "etc/main.conf").write_text("the package's own\n")
    made = Program(tmp_path)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = made.generation().encode() if self.headers["Host"] == "generation.internal" else b"?"
            self.send_response(200 if body else 404)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    made.url = f"http://127.0.0.1:{server.server_port}/generation"
    yield made
    server.shutdown()
    server.server_close()


MAIN = TreeFile("main.conf", "generation @GENERATION@;\n")


def site(name: str, text: str = "") -> TreeFile:
    return TreeFile(f"sites/{name}.conf", f"site {name};\n{text}", owner=f'app "{name}"')


def make_spec(program: Program, *files: TreeFile, **changes: Any) -> Spec:
    folder = program.folder / "etc"
    given: dict[str, Any] = {
        "root": str(folder / "tree"),
        "files": [MAIN, *files],
        "links": {str(folder / "main.conf"): "tree/main.conf"},
        "validate": program.validate,
        "reload": program.reload,
        "running": program.url,
        "running_host": "generation.internal",
        "timeout": 0.3,
        "logs": [str(program.log)],
    }
    return Spec(**{**given, **changes})


def tree_only(program: Program, *files: TreeFile, **changes: Any) -> Spec:
    return make_spec(program, *files, links={}, validate="", reload="", running="", **changes)


def snapshot(folder: Path) -> dict[str, Any]:
    """Everything below a directory: kind, mode, and contents or target."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = ("link", os.readlink(path))
        elif path.is_dir():
            found[name] = ("directory", stat.S_IMODE(path.stat().st_mode))
        else:
            found[name] = ("file", stat.S_IMODE(path.stat().st_mode), path.read_bytes())
    return found


def check_valid(program: Program) -> None:
    """The live configuration is complete, at any instant: what main.conf leads to exists and its sites are whole."""
    etc = program.folder / "etc"
    if (etc / "main.conf").is_symlink():
        generation = (etc / "main.conf").read_text()
        assert generation == f"generation {(etc / 'tree').resolve().name};\n"
    else:
        assert (etc / "main.conf").read_text() == "the package's own\n"
    if (etc / "tree").is_symlink():
        assert (etc / "tree/main.conf").is_file()


def applied(spec: Spec) -> Outcome:
    """Predict, then do; the prediction must be what happened."""
    predicted = apply(spec, check=True)
    done = apply(spec)
    assert (predicted.changed, predicted.generation, predicted.digests) == (done.changed, done.generation, done.digests)
    assert predicted.diff == done.diff
    assert predicted.reloaded == done.reloaded
    return done


# ---------------------------------------------------------------- the ordinary course


def test_first_run_then_nothing_to_do(program: Program) -> None:
    spec = make_spec(program, site("api"))
    first = applied(spec)
    etc = program.folder / "etc"
    assert first.changed
    assert first.reloaded
    assert os.readlink(etc / "tree") == f"tree.d/{first.generation}"
    assert os.readlink(etc / "main.conf") == "tree/main.conf"
    assert (etc / "tree.d/replaced" / str(etc / "main.conf").lstrip("/")).read_text() == "the package's own\n"
    assert program.generation() == first.generation
    before = snapshot(etc)
    second = applied(spec)
    assert not second.changed
    assert second.diff == []
    assert not second.reloaded
    assert snapshot(etc) == before
    assert program.count() == 1


def test_a_change_replaces_the_whole_tree_and_keeps_the_one_before(program: Program) -> None:
    first = applied(make_spec(program, site("api"), site("old")))
    second = applied(make_spec(program, site("api", "more;\n")))
    third = applied(make_spec(program, site("api", "most;\n")))
    etc = program.folder / "etc"
    assert sorted(p.name for p in (etc / "tree/sites").iterdir()) == ["api.conf"]
    assert sorted(os.listdir(etc / "tree.d")) == sorted(
        [second.generation, third.generation, "previous", "replaced", "served"]
    )
    assert os.readlink(etc / "tree.d/previous") == second.generation
    assert first.generation not in os.listdir(etc / "tree.d")


def test_going_back_to_the_tree_before(program: Program) -> None:
    first = applied(make_spec(program, site("api")))
    applied(make_spec(program, site("api", "more;\n")))
    again = applied(make_spec(program, site("api")))
    assert again.changed
    assert again.generation == first.generation == program.generation()


def test_modes_do_not_follow_the_umask(program: Program) -> None:
    before = os.umask(0o077)
    try:
        apply(tree_only(program, site("api"), TreeFile("bin/start", "#!/bin/sh\n", 0o755)))
    finally:
        os.umask(before)
    tree = program.folder / "etc/tree"
    assert stat.S_IMODE(tree.stat().st_mode) == 0o755
    assert stat.S_IMODE((tree / "sites").stat().st_mode) == 0o755
    assert stat.S_IMODE((tree / "sites/api.conf").stat().st_mode) == 0o644
    assert stat.S_IMODE((tree / "bin/start").stat().st_mode) == 0o755


def test_digests_by_top_level_entry_do_not_depend_on_the_others(program: Program) -> None:
    one = apply(tree_only(program, TreeFile("api/start", "a"), TreeFile("api/conf", "b"))).digests
    two = apply(tree_only(program, TreeFile("api/conf", "b"), TreeFile("api/start", "a"), TreeFile("z", "c"))).digests
    assert set(one) == {"main.conf", "api"}
    assert set(two) == {"main.conf", "api", "z"}
    assert one["api"] == two["api"]
    assert len(one["api"]) == 64


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(lambda tree: (tree / "sites/api.conf").write_text("by hand"), id="content"),
        pytest.param(lambda tree: (tree / "sites/api.conf").chmod(0o600), id="mode"),
        pytest.param(lambda tree: (tree / "sites").chmod(0o700), id="mode of a directory"),
        pytest.param(lambda tree: (tree / "sites/api.conf").unlink(), id="file removed"),
        pytest.param(lambda tree: (tree / "sites/new.conf").write_text("by hand"), id="file added"),
        pytest.param(lambda tree: (tree / "empty").mkdir(), id="directory added"),
        pytest.param(lambda tree: (tree / "sites/l.conf").symlink_to("/etc/passwd"), id="symlink added"),
    ],
)
def test_what_was_edited_by_hand_is_put_right(program: Program, edit: Callable[[Path], Any]) -> None:
    spec = make_spec(program, site("api"))
    first = applied(spec)
    edit(program.folder / "etc/tree")
    second = applied(spec)
    assert second.changed
    assert second.generation == f"{first.generation}-1" == program.generation()
    third = applied(spec)
    assert not third.changed
    assert third.generation == second.generation


def test_generation_removed_by_hand_is_written_again(program: Program) -> None:
    spec = make_spec(program, site("api"))
    first = applied(spec)
    config_tree.shutil.rmtree(program.folder / "etc/tree.d" / first.generation)
    assert applied(spec).changed
    check_valid(program)


# ---------------------------------------------------------------- keep, links, diff


def test_keep_carries_files_and_directories_over(program: Program) -> None:
    stamped = TreeFile("sites/gone.conf", "made by @GENERATION@;\n", 0o640)
    applied(make_spec(program, site("api"), stamped, TreeFile("more/gone/a", "a"), TreeFile("more/left", "b")))
    spec = make_spec(program, site("api", "changed;\n"), keep=["sites/gone.conf", "more/gone", "sites/never.conf"])
    second = applied(spec)
    tree = program.folder / "etc/tree"
    assert (tree / "sites/gone.conf").read_text() == f"made by {second.generation};\n"
    assert stat.S_IMODE((tree / "sites/gone.conf").stat().st_mode) == 0o640
    assert (tree / "more/gone/a").is_file()
    assert not (tree / "more/left").exists()
    assert not applied(spec).changed
    assert "sites/gone.conf" not in str(second.diff)


def test_a_listed_file_wins_over_keep(program: Program) -> None:
    applied(make_spec(program, site("api")))
    applied(make_spec(program, site("api", "new;\n"), keep=["sites/api.conf", "sites"]))
    assert "new" in (program.folder / "etc/tree/sites/api.conf").read_text()


def test_a_link_replaced_by_hand_is_made_again(program: Program) -> None:
    spec = make_spec(program, site("api"))
    applied(spec)
    (program.folder / "etc/main.conf").unlink()
    (program.folder / "etc/main.conf").write_text("from a package upgrade\n")
    assert applied(spec).changed
    check_valid(program)
    assert not applied(spec).changed


def test_a_link_in_a_directory_of_its_own(program: Program) -> None:
    etc = program.folder / "etc"
    (etc / "conf.d").mkdir()
    (etc / "conf.d/other.conf").write_text("")
    spec = make_spec(program, site("api"), links={str(etc / "conf.d/main.conf"): "../tree/main.conf"})
    checker = program.script("look", "assert open(sys.argv[1] + '/conf.d/main.conf').read().startswith('generation')")
    spec = Spec(**{**spec.__dict__, "validate": f"{checker} {{preview}}", "reload": "", "running": ""})
    assert applied(spec).changed
    assert (etc / "conf.d/main.conf").resolve() == (etc / "tree/main.conf").resolve()
    assert (etc / "conf.d/other.conf").is_file()


def test_diff_shows_each_file_that_differs_and_nothing_else(program: Program) -> None:
    applied(make_spec(program, site("api"), site("same"), site("old")))
    diff = apply(make_spec(program, site("api", "more;\n"), site("same"), site("new")), check=True).diff
    by_header = {entry["after_header"]: (entry["before"], entry["after"]) for entry in diff}
    root = str(program.folder / "etc/tree")
    assert by_header.pop(f"{root}/sites/api.conf") == ("site api;\n", "site api;\nmore;\n")
    assert by_header.pop(f"{root}/sites/old.conf") == ("site old;\n", "")
    assert by_header.pop(f"{root}/sites/new.conf") == ("", "site new;\n")
    assert list(by_header) == [f"{root} (link)"]


# ---------------------------------------------------------------- check mode


def test_check_mode_on_a_host_that_has_nothing(tmp_path: Path) -> None:
    root = tmp_path / "etc/nginx/wsgi"
    spec = Spec(
        root=str(root),
        files=[TreeFile("nginx.conf", "x\n")],
        links={str(tmp_path / "etc/nginx/nginx.conf"): "wsgi/nginx.conf"},
        validate="no-such-validator -t {preview}/nginx.conf",
        reload="no-such-program reload",
        running="http://127.0.0.1:1/generation",
    )
    outcome = apply(spec, check=True)
    assert outcome.changed
    assert outcome.reloaded
    assert outcome.warnings == [f"{root} was not validated: no-such-validator is not on this host yet"]
    assert [entry["before"] for entry in outcome.diff] == ["", "", ""]
    assert list(tmp_path.iterdir()) == []


def test_check_mode_writes_nothing(program: Program) -> None:
    applied(make_spec(program, site("api")))
    before = snapshot(program.folder)
    assert apply(make_spec(program, site("api", "more;\n")), check=True).changed
    assert snapshot(program.folder) == before


def test_check_mode_says_what_the_validator_would(program: Program) -> None:
    applied(make_spec(program, site("api")))
    before = snapshot(program.folder)
    with pytest.raises(TreeError, match=r'app "api": sites/api.conf, line 2'):
        apply(make_spec(program, site("api", "wrong 1;\n")), check=True)
    assert snapshot(program.folder) == before


# ---------------------------------------------------------------- what the validator refuses


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
    found = config_tree.locate(spec, config_tree.make_plan(spec, config_tree.Live()), said)
    assert found is not None
    assert found[0].dest == "sites/api.conf"


def test_what_is_found_when_blocks_are_put_together_is_traced_to_its_line(program: Program) -> None:
    """nginx names the line that closes the outermost block."""
    main = TreeFile("main.conf", "http {\n    include sites;\n}\n")
    said = f'nginx: [emerg] "cache" zone "nowhere" is unknown in {program.main}:3\n'
    files = [main, site("api", "cache here;\n"), site("two", "cache nowhere;\n")]
    spec = dataclasses.replace(make_spec(program), files=files)
    found = config_tree.locate(spec, config_tree.make_plan(spec, config_tree.Live()), said)
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
    assert config_tree.tidy("2026/11/22 13:57:46 [emerg] 467#467: unknown") == "[emerg] unknown"
    assert config_tree.tidy("nginx: [emerg] unknown") == "nginx: [emerg] unknown"
    assert config_tree.tidy("anything else") == "anything else"


# ---------------------------------------------------------------- reload


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
    monkeypatch.setattr(config_tree, "EMERGENCY_TIMEOUT", 0.1)
    applied(make_spec(program, site("api")))
    program.deaf.touch()
    program.complains.touch()
    start = time.monotonic()
    with pytest.raises(TreeError, match=r"\[emerg\] still could not bind"):
        apply(make_spec(program, site("api", "more;\n"), timeout=20.0))
    assert time.monotonic() - start < 15


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


# ---------------------------------------------------------------- killed


KILLED = """
import json, os, sys
import config_tree as c
given = json.load(sys.stdin)
spec = c.Spec(**{**given, "files": [c.TreeFile(**item) for item in given["files"]]})
c.apply(spec, step=lambda name: os._exit(9) if name == sys.argv[1] else None)
"""


def killed_at(spec: Spec, point: str) -> bool:
    """Run in a process of its own that dies at a step, without any clean-up; returns whether the step was reached."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, point],
        input=json.dumps(dataclasses.asdict(spec)),
        env={**os.environ, "PYTHONPATH": str(Path(config_tree.__file__).parent)},
        text=True,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return done.returncode == 9


@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("point", STEPS)
def test_killed_anywhere_the_tree_is_valid_and_the_next_run_finishes(program: Program, point: str, fresh: bool) -> None:
    if not fresh:
        applied(make_spec(program, site("api"), site("old")))
    spec = make_spec(program, site("api", "more;\n"), site("new"))
    assert killed_at(spec, point) or (point == "linked" and not fresh)
    check_valid(program)
    outcome = applied(spec)
    check_valid(program)
    assert program.generation() == outcome.generation
    assert sorted(p.name for p in (program.folder / "etc/tree/sites").iterdir()) == ["api.conf", "new.conf"]
    assert not [name for name in os.listdir(program.folder / "etc/tree.d") if name.startswith(".")]
    generations = [p for p in (program.folder / "etc/tree.d").iterdir() if p.is_dir() and not p.is_symlink()]
    assert len([p for p in generations if p.name != "replaced"]) <= 2
    assert not applied(spec).changed


def test_killed_while_going_back(program: Program) -> None:
    first = applied(make_spec(program, site("api")))
    program.broken.touch()
    assert killed_at(make_spec(program, site("api", "more;\n")), "returned")
    check_valid(program)
    assert os.readlink(program.folder / "etc/tree") == f"tree.d/{first.generation}"
    program.broken.unlink()
    assert not applied(make_spec(program, site("api"))).changed


def test_two_runs_at_once_wait_for_each_other(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = tree_only(program, site("api"))
    apply(spec)
    monkeypatch.setattr(config_tree, "LOCK_TIMEOUT", 0.2)
    with (
        config_tree.locked(spec.store),
        pytest.raises(TreeError, match="another run has been at work"),
    ):
        apply(tree_only(program, site("api", "more;\n")))


# ---------------------------------------------------------------- what is not ours, what makes no sense


def test_a_directory_that_is_not_ours_is_refused(program: Program) -> None:
    root = program.folder / "etc/tree"
    root.mkdir()
    (root / "precious.conf").write_text("x")
    before = snapshot(program.folder / "etc")
    for check in (True, False):
        with pytest.raises(TreeError, match=r"directory with 1 entries \(precious.conf\) that this task did not write"):
            apply(make_spec(program, site("api")), check=check)
    assert snapshot(program.folder / "etc") == before


def test_an_empty_directory_gives_way(program: Program) -> None:
    (program.folder / "etc/tree").mkdir()
    assert applied(make_spec(program, site("api"))).changed
    assert (program.folder / "etc/tree").is_symlink()


def test_a_symlink_to_elsewhere_and_a_file_are_refused(program: Program) -> None:
    root = program.folder / "etc/tree"
    root.symlink_to("/usr/share")
    with pytest.raises(TreeError, match="is a symlink to /usr/share, expected one into"):
        apply(make_spec(program))
    root.unlink()
    root.write_text("x")
    with pytest.raises(TreeError, match="is a file, expected nothing or a symlink"):
        apply(make_spec(program))


def test_a_directory_where_a_link_goes_is_refused(program: Program) -> None:
    (program.folder / "etc/main.conf").unlink()
    (program.folder / "etc/main.conf").mkdir()
    with pytest.raises(TreeError, match=r"main.conf is a directory, expected a file, a symlink or nothing"):
        apply(make_spec(program))


@pytest.mark.parametrize(
    ("files", "changes", "message"),
    [
        ([TreeFile("../up", "")], {}, r'files\[\].dest: "../up" must be a normal path inside the tree'),
        ([TreeFile("/abs", "")], {}, "must be a normal path inside the tree"),
        ([TreeFile("a//b", "")], {}, "must be a normal path inside the tree"),
        ([site("api"), site("api")], {}, r'"sites/api.conf" is given twice \(app "api" and app "api"\)'),
        ([TreeFile("a", ""), TreeFile("a/b", "")], {}, '"a" is a file and, for "a/b", also a directory'),
        ([], {"keep": ["../x"]}, 'keep: "../x"'),
        ([], {"root": "relative"}, "must be an absolute, normal path"),
        ([], {"links": {"relative": "x"}}, 'links: "relative" must be an absolute'),
        ([], {"running": "https://127.0.0.1/"}, "must be a plain http:// address"),
    ],
)
def test_a_wish_that_makes_no_sense(program: Program, files: list[TreeFile], changes: Any, message: str) -> None:
    with pytest.raises(TreeError, match=message):
        apply(make_spec(program, *files, **changes))


def test_packing_is_small_and_exact() -> None:
    files = [TreeFile(f"sites/{n}.conf", f"server_name {n}.example.com;\n" * 50, 0o600, "é") for n in range(200)]
    packed = config_tree.pack(files)
    assert config_tree.unpack(packed) == files
    assert len(packed) < 40_000


def test_a_file_that_others_may_not_read_is_not_shown(program: Program) -> None:
    group = grp.getgrgid(os.getegid()).gr_name
    hidden = TreeFile("passwords/api", "ann:$6$secret-hash\n", 0o640, 'app "api"', group)
    (entry,) = [entry for entry in applied(tree_only(program, hidden)).diff if "passwords" in entry["after_header"]]
    assert "secret-hash" not in entry["after"]
    assert "(mode 0640)" in entry["after"]
    assert not applied(tree_only(program, hidden)).changed
    changed = TreeFile("passwords/api", "ann:$6$another-hash\n", 0o640, 'app "api"', group)
    (entry,) = [entry for entry in applied(tree_only(program, changed)).diff if "passwords" in entry["after_header"]]
    assert entry["before"] != entry["after"]


def test_a_group_that_does_not_exist_is_refused(program: Program) -> None:
    with pytest.raises(TreeError, match='group "nobody-has-this" does not exist'):
        apply(tree_only(program, TreeFile("a", "", 0o640, "", "nobody-has-this")))
