"""The controller's half of config_tree: what it makes of `files`, and a whole play of it on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.webops.wsgi.plugins.action.config_tree import rendered_files
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.files import TreeFile
from ansible_collections.webops.wsgi.plugins.plugin_utils.rendering import Renderer
from render import ROOT


def made(folder: Path, entries: Any, **variables: Any) -> list[TreeFile]:
    """The files that the action would send to the host; templates are those in `folder`."""
    loader = DataLoader()
    stub = SimpleNamespace(
        _find_needle=lambda _kind, name: str(folder / name),
        _loader=loader,
        _templar=Templar(loader=loader, variables=variables),
    )
    return rendered_files(entries, Renderer(stub, variables))


def test_content_template_vars_and_mode(tmp_path: Path) -> None:
    (tmp_path / "t.j2").write_text("{% if who %}\nhello {{ who }}\n{% endif %}\nfrom {{ place }}\n\n")
    files = made(
        tmp_path,
        [
            {"dest": "a", "content": "{{ not a template }}\n"},
            {"dest": "b", "template": "t.j2", "vars": {"who": "you"}, "mode": "0755", "owner": "someone"},
            {"dest": "c", "template": "t.j2", "vars": {"who": ""}, "mode": 0o600},
        ],
        place="here",
    )
    assert files == [
        TreeFile("a", "{{ not a template }}\n"),
        TreeFile("b", "hello you\nfrom here\n\n", 0o755, "someone"),
        TreeFile("c", "from here\n\n", 0o600),
    ]


@pytest.mark.parametrize("source", ["site {{ app.name }}\n", "\nblank first {{ app.name }}", "{{ app.name }}"])
@pytest.mark.parametrize("wrap", ["{text}", "{text}{{% block all %}}{{% endblock %}}"])
def test_one_file_for_each(tmp_path: Path, source: str, wrap: str) -> None:
    (tmp_path / "t.j2").write_text(wrap.format(text=source))
    apps = [{"name": "api"}, {"name": "reports"}]
    entry = {"dest": "sites/{name}.conf", "template": "t.j2", "each": apps, "as": "app", "owner": 'app "{name}"'}
    assert made(tmp_path, [entry]) == [
        TreeFile(f"sites/{name}.conf", source.replace("{{ app.name }}", name), owner=f'app "{name}"')
        for name in ("api", "reports")
    ]
    assert made(tmp_path, [{**entry, "each": []}]) == []


def test_includes_are_found_beside_the_template(tmp_path: Path) -> None:
    (tmp_path / "part.j2").write_text("part")
    (tmp_path / "t.j2").write_text("{% include 'part.j2' %}")
    assert made(tmp_path, [{"dest": "a", "template": "t.j2"}])[0].content == "part"


def test_the_item_at_fault_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.j2").write_text("{{ app.port + 1 }}\n")
    entry = {"dest": "{name}", "template": "t.j2", "each": [{"name": "a", "port": 1}, {"name": "b"}], "as": "app"}
    with pytest.raises(AnsibleActionFail, match=r'^app "b": b from template t\.j2: '):
        made(tmp_path, [{**entry, "owner": 'app "{name}"'}])
    with pytest.raises(AnsibleActionFail, match=r"^b from template t\.j2: "):
        made(tmp_path, [{**entry, "each": [{"name": "b", "port": "text"}]}])


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (None, "files is required and must be a list"),
        (["text"], "every entry is a dictionary with dest"),
        ([{"content": ""}], "every entry is a dictionary with dest"),
        ([{"dest": "a", "contents": ""}], "files: a: unknown contents"),
        ([{"dest": "a"}], "files: a: give either template or content"),
        ([{"dest": "a", "content": "", "template": "t.j2"}], "files: a: give either template or content"),
        ([{"dest": "a", "content": "", "each": "text"}], "files: a: each must be a list and vars a dictionary"),
        (
            [{"dest": "a", "content": "", "mode": "rw"}],
            "files: a: mode is 'rw', expected octal digits such as \"0644\"",
        ),
    ],
)
def test_entries_that_make_no_sense(tmp_path: Path, entries: Any, message: str) -> None:
    with pytest.raises(AnsibleActionFail, match=message):
        made(tmp_path, entries)


PLAY = """
- hosts: localhost
  gather_facts: false
  vars:
    greeting: "hello {{ who }}"
    who: world
  tasks:
    - webops.wsgi.config_tree:
        root: "{{ folder }}/etc/tree"
        files:
          - {dest: main.conf, content: "generation @GENERATION@\\n"}
          - {dest: "sites/{name}.conf", template: t.j2, each: [{name: a}, {name: b}], as: app}
        links: "{{ {folder ~ '/etc/main.conf': 'tree/main.conf'} }}"
        validate: grep -q generation {preview}/main.conf
        in_place: "{{ seen | default('') }}"
"""


def test_a_play(tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates/t.j2").write_text("{{ app.name }}: {{ greeting }}\n")
    (tmp_path / "etc").mkdir()
    (tmp_path / "play.yml").write_text(PLAY)
    command = [
        sys.executable,
        "-m",
        "ansible",
        "playbook",
        "-i",
        "localhost,",
        "-c",
        "local",
        str(tmp_path / "play.yml"),
    ]
    command += ["-e", f"folder={tmp_path}", "-e", f"ansible_python_interpreter={sys.executable}", "--diff"]
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"), "ANSIBLE_NOCOLOR": "1"}

    def play(*options: str, code: int = 0) -> str:
        done = subprocess.run([*command, *options], capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    predicted = play("--check")
    assert not (tmp_path / "etc/tree").exists()
    first = play()
    assert "changed=1" in predicted
    assert predicted == first
    assert "+a: hello world" in first
    assert (tmp_path / "etc/tree/sites/b.conf").read_text() == "b: hello world\n"
    assert (tmp_path / "etc/main.conf").read_text() == f"generation {(tmp_path / 'etc/tree').resolve().name}\n"
    assert "changed=0" in play()
    generation = (tmp_path / "etc/tree").resolve().name
    no_host = ("-e", "ansible_python_interpreter=/nowhere/python")
    assert "changed=0" in play(*no_host, "-e", f"seen={generation}"), "asks a host of which all is known"
    play(*no_host, "-e", f"seen={generation}", "-e", "who=others", code=2)
