# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prints or writes the inventory of a host that was set up by hand, and a vault with its secrets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.webops.wsgi.plugins.plugin_utils.adopt.inventory import inventory, secrets
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import plain

CONNECTION = ("ansible_host", "ansible_port", "ansible_user")


class ActionModule(ActionBase):
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        known, arguments = task_vars or {}, plain(self._task.args)
        host = str(known.get("inventory_hostname", "host"))
        variables = {name: plain(known[name]) for name in CONNECTION if known.get(name) not in (None, "")}
        apps, taken = arguments["apps"], set(arguments.get("taken") or [])
        text = inventory(host, apps, variables, taken, arguments.get("left") or [])
        vault = arguments.get("vault")
        encrypted = self._encrypted(secrets(apps, arguments.get("secrets") or [], taken)) if vault else ""
        output = arguments.get("output")
        if not output:
            self._display.display(text)
        else:
            _write(text, "output", output, 0o666)
            self._display.display(f"The inventory is {output}; read its comments first")
        if vault:
            _write(encrypted, "vault", vault, 0o600)
            self._display.display(f"The secrets are in {vault}, encrypted; give it with -e @{vault}")
        result["changed"] = False
        return result

    def _encrypted(self, values: dict[str, str]) -> str:
        """A file of variables that only who knows the password can read."""
        keeper = self._loader._vault
        if not keeper.secrets:
            raise AnsibleActionFail("vault is set, but no password for it; run again with --ask-vault-pass")
        encrypted: bytes = keeper.encrypt(yaml.safe_dump(values, sort_keys=False))
        return encrypted.decode()


def _write(text: str, option: str, name: str, mode: int) -> None:
    path = Path(name).expanduser().absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise AnsibleActionFail(f"{option} is {path}, which exists; write -e {option}=FILE for a new one") from None
    except OSError as error:
        raise AnsibleActionFail(f"cannot write {path}: {error}; write -e {option}=FILE for another file") from None
