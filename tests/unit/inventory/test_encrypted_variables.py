# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets as docs/tasks/secrets.md keeps them reach an app: by Vault, and by SOPS with the ansible.cfg of the page."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from roles import ROOT

SECRETS = b"vault_api_secret_key: correct horse\n"
INVENTORY = """\
wsgi:
  hosts: {web1: {ansible_connection: local}}
  vars: {secrets: {SECRET_KEY: "{{ vault_api_secret_key }}"}}
"""
# What stands in for the program sops: it "decrypts" what is in base64.
SOPS = f"""\
#!{sys.executable}
import base64, sys
if "--version" in sys.argv:
    sys.exit(print("sops 3.9.4"))
path = [word for word in sys.argv[1:] if not word.startswith("-")][-1]
print(base64.b64decode(open(path).read().partition("ENC:")[2]).decode())
"""


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    """The group's variables."""
    folder = tmp_path / "inventory" / "group_vars" / "wsgi"
    folder.mkdir(parents=True)
    (tmp_path / "inventory" / "hosts.yml").write_text(INVENTORY)
    return folder


def seen(folder: Path, *options: str, **environment: str) -> str:
    """What Ansible makes of the app's secrets."""
    command = ["ansible", "-i", "inventory", *options, "-m", "ansible.builtin.debug", "-a", "msg={{ secrets }}", "wsgi"]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def test_vault(beside: Path, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("of the vault")
    (beside / "vault.yml").write_bytes(SECRETS)
    encrypt = [
        "ansible-vault",
        "encrypt",
        "--vault-password-file",
        str(tmp_path / "password"),
        str(beside / "vault.yml"),
    ]
    subprocess.run(encrypt, check=True, capture_output=True)
    assert "correct" not in (beside / "vault.yml").read_text()
    assert "correct horse" in seen(tmp_path, "--vault-password-file", "password")
    assert "correct horse" not in seen(tmp_path)


def test_sops(beside: Path, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "tasks" / "secrets.md").read_text(encoding="utf-8")
    (settings,) = re.findall(r"^```ini\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    (tmp_path / "ansible.cfg").write_text(settings)
    (beside / "secrets.sops.yml").write_text(f"# ENC:{base64.b64encode(SECRETS).decode()}")
    program = tmp_path / "bin" / "sops"
    program.parent.mkdir()
    program.write_text(SOPS)
    program.chmod(0o755)
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    assert "correct horse" in seen(tmp_path, PATH=path, ANSIBLE_CONFIG=str(tmp_path / "ansible.cfg"))
