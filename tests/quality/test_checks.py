"""The checks of role variables and their tables must be able to fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import role_readmes
import role_variables
from roles import ROOT, Role

OPTION = {"type": "int", "description": ["Seconds."]}


def role(
    options: dict[str, Any], defaults: dict[str, Any], name: str = "gunicorn", root: Path = ROOT / "roles"
) -> Role:
    return Role(root / name, options, defaults)


def test_agreeing_variables_pass() -> None:
    apps = {"type": "list", "required": True, "description": ["Apps."]}
    assert not list(
        role_variables.problems_of(role({"gunicorn_timeout": OPTION, "wsgi_apps": apps}, {"gunicorn_timeout": 5}))
    )


@pytest.mark.parametrize(
    ("options", "defaults", "problem"),
    [
        ({"gunicorn_timeout": OPTION}, {}, "gunicorn_timeout is in meta/argument_specs.yml, but has no default"),
        ({}, {"gunicorn_timeout": 5}, "gunicorn_timeout has a default in defaults/main.yml, but is not described"),
        ({"timeout": OPTION}, {"timeout": 5}, "timeout does not start with gunicorn_"),
        ({"gunicorn_timeout": {"type": "int"}}, {"gunicorn_timeout": 5}, "gunicorn_timeout has no description"),
        ({"gunicorn_timeout": {**OPTION, "default": 6}}, {"gunicorn_timeout": 5}, "is 5 in defaults/main.yml and 6 in"),
        ({"gunicorn_timeout": OPTION}, {"gunicorn_timeout": "soon"}, "does not pass meta/argument_specs.yml"),
        ({"gunicorn_timeout": {**OPTION, "choices": [1, 2]}}, {"gunicorn_timeout": 5}, "must be one of"),
    ],
)
def test_each_disagreement_is_named(options: dict[str, Any], defaults: dict[str, Any], problem: str) -> None:
    assert problem in "\n".join(role_variables.problems_of(role(options, defaults)))


@pytest.mark.parametrize(
    "text", ["C(never ends\\).", "V(/api/\\), or C(= /path).", "See L(line, https://example.com\\)."]
)
def test_markup_that_does_not_end_is_named(text: str) -> None:
    inner = {
        "type": "dict",
        "description": ["Fine, C(f(\\))."],
        "options": {"key": {"type": "str", "description": [text]}},
    }
    assert list(role_readmes.unmatched(role({"gunicorn_log": inner}, {}))) == ["gunicorn_log.key"]


def test_table_row_has_type_default_override_and_meaning() -> None:
    option = {
        "type": "str",
        "choices": ["off", "json"],
        "description": [
            "C(json) writes to O(gunicorn_log_level), as C(f(\\)) | says.",
            "Second L(line, https://example.com).",
        ],
        "example": "json",
    }
    rows = list(role_readmes.tables(role({"gunicorn_access_log": option}, {"gunicorn_access_log": "off"})))
    assert rows[2] == (
        '| `gunicorn_access_log` | `"off"` or `json` | `"off"` | `gunicorn.access_log` | `json` writes to '
        "`gunicorn_log_level`, as `f()` \\| says. Second [line](https://example.com). Example: `json`. |"
    )


def test_host_wide_variables_have_no_key_in_an_app() -> None:
    option = {"type": "int", "description": ["Port."]}
    rows = list(
        role_readmes.tables(role({"nginx_proxy_http_port": option}, {"nginx_proxy_http_port": 80}, "nginx_proxy"))
    )
    assert rows[2] == "| `nginx_proxy_http_port` | int | `80` |  | Port. |"


def test_stale_table_is_found_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(role_readmes, "ROOT", tmp_path)
    subject = role({"gunicorn_timeout": OPTION}, {"gunicorn_timeout": 5}, root=tmp_path)
    subject.path.mkdir()
    readme = subject.path / "README.md"
    readme.write_text(f"# Title\n\n{role_readmes.BEGIN}\nold\n{role_readmes.END}\n\nend\n")
    assert not role_readmes.is_current(subject, write=False)
    assert "old" in readme.read_text()
    assert role_readmes.is_current(subject, write=True)
    assert role_readmes.is_current(subject, write=False)
    text = readme.read_text()
    assert text.startswith("# Title\n")
    assert text.endswith("\n\nend\n")
    assert "| `gunicorn_timeout` | int | `5` | `gunicorn.timeout` | Seconds. |" in text


def test_readme_without_marks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(role_readmes, "ROOT", tmp_path)
    subject = role({}, {}, root=tmp_path)
    assert not role_readmes.is_current(subject, write=True)
