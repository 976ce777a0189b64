# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module leaves in the host's logs and in its result, under the ansible-core that is installed."""

from __future__ import annotations

import ast
import base64
import contextlib
import hashlib
import json
import pathlib
import re
import shlex
from urllib.parse import quote

import pytest
from ansible.module_utils import basic
from ansible_collections.webops.wsgi.plugins.module_utils.managers.systemd import environment_file
from ansible_collections.webops.wsgi.plugins.module_utils.quiet_module import spellings, visible
from ansible_collections.webops.wsgi.plugins.module_utils.release import plan as release
from ansible_collections.webops.wsgi.plugins.modules import app_release
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

MODULES = pathlib.Path(__file__).resolve().parents[2] / "plugins" / "modules"
SECRETS = {
    "quotes": 'it\'s "quoted"',
    "backslash": "back\\slash",
    "tab": "tab\there",
    "lines": "the first line\nthe second line",
    "not ASCII": "пароль-секрет",
    "percent": "100%-sure%s",
    "dollar": "$HOME`id`",
    "URL": "https://user:p%40ssword@index.example.test/simple",
    "long": "".join(hashlib.sha256(bytes([number])).hexdigest() for number in range(100)),
    "looks like a number": "8044311",
}
NOTATIONS = {
    "as it is": str,
    "repr": repr,
    "repr of a list": lambda value: repr([value, "'\""]),
    "repr within a text": lambda value: repr(f"'\"{value}"),
    "repr of bytes": lambda value: repr(value.encode()),
    "ascii": ascii,
    "JSON": json.dumps,
    "JSON, not ASCII": lambda value: json.dumps(value, ensure_ascii=False),
    "shell": shlex.quote,
    "shell trace": lambda value: "'" + value.replace("'", "'\\''") + "'",
    "environment file": lambda value: environment_file({"NAME": value}).split("=", 1)[1],
    "URL": lambda value: quote(value, safe=""),
    "base64": lambda value: base64.b64encode(value.encode()).decode(),
    "cut off": lambda value: value[: max(64, len(value) * 2 // 3)] if len(value) > 1000 else value,
    "last line": lambda value: value.splitlines()[-1],
}


def masked(text: str, secrets: list[str]) -> str:
    """What a result shows of a text."""
    for needle in sorted(spellings(secrets), key=len, reverse=True):
        text = text.replace(needle, "********")
    return text


@pytest.mark.parametrize("notation", NOTATIONS.values(), ids=NOTATIONS)
@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_a_secret_is_masked_in_every_notation(secret, notation):
    left = masked(f"before {notation(secret)} after", [secret])
    assert left.startswith("before ")
    assert left.endswith(" after")
    rest = re.sub(r"before | after|\*{8}|\\n|[\[\]b\s\"',\\]", "", left)
    # Of what a message cuts off, the last piece is too short to be recognised.
    assert len(rest) < (32 if len(secret) > 1000 else 1), f"shows {rest!r}"


def test_a_private_key_is_masked_by_the_line():
    key = ec.generate_private_key(ec.SECP384R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    for line in pem.splitlines()[1:-1]:
        assert masked(f"> {line}", [pem]) == "> ********"
    assert masked("-----BEGIN PRIVATE KEY-----", [pem]) == "-----BEGIN PRIVATE KEY-----"


def test_a_password_of_a_url_is_masked_alone():
    for shown in ("p%40ssword", "p@ssword"):
        assert masked(f"401 for {shown}", [SECRETS["URL"]]) == "401 for ********"


@pytest.mark.parametrize("word", ["", "1", "true", "4711", "a\nb"])
def test_short_words_stay_readable(word):
    assert spellings([word]) == set()


def release_options(**changes):
    """Options of app_release with secrets of every kind."""
    options = {
        "name": "api",
        "build": "b",
        "source": "s",
        "config": "c",
        "settings": "",
        "runtime": "",
        "files": {},
        "environment": "".join(f'{name}="{value}"\n' for name, value in SECRETS.items()),
        "credentials": {**SECRETS, "pin": "4711"},
        "masked": list(SECRETS.values()),
        "commands": {"migrate": "echo commanded"},
        "health": {"headers": {"Authorization": "Bearer of-the-header"}},
    }
    return {"releases": [{**options, **changes}], "_ansible_no_log": False, "_ansible_verbosity": 4}


@pytest.fixture(name="logged")
def fixture_logged(monkeypatch):
    """Everything that is written to the host's logs."""
    lines: list[str] = []
    monkeypatch.setattr(basic.syslog, "syslog", lambda *told: lines.append(str(told[-1])))
    monkeypatch.setattr(basic, "has_journal", False)
    return lines


def run(monkeypatch, capsys, options, plan) -> dict:
    """The result of app_release as it goes to the controller."""
    monkeypatch.setattr(release, "plan", plan)
    try:
        from ansible.module_utils.testing import patch_module_args  # ansible-core 2.19 and later

        given = patch_module_args(options)
    except ImportError:
        given = contextlib.nullcontext()
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": options}).encode())
    with given, pytest.raises(SystemExit):
        app_release.main()
    return json.loads(capsys.readouterr().out)


def shown(text: str) -> list[str]:
    """The secrets of which a text shows something."""
    told = [*SECRETS.values(), "of-the-header", "second line", "it's", "slash"]
    return [secret for secret in told if secret in text or repr(secret)[1:-1] in text or secret[:64] in text]


def test_nothing_is_logged_and_the_result_shows_no_options(monkeypatch, capsys, logged):
    result = run(monkeypatch, capsys, release_options(), lambda *_: [])
    assert logged == []
    assert result["changed"] is False
    assert shown(json.dumps(result, ensure_ascii=False)) == []
    assert "4711" not in json.dumps(result)


def test_a_failure_says_why_and_shows_no_secret(monkeypatch, capsys, logged):
    def fail(*_):
        told = "\n".join(f"{notation(secret)}" for secret in SECRETS.values() for notation in (str, repr, json.dumps))
        raise release.ReleaseError(f"release 4 failed with code 4711\n{told}")

    result = run(monkeypatch, capsys, release_options(), fail)
    assert logged == []
    assert result["msg"].startswith("release 4 failed with code 4711\n")
    assert shown(result["msg"]) == []


def test_refused_options_are_not_quoted(monkeypatch, capsys, logged):
    result = run(monkeypatch, capsys, release_options(units=[{"name": "x"}]), lambda *_: [])
    assert "missing required arguments" in result["msg"]
    assert logged == []
    assert shown(json.dumps(result, ensure_ascii=False)) == []


@pytest.mark.parametrize("path", sorted(MODULES.glob("*.py")), ids=lambda path: path.stem)
def test_every_module_is_a_quiet_one(path):
    names = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
    assert "AnsibleModule" not in names


def test_control_characters_of_a_message_are_written_out() -> None:
    text = visible("line\n\tgrün \x1b]0;title\x07\x9b2J\r")
    assert text == "line\n\tgrün \\x1b]0;title\\x07\\x9b2J\\r"
