# SPDX-License-Identifier: GPL-3.0-or-later
"""What each server says of itself, and that one more needs nothing but a role and a module of its own."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import load_schema
from ansible_collections.webops.wsgi.plugins.plugin_utils.servers.model import UWSGI, server

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = load_schema()


@pytest.mark.parametrize("name", SCHEMA.servers)
def test_a_server_has_what_it_names(name: str) -> None:
    runs, role = server(name), SCHEMA.roles[name]
    assert runs.name == role.name == name
    templates = {file.name for file in (ROOT / "roles" / name / "templates").iterdir()}
    assert set(runs.files.values()) <= templates
    assert "start" in runs.files
    named = {runs.backlog, runs.answer_timeout, runs.request_line, runs.request_header} - {""}
    assert named <= set(role.short())
    assert (ROOT / "roles" / name / "README.md").is_file()
    assert f"[{name}](../{name}/README.md)" in (ROOT / "roles/server/README.md").read_text(encoding="utf-8")


def code(file: Path) -> Iterator[tuple[int, str]]:
    """What a file does: strings and names of Python but for documentation, lines of others but for comments."""
    text = file.read_text(encoding="utf-8")
    if file.suffix != ".py":
        lines = enumerate(text.splitlines(), start=1)
        yield from ((number, line) for number, line in lines if not re.match(r"\s*(#|{#)", line))
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and not re.search(r"\s.*\n|\. |\.$", str(node.value)):
            yield node.lineno, str(node.value)
        elif isinstance(node, ast.Name):
            yield node.lineno, node.id


def test_nothing_else_knows_a_server_by_its_name() -> None:
    named = re.compile(rf"(?<![/.])({'|'.join(SCHEMA.servers)})(?!-)")
    own = (*(f"roles/{name}/" for name in SCHEMA.servers), "roles/server/meta/", "plugins/plugin_utils/servers/")
    # What somebody set up by hand is told by the programs' own names and options.
    own += ("plugins/module_utils/adopt/", "plugins/plugin_utils/adopt/")
    folders = ["plugins/*.py", "playbooks", "roles/*.j2", "roles/*/tasks", "roles/*/defaults", "roles/*/vars"]
    listed = subprocess.run(["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True)
    # One is called as a protocol that nginx speaks.
    protocols = (
        rf"\b{UWSGI}\b|_{UWSGI}\b|\b{UWSGI}_",
        ("plugins/plugin_utils/nginx/", "roles/nginx_proxy/templates/"),
    )
    found = [
        f"{name}:{number}: {line.strip()}"
        for name in listed.stdout.splitlines()
        if not name.startswith(own)
        for number, line in code(ROOT / name)
        if named.search(re.sub(protocols[0], "", line) if name.startswith(protocols[1]) else line)
    ]
    assert listed.stdout.splitlines()
    assert found == []


# -- one more ----------------------------------------------------------------------------------------------------

MODULE = """
from ansible_collections.webops.wsgi.plugins.plugin_utils.servers.model import Server


def check_threads(app):
    if app.data["tiny"]["threads"] == 13:
        yield app.problem(f"{app.setting('tiny', 'threads')} is 13, which is unlucky", "write 12 or 14")


SERVER = Server(
    name="tiny",
    requirement=lambda settings: f"tiny-server=={settings['version']}",
    oldest_python=11,
    files={"start": "start.j2"},
    stop_timeout=lambda settings: settings["patience"] + 1,
    backlog="backlog",
    answer_timeout="patience",
    overriding={"TINY_THREADS": "write tiny: {threads: ...}"},
    checks=(check_threads,),
)
"""
SPECS = """
argument_specs:
  main:
    options:
      tiny_version: {type: str}
      tiny_threads: {type: int}
      tiny_patience: {type: int}
      tiny_backlog: {type: int}
"""
ROLE = {
    "meta/argument_specs.yml": SPECS,
    "meta/settings.yml": "key: tiny\nserver: true\nlimits: {threads: {least: 1, most: 64}}\n",
    "defaults/main.yml": 'tiny_version: "1.2"\ntiny_threads: 4\ntiny_patience: 60\ntiny_backlog: 99\n',
    "templates/start.j2": "#!/bin/sh\nexec tiny --threads {{ app.tiny.threads }} {{ app.entrypoint | quote }}\n",
}
# The collection as it would be installed, asked what becomes of an inventory.
ASK = """
import json, sys
from ansible_collections.webops.wsgi.plugins.plugin_utils.checks.run import examine, lines
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import load_schema
from ansible_collections.webops.wsgi.plugins.plugin_utils.servers.model import tree_files

variables, entries = json.load(sys.stdin)
found = examine(load_schema(), list(variables), variables, entries, ["/"])
files = [] if found.problems else tree_files(found.apps)
print(json.dumps({"problems": lines(found.problems), "apps": found.apps, "files": files}))
"""


@pytest.fixture(scope="module", name="collections")
def fixture_collections(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a copy of the collection lies that has one server more."""
    top = tmp_path_factory.mktemp("collections")
    copy = top / "ansible_collections/webops/wsgi"
    for folder in ("plugins", "roles"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "plugins/plugin_utils/servers/tiny.py").write_text(MODULE)
    for name, text in ROLE.items():
        file = copy / "roles/tiny" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return top


def ask(collections: Path, *entries: dict[str, Any], **variables: Any) -> dict[str, Any]:
    """What becomes of apps under that collection."""
    source = {"git": "https://git.example.com/api.git", "version": "v1.0"}
    full = [
        {"name": f"app{number}", "source": source, "entrypoint": "app:app", "domains": [f"a{number}.test"], **entry}
        for number, entry in enumerate(entries, start=1)
    ]
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        input=json.dumps([{"certbot_email": "ops@example.com", "certbot_agree_tos": True, **variables}, full]),
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(collections)},
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_one_more_server_runs_an_app_beside_others(collections: Path) -> None:
    answer = ask(collections, {"server": "tiny", "tiny": {"threads": 8}}, {})
    assert answer["problems"] == []
    first, second = answer["apps"]
    assert (first["tiny"]["threads"], "gunicorn" in first) == (8, False)
    assert first["server"] == {
        "name": "tiny",
        "requirement": "tiny-server==1.2",
        "packages": [],
        "protocol": "http",
        "stop_timeout": 61,
        "backlog": 99,
        "system_calls": [],
    }
    assert (second["server"]["name"], "tiny" in second) == ("gunicorn", False)
    starts = {file["each"][0]["name"]: file["template"] for file in answer["files"] if file["dest"] == "{name}/start"}
    assert starts["app1"].endswith("roles/tiny/templates/start.j2")
    assert starts["app2"].endswith("roles/gunicorn/templates/start.j2")


def test_one_more_server_for_every_app(collections: Path) -> None:
    answer = ask(collections, {}, {"server": "gunicorn"}, wsgi_server="tiny", tiny_threads=2)
    assert answer["problems"] == []
    first, second = answer["apps"]
    assert (first["server"]["name"], first["tiny"]["threads"], second["server"]["name"]) == ("tiny", 2, "gunicorn")


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (
            {"server": "tiny", "gunicorn": {"timeout": 5}},
            ["gunicorn has settings", "server is tiny", "server: gunicorn"],
        ),
        ({"tiny": {"threads": 5}}, ["tiny has settings", "server is gunicorn", "remove tiny:"]),
        ({"server": "teeny"}, ['server is "teeny", which is not a server', "gunicorn, tiny, "]),
        (
            {"server": "tiny", "interface": "asgi"},
            ["interface is asgi", "tiny, the app's server, does not run ASGI apps", "write server: ", "interface"],
        ),
        ({"server": "tiny", "tiny": {"threads": 0}}, ["tiny.threads is 0", "1 or more"]),
        ({"server": "tiny", "tiny": {"threads": 99}}, ["tiny.threads is 99", "64 or less"]),
        ({"server": "tiny", "tiny": {"thread": 9}}, ["tiny.thread (set to 9) is not a setting", "threads"]),
        ({"server": "tiny", "tiny": {"threads": 13}}, ["tiny.threads is 13, which is unlucky"]),
        (
            {"server": "tiny", "tiny": {"patience": 500}},
            ["tiny.patience is 500 s, longer than nginx_proxy_read_timeout"],
        ),
        ({"server": "tiny", "env": {"TINY_THREADS": "1"}}, ["env.TINY_THREADS", "overrides tiny's settings", "tiny:"]),
        ({"server": "tiny", "python": {"version": "3.10"}}, ["too old: tiny needs 3.11"]),
    ],
)
def test_one_more_server_is_checked_as_others_are(collections: Path, entry: dict[str, Any], words: list[str]) -> None:
    (problem,) = ask(collections, entry)["problems"]
    for word in words:
        assert word in problem
