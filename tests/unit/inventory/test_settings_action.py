# SPDX-License-Identifier: GPL-3.0-or-later
"""The action app_settings: what it makes of templates, vaults and paths, and what it shows."""

from __future__ import annotations

import dataclasses
import datetime
import pathlib
import re
import subprocess
import sys
import textwrap
import typing as t
from unittest import mock

import pytest
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible.vars.manager import VariableManager
from ansible_collections.webops.wsgi.plugins.action import app_settings
from ansible_collections.webops.wsgi.plugins.module_utils.certificates import making, model
from ansible_collections.webops.wsgi.plugins.plugin_utils.checks import run as checks
from ansible_collections.webops.wsgi.plugins.plugin_utils.fleet import members
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory import origins, settings

ROOT = pathlib.Path(__file__).resolve().parents[3]
SECRET = "correct-horse-battery"

INVENTORY = """
wsgi:
  hosts:
    web1:
      ansible_host: 192.0.2.1
  vars:
    zone: example.com
    password: correct-horse-battery
    wsgi_apps:
      - name: api
        source: {path: tree}
        entrypoint: app:app
        domains: ["api.{{ zone }}"]
        tls: off
        secrets:
          PASSWORD: "{{ password }}"
          RAW: !unsafe "{{ no template }}"
        gunicorn: {timeout: "{{ 30 + 30 }}"}
"""


@pytest.fixture(name="inventory")
def fixture_inventory(tmp_path: pathlib.Path) -> pathlib.Path:
    """An inventory file with a source tree beside it."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "app.py").write_text("app = None\n")
    path = tmp_path / "hosts.yml"
    path.write_text(INVENTORY)
    return path


def run(inventory: pathlib.Path, text: str = "", **variables: t.Any) -> dict[str, t.Any]:
    """Result of the action for the host of an inventory; ``text`` replaces the inventory's text."""
    if text:
        inventory.write_text(text)
    loader = DataLoader()
    hosts = InventoryManager(loader, sources=[str(inventory)])
    found = VariableManager(loader, hosts).get_vars(host=hosts.get_host("web1"))
    found.update(variables)
    return resolve(loader, found)


def resolve(loader: DataLoader, found: dict[str, t.Any]) -> dict[str, t.Any]:
    """Result of the action for the variables of a host."""
    task = mock.MagicMock(args={}, async_val=0, check_mode=False)
    templar = Templar(loader=loader, variables=found)
    action = app_settings.ActionModule(task, mock.MagicMock(), mock.MagicMock(), loader, templar, None)
    return action.run(None, found)


def test_templates_are_evaluated_and_the_result_is_hidden(inventory):
    result = run(inventory)
    assert not result.get("failed"), result["msg"]
    assert result["changed"] is False
    assert result["_ansible_no_log"] is True
    facts = {"wsgi_present": ["api"], "wsgi_activated": None, "wsgi_follows": {}, "wsgi_failed": {}}
    facts |= {"wsgi_batches": 1, "wsgi_before": {}}
    assert result["ansible_facts"] == facts, "secrets are no facts"
    app = result["apps"][0]
    assert app["domains"] == ["api.example.com"]
    assert app["tls"] == "off"
    assert app["gunicorn"]["timeout"] == 60
    assert app["secrets"] == {"PASSWORD": SECRET, "RAW": "{{ no template }}"}
    assert type(app["secrets"]["PASSWORD"]) is str
    assert app["source"]["path"] == str(inventory.parent / "tree")


def test_apps_may_be_a_template_as_a_whole(inventory):
    text = INVENTORY.replace("wsgi_apps:", "all_apps:") + '    wsgi_apps: "{{ all_apps }}"\n'
    assert run(inventory, text)["apps"][0]["secrets"]["PASSWORD"] == SECRET


@pytest.mark.parametrize("file", ["apps.yml", "group_vars/wsgi.yml", "group_vars/wsgi/apps.yml"])
@pytest.mark.parametrize("whole", ["wsgi_apps: {apps}", "all_apps: {apps}\nwsgi_apps: '{{{{ all_apps }}}}'"])
def test_paths_count_from_the_file_that_has_the_app_not_from_the_one_that_has_the_host(
    tmp_path: pathlib.Path, file: str, whole: str
) -> None:
    apps = """[{name: api, source: {path: tree}, entrypoint: "app:app", domains: [a.example.com], tls: selfsigned}]"""
    text = whole.format(apps=apps)
    if file == "apps.yml":
        text = "wsgi: {vars: {" + text.replace("\n", ", ") + "}}"
    files = {"hosts/hosts.yml": "wsgi: {hosts: {web1: }}", "hosts/tree/app.py": "", f"apps/{file}": text}
    for name, content in {
        **files,
        "apps/tree/app.py": "",
        "apps/apps.yml": files.get("apps/apps.yml", "wsgi:"),
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    loader = DataLoader()
    sources = [str(tmp_path / name) for name in ("hosts/hosts.yml", "apps/apps.yml")]
    hosts = InventoryManager(loader, sources=sources)
    found = VariableManager(loader, hosts).get_vars(host=hosts.get_host("web1"))
    assert found["inventory_dir"] == str(tmp_path / "hosts")
    result = resolve(loader, found)
    assert not result.get("failed"), result["msg"]
    assert result["apps"][0]["source"]["path"] == str(tmp_path / "apps/tree")


def test_path_that_is_nowhere_is_named_as_it_counts_from_the_app(tmp_path: pathlib.Path, inventory) -> None:
    message = run(inventory, INVENTORY.replace("path: tree", "path: nope"))["msg"]
    assert f"{tmp_path}/nope does not exist; write a directory relative to the file that has this app" in message


def test_places_where_the_file_is_not_known(tmp_path: pathlib.Path) -> None:
    (tmp_path / "inventory").mkdir()
    sources = [str(tmp_path / "inventory"), str(tmp_path / "apps/apps.yml")]
    variables = {"inventory_dir": "/hosts", "playbook_dir": "/play", "ansible_inventory_sources": sources}
    expected = ["/hosts", str(tmp_path / "inventory"), str(tmp_path / "apps"), "/play"]
    assert origins.directories(variables) == expected
    assert origins.home(origins.written_in("text")) == ""


def test_undefined_variables_are_located(inventory):
    text = INVENTORY.replace("{{ password }}", f"{SECRET}{{{{ passwort }}}}").replace("{{ zone }}", "{{ zon }}")
    result = run(inventory, text + "    gunicorn_timeout: '{{ limit }}'\n")
    assert result["failed"]
    assert "_ansible_no_log" not in result
    assert "apps" not in result
    assert SECRET not in str(result)
    fix = "; define the variable, or correct its name"
    assert result["msg"].splitlines()[1:] == [
        f"inventory: gunicorn_timeout cannot be evaluated, 'limit' is undefined{fix}",
        f"app \"api\": domains cannot be evaluated, 'zon' is undefined{fix}",
        f"app \"api\": secrets.PASSWORD cannot be evaluated, 'passwort' is undefined{fix}",
    ]


def test_a_template_that_fails_is_located_without_its_text(inventory):
    result = run(inventory, INVENTORY.replace("{{ password }}", f"{{{{ '{SECRET}' | int / 0 }}}}"))
    assert 'app "api": secrets.PASSWORD is a template that fails' in result["msg"]
    assert SECRET not in str(result)


def test_apps_that_cannot_be_evaluated_at_all(inventory):
    result = run(inventory, INVENTORY.replace("wsgi_apps:", "all_apps:") + '    wsgi_apps: "{{ al_apps }}"\n')
    assert result["msg"].splitlines()[1:] == [
        "inventory: wsgi_apps cannot be evaluated, 'al_apps' is undefined; define the variable, or correct its name"
    ]


def test_no_apps_at_all(inventory):
    assert "wsgi_apps is not defined" in run(inventory, "wsgi: {hosts: {web1: {}}}\n")["msg"]


def test_a_vault_without_its_password_is_named(inventory):
    text = INVENTORY.replace('"{{ password }}"', "!vault |\n            $ANSIBLE_VAULT;1.1;AES256\n            3132")
    assert 'app "api": secrets.PASSWORD cannot be decrypted; give the vault password' in run(inventory, text)["msg"]


def test_problems_do_not_show_secrets(inventory):
    text = INVENTORY.replace("PASSWORD:", "PASS-WORD:").replace("name: api", "name: Api")
    result = run(inventory, text)
    assert result["msg"].count("\n") == 2
    assert SECRET not in str(result)


def test_role_defaults_may_be_templates(inventory, monkeypatch):
    schema = settings.load_schema()
    nginx = schema.roles["nginx"]
    defaults = {**nginx.defaults, "nginx_proxy_read_timeout": "{{ gunicorn_timeout + margin }}"}
    schema.roles["nginx"] = dataclasses.replace(nginx, defaults=defaults)
    monkeypatch.setattr(app_settings, "load_schema", lambda: schema)
    result = run(inventory, INVENTORY + "    margin: 5\n")
    assert result["apps"][0]["nginx"]["read_timeout"] == 125


def test_own_variables_with_a_prefix_are_warned_about(inventory):
    result = run(inventory, INVENTORY + "    release_banner_text: hello\n")
    assert result["apps"]
    assert "release_banner_text" in result["warnings"][0]


SAMPLES = ("single", "cluster")


def sample(name: str) -> tuple[DataLoader, InventoryManager]:
    """A sample inventory of the collection."""
    loader = DataLoader()
    return loader, InventoryManager(loader, sources=[str(ROOT / "inventory" / name)])


@pytest.mark.parametrize("name", SAMPLES)
def test_sample_inventories_have_no_problems(name):
    loader, hosts = sample(name)
    found = hosts.get_hosts("all")
    assert found
    for host in found:
        variables = VariableManager(loader, hosts)
        given = variables.get_vars(host=host)
        given["hostvars"] = {other.name: variables.get_vars(host=other) for other in found}
        result = resolve(loader, given)
        assert not result.get("failed"), result["msg"]
        assert "warnings" not in result
        assert len(result["apps"]) == 2


def test_the_sample_for_one_host_shows_defaults_as_they_are():
    text = (ROOT / "inventory" / "single" / "group_vars" / "wsgi" / "main.yml").read_text()
    lines = re.findall(r"^# ([a-z_]+: .*)$", text, re.MULTILINE)
    shown = DataLoader().load("\n".join(lines))
    defaults = {name: value for role in settings.load_schema().roles.values() for name, value in role.defaults.items()}
    assert len(shown) > 15
    assert shown == {name: defaults[name] for name in shown}


def test_optional_keys_in_the_sample_for_several_hosts_are_right(tmp_path):
    text = (ROOT / "inventory" / "cluster" / "group_vars" / "fleet" / "main.yml").read_text()
    uncommented = re.sub(r"^( *)# ([a-z_]+:)", r"\1\2", text, flags=re.MULTILINE)
    variables = DataLoader().load(uncommented)
    app = variables["wsgi_apps"][0]
    assert {"state", "certificate", "env", "secrets", "gunicorn", "nginx"} <= set(app)
    app["source"] = {"path": str(ROOT / "examples" / "flask_api")}
    app["state"] = "present"
    served = model.App(app["name"], tuple(app["domains"]), "provided")
    pair = making.make_certificate(served, None, datetime.datetime.now(datetime.UTC))
    for key, file in app["certificate"].items():
        path = tmp_path / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(pair.chain if key == "cert" else pair.key)
    groups = {"balancers": ["lb1"], "wsgi": ["web1.example.com", "web2.example.com"]}
    addresses = {"lb1": "10.0.0.11", "web1.example.com": "10.0.0.21", "web2.example.com": "10.0.0.22"}
    fleet = members.read("lb1", groups, lambda host: {"balancer_address": addresses[host]})
    entries = variables["wsgi_apps"]
    findings = checks.examine(
        settings.load_schema(), variables, variables, entries, [str(tmp_path)], fleet=fleet, groups=groups
    )
    assert checks.lines(findings.problems) == []


def ansible_playbook(
    inventory: pathlib.Path, playbook: pathlib.Path, *options: str
) -> subprocess.CompletedProcess[str]:
    """Run a playbook as a person does, with all there is to see."""
    program = pathlib.Path(sys.executable).with_name("ansible-playbook")
    command = [str(program), "-vvvv", "-i", str(inventory), *options, str(playbook)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=ROOT)


def test_site_stops_before_any_host_is_touched(inventory):
    inventory.write_text(INVENTORY.replace("app:app", "app").replace("timeout:", "timout:"))
    done = ansible_playbook(inventory, ROOT / "playbooks" / "site.yml", "--check")
    assert done.returncode != 0
    assert "entrypoint is" in done.stdout + done.stderr
    assert "did you mean timeout?" in done.stdout + done.stderr
    assert "192.0.2.1" not in done.stdout
    assert "unreachable=0" in done.stdout
    assert SECRET not in done.stdout + done.stderr


def test_secrets_are_not_displayed_when_all_is_well(inventory, tmp_path):
    playbook = tmp_path / "play.yml"
    text = """
        - hosts: wsgi
          gather_facts: false
          tasks:
            - webops.wsgi.app_settings:
              register: __wsgi_settings
            - ansible.builtin.assert:
                that: __wsgi_settings.apps[0].secrets.PASSWORD == password
    """
    playbook.write_text(textwrap.dedent(text))
    done = ansible_playbook(inventory, playbook)
    assert done.returncode == 0, done.stdout + done.stderr
    assert SECRET not in done.stdout + done.stderr


FILES = """\
        files:
          - {name: text.cfg, text: "zone={{ zone }}"}
          - {name: local.cfg, path: local.cfg}
          - {name: made.cfg, template: made.j2}
"""


def test_files_of_an_app_have_their_texts(inventory):
    (inventory.parent / "local.cfg").write_text("{{ as it is }}\n")
    (inventory.parent / "made.j2").write_text(
        "{{ app.name }} {{ app.secrets.PASSWORD }}\n{% if 1 %}\n{{ zone }}\n{% endif %}\n"
    )
    result = run(inventory, INVENTORY + FILES)
    assert not result.get("failed"), result["msg"]
    assert result["apps"][0]["files"] == {
        "text.cfg": "zone=example.com",
        "local.cfg": "{{ as it is }}\n",
        "made.cfg": f"api {SECRET}\nexample.com\n",
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{{ app.secrets.PASSWORD | int / 0 }}", "files[2].template is a template that fails"),
        ("{{ passwort }}", "files[2].template cannot be evaluated, 'passwort' is undefined; define the variable"),
    ],
)
def test_a_template_of_a_file_that_fails_is_located_without_its_text(inventory, text, problem):
    (inventory.parent / "local.cfg").write_text("")
    (inventory.parent / "made.j2").write_text(f"{SECRET}{text}")
    result = run(inventory, INVENTORY + FILES)
    assert f'app "api": {problem}' in result["msg"]
    assert SECRET not in str(result)


def test_a_file_that_is_no_text(inventory):
    (inventory.parent / "local.cfg").write_bytes(b"\xff\xfe")
    (inventory.parent / "made.j2").write_text("")
    assert 'app "api": files[1] is local.cfg, which is not text in UTF-8' in run(inventory, INVENTORY + FILES)["msg"]


@pytest.mark.parametrize(
    ("asked", "own", "unknown"),
    [
        (["all"], ["always"], []),
        ([], ["always"], []),
        (["release"], ["always"], ["release"]),
        (["always"], ["always"], ["always"]),
        # import_playbook: webops.wsgi.site with tags: web
        (["web", "db"], ["always", "web"], []),
    ],
)
def test_tags_that_no_task_has(asked, own, unknown):
    assert app_settings._without_tasks(asked, own) == unknown


def as_known(*expected: str) -> list[str]:
    """What is expected where Ansible knows how a number was written: ansible-core before 2.19 does not."""
    return list(expected) if origins.Origin else []


@pytest.mark.parametrize("indirect", [False, True])
def test_numbers_that_yaml_reads_as_others_are_warned_of(inventory, indirect):
    text = INVENTORY.replace("RAW:", "PIN: 0123\n          RAW:") + "        env:\n          ZIP: 012 # a code\n"
    for line in ("VERSION: 1.10", "AT: 12:30", "RATE: 0.5", "PORT: 8000", "TEXT: '1.10'"):
        text += f"          {line}\n"
    if indirect:
        text = text.replace("wsgi_apps:", "all_apps:") + '    wsgi_apps: "{{ all_apps }}"\n'
    assert run(inventory, text).get("warnings", []) == as_known(
        'app "api": env.ZIP is 012, which YAML reads as 10; put it in quotes',
        'app "api": env.VERSION is 1.10, which YAML reads as 1.1; put it in quotes',
        'app "api": env.AT is 12:30, which YAML reads as 750; put it in quotes',
        'app "api": secrets.PIN is a number in another notation; put it in quotes',
    )


def test_numbers_in_braces_are_read_too(inventory):
    text = INVENTORY + "        env: {VERSION: 1.10, ZIP: 1_000}\n"
    warnings = run(inventory, text).get("warnings", [])
    assert [line.split(" is ")[1].split(",")[0] for line in warnings] == as_known("1.10", "1_000")
