# SPDX-License-Identifier: GPL-3.0-or-later
"""Merging of role defaults, inventory variables and overrides."""

from __future__ import annotations

import pathlib

import pytest
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory import settings
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import App

SPEC = """
argument_specs:
  main:
    options:
      wsgi_apps:
        type: list
        elements: dict
        required: true
        options:
          name: {type: str, required: true}
          state: {type: str, choices: [present, absent], default: present}
          source:
            type: dict
            options:
              path: {type: path}
              git: {type: str}
              archive: {type: str}
              package: {type: str}
              version: {type: str}
              sha256: {type: str}
          certificate: {type: dict, options: {cert: {type: path}, key: {type: path}}}
          tls: {type: str, choices: [letsencrypt, selfsigned, "off"]}
          env: {type: dict, default: {}}
          secrets: {type: dict, default: {}}
          domains: {type: list, elements: str, default: []}
          server: {type: str}
          python: {type: dict, default: {}}
      wsgi_server: {type: str, default: gunicorn}
      python_app_version: {type: str, default: ""}
"""

GUNICORN = """
argument_specs:
  main:
    options:
      wsgi_apps: {type: list, elements: dict, required: true}
      gunicorn_timeout: {type: int, default: 120}
      gunicorn_threads: {type: int, default: 4}
      gunicorn_worker_class: {type: str, choices: [gthread, gevent], default: gthread}
      gunicorn_access_log: {type: str, choices: ["off", json], default: "off"}
      gunicorn_extra: {type: dict, default: {}}
      gunicorn_hooks: {type: dict, default: {}, options: {start: {type: str}, stop: {type: str}}}
"""


NOTHING = "argument_specs: {main: {options: {}}}"


@pytest.fixture(name="schema")
def fixture_schema(tmp_path: pathlib.Path) -> settings.Schema:
    """Small roles in a directory of their own."""
    for role, spec, defaults, facts in (
        ("python_app", SPEC, 'python_app_version: ""\n', "key: python\n"),
        (
            "gunicorn",
            GUNICORN,
            "gunicorn_timeout: 120\ngunicorn_threads: 4\ngunicorn_worker_class: gthread\n",
            "key: gunicorn\nserver: true\n",
        ),
        ("nginx_proxy", NOTHING, "", "key: nginx\n"),
        ("certbot", NOTHING, "", "key: certbot\n"),
    ):
        texts = {"meta/argument_specs.yml": spec, "defaults/main.yml": defaults, "meta/settings.yml": facts}
        for name, text in texts.items():
            path = tmp_path / "roles" / role / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return settings.load_schema(str(tmp_path))


def resolve_one(schema: settings.Schema, entry: object, inventory: dict | None = None) -> tuple[App, list[str]]:
    """Resolve one entry; returns the app and the texts of all problems."""
    host, problems = settings.merge_host(schema, inventory or {})
    apps, found = settings.resolve(schema, host, [entry], ["/nowhere"])
    return apps[0], [f"{problem.text}; {problem.fix}" for problem in [*problems, *found]]


def test_schema_reads_roles_that_exist(schema):
    assert set(schema.roles) == {"python", "nginx", "certbot", "gunicorn"}
    assert schema.servers == ["gunicorn"]
    assert "wsgi_apps" not in schema.roles["gunicorn"].options
    assert schema.app["source"]["options"]["sha256"] == {"type": "str"}


def test_an_override_replaces_one_key_and_leaves_its_siblings(schema):
    app, problems = resolve_one(schema, {"name": "api", "gunicorn": {"timeout": 300}}, {"gunicorn_threads": 9})
    assert problems == []
    assert app.data["gunicorn"]["timeout"] == 300
    assert app.data["gunicorn"]["threads"] == 9
    assert app.data["gunicorn"]["worker_class"] == "gthread"
    assert app.data["python"] == {"version": ""}


@pytest.mark.parametrize(
    ("inventory", "override", "expected"),
    [({}, {}, 120), ({"gunicorn_timeout": 60}, {}, 60), ({"gunicorn_timeout": 60}, {"timeout": 30}, 30)],
    ids=["role default", "inventory", "app"],
)
def test_order_of_precedence(schema, inventory, override, expected):
    app, problems = resolve_one(schema, {"name": "api", "gunicorn": override}, inventory)
    assert (app.data["gunicorn"]["timeout"], problems) == (expected, [])


def test_values_are_converted_as_the_spec_says(schema):
    entry = {"name": "api", "tls": False, "gunicorn": {"timeout": "45", "access_log": False}}
    app, problems = resolve_one(schema, entry)
    assert problems == []
    assert app.data["gunicorn"]["timeout"] == 45
    assert app.data["gunicorn"]["access_log"] == "off"
    assert app.data["tls"] == "off"


def test_apps_do_not_share_values(schema):
    host, _problems = settings.merge_host(schema, {})
    apps, _problems = settings.resolve(schema, host, [{"name": "a"}, {"name": "b"}], [])
    apps[0].data["env"]["X"] = "1"
    apps[0].data["gunicorn"]["extra"]["raw_env"] = 1
    assert apps[1].data["env"] == {}
    assert apps[1].data["gunicorn"]["extra"] == {}


def test_templates_in_role_defaults_are_replaced(schema):
    host, _problems = settings.merge_host(schema, {}, {"gunicorn_timeout": 77})
    assert host.values["gunicorn_timeout"] == 77


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"gunicorn": {"timeout": "soon"}}, ["gunicorn.timeout", '"soon"', "write a whole number"]),
        ({"gunicorn": {"timeout": True}}, ["gunicorn.timeout", "true", "boolean", "write a whole number"]),
        ({"gunicorn": {"timeout": None}}, ["gunicorn.timeout", "empty", "remove the line"]),
        ({"gunicorn": {"extra": []}}, ["gunicorn.extra", "[]", "not a dictionary", "key: value"]),
        ({"gunicorn": {"worker_class": "tornado"}}, ["gunicorn.worker_class", '"tornado"', "gthread, gevent"]),
        ({"gunicorn": {"hooks": {"stat": "x"}}}, ["gunicorn.hooks.stat", "did you mean start?"]),
        ({"gunicorn": {"hooks": {"start": 1.5}}}, ["gunicorn.hooks", "1.5", "quotes"]),
        ({"gunicorn": [1]}, ["gunicorn is [1]", "not a dictionary", "write gunicorn: {timeout: ...}"]),
        ({"gunicorn": {"gunicorn_timeout": 3}}, ["gunicorn.gunicorn_timeout", "leave out the prefix", "timeout"]),
        ({"python": {"uv_version": "1"}}, ["python.uv_version", "not a setting", "did you mean version?"]),
        ({"state": "gone"}, ["state", '"gone"', "present, absent"]),
        ({"domains": "a.example.com"}, ["domains", '"a.example.com"', "not a list", "hyphen"]),
        ({"domains": [1.5]}, ["domains", "1.5", "list"]),
        ({"source": {"package": "x", "version": 1.1}}, ["source.version", "1.1", "quotes"]),
        ({"source": {"package": "x", "versoin": "1"}}, ["source.versoin", "did you mean version?"]),
        ({"source": "../api"}, ["source", '"../api"', "not a dictionary"]),
        ({"certificate": {"crt": "x"}}, ["certificate.crt", "did you mean cert?"]),
    ],
)
def test_wrong_types_and_unknown_keys(schema, entry, words):
    _app, problems = resolve_one(schema, {"name": "api", **entry})
    assert len(problems) == 1, problems
    for word in words:
        assert word in problems[0]


def test_a_wrong_inventory_variable_names_itself(schema):
    _app, problems = resolve_one(schema, {"name": "api"}, {"gunicorn_timeout": "soon"})
    assert problems == ['gunicorn_timeout is "soon", not a whole number; write a whole number']


def test_relative_paths_count_from_the_first_base_that_has_them(tmp_path):
    (tmp_path / "b" / "api").mkdir(parents=True)
    bases = [str(tmp_path / "a"), str(tmp_path / "b")]
    assert settings.find_path("api", bases) == str(tmp_path / "b" / "api")
    assert settings.find_path("none", bases) == str(tmp_path / "a" / "none")
    assert settings.find_path("/abs", bases) == "/abs"


def test_source_has_its_kind_and_nothing_empty(schema):
    app, _problems = resolve_one(
        schema, {"name": "api", "source": {"archive": "https://e.example/a.tgz", "sha256": "AB"}}
    )
    assert app.data["source"] == {"kind": "archive", "archive": "https://e.example/a.tgz", "sha256": "ab"}


def test_plain_makes_ordinary_values():
    class Text(str):
        """A tagged string."""

    result = settings.plain({Text("a"): (Text("b"), 1, True, None)})
    assert result == {"a": ["b", 1, True, None]}
    assert type(next(iter(result))) is str
    assert type(result["a"][0]) is str


@pytest.mark.parametrize(
    ("value", "key", "expected"),
    [
        ("x", "", '"x"'),
        (True, "", "true"),
        ("https://me:pw@host/x", "", '"https://***@host/x"'),
        ("https://me:p@w@host/x", "", '"https://***@host/x"'),
        ("hunter2", "gunicorn.db_password", "(hidden)"),
        ("y" * 200, "", '"' + "y" * 96 + "..."),
    ],
)
def test_show(value, key, expected):
    assert settings.show(value, key) == expected


def test_every_default_of_the_collection_satisfies_its_own_spec():
    schema = settings.load_schema()
    assert schema.roles.keys() >= {"python", "release", "nginx", "certbot"}
    for role in schema.roles.values():
        for name, value in role.defaults.items():
            if isinstance(value, str) and "{{" in value:
                continue
            assert settings.coerce(name, role.options[name], value) == (value, ""), name
