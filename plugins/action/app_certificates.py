# Copyright (c) webops.wsgi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Controller side of C(app_certificates): sends only what concerns certificates, reads provided ones."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import typing as t

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.webops.wsgi.plugins.plugin_utils.app_failures import remember
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import collection_root, plain
from ansible_collections.webops.wsgi.plugins.plugin_utils.rendering import Renderer
from ansible_collections.webops.wsgi.plugins.plugin_utils.resolved_apps import resolved_apps

APP_KEYS = ("name", "state", "domains", "tls")
ACME_KEYS = (
    "acme_directory",
    "staging",
    "email",
    "key_type",
    "profile",
    "dns_propagation",
    "eab_kid",
    "eab_hmac_key",
    "fallbacks",
    "preflight",
    "preflight_holds_back",
)
PLACEHOLDER_KEYS = ("ensure", "apps", "provided", "links", "store", "letsencrypt")  # options that this phase reads


def reduce_app(app: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the part of a resolved app that the module needs; secrets and environment stay on the controller."""
    reduced = {key: app[key] for key in APP_KEYS if key in app}
    acme = app.get("certbot") or {}
    reduced["certbot"] = {key: acme[key] for key in ACME_KEYS if key in acme}
    if uses_dns(app):
        reduced["certbot"]["dns_plugin"] = acme.get("dns_plugin") or ""
    return reduced


def uses_dns(app: t.Mapping[str, t.Any]) -> bool:
    """Whether certbot answers the challenge for this app in DNS."""
    return (app.get("certbot") or {}).get("challenge") == "dns-01"


def rendered(entry: t.Mapping[str, t.Any], renderer: Renderer) -> dict[str, t.Any]:
    """An entry of ``files`` with the text of its template as its content."""
    template = entry.get("template")
    if not template:
        return dict(entry)
    own = os.path.join(collection_root(), "roles", "certbot", "templates", str(template))  # from any play
    path = own if os.path.isfile(own) else str(template)
    return {**entry, "template": "", "content": renderer.render(path, {})}


def signature(options: t.Mapping[str, t.Any]) -> str:
    """What two calls have in common that ask for the same."""
    if options["ensure"] == "placeholder":
        told = {key: options[key] for key in PLACEHOLDER_KEYS if key in options}
    else:
        told = {**options, "nginx_reloads": False}  # says nothing of what is wanted
    return hashlib.sha256(json.dumps(plain(told), sort_keys=True).encode()).hexdigest()


class Call:
    """Makes the module's options of a task's."""

    def __init__(self, action: ActionBase, task_vars: t.Mapping[str, t.Any]) -> None:
        self._loader = action._loader
        self._variables = task_vars
        self._renderer = Renderer(action, task_vars)

    @functools.cached_property
    def _of_play(self) -> list[dict[str, t.Any]]:
        return resolved_apps({}, self._variables)

    def options(self, given: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        """The options as the module takes them, with the contents of files that are here.

        :raises AnsibleActionFail: a file cannot be read; the message names app and file.
        """
        arguments = {**(given.get("options") or {}), **given}
        for own in ("options", "in_place"):
            arguments.pop(own, None)
        apps = resolved_apps(arguments, self._variables) if "apps" in arguments else self._of_play
        if not isinstance(apps, list) or not all(isinstance(app, dict) for app in apps):
            raise AnsibleActionFail("app_certificates: apps must be a list of dictionaries")
        keys_too = arguments.get("ensure") == "placeholder"
        arguments["provided"] = {
            app["name"]: self._read_provided(app, keys_too)
            for app in apps
            if app.get("tls") == "provided" and app.get("state", "present") == "present"
        }
        if not keys_too:
            arguments["credentials"] = {
                app["name"]: self._read_file(app["name"], "certbot.dns_credentials", app["certbot"]["dns_credentials"])
                for app in apps
                if app.get("state", "present") == "present" and app.get("tls") == "letsencrypt" and uses_dns(app)
            }
        arguments["apps"] = [reduce_app(app) for app in apps]
        # Not by lookups in the task: each would copy all variables, all apps among them.
        arguments["files"] = [rendered(entry, self._renderer) for entry in arguments.get("files") or []]
        return arguments

    def _read_provided(self, app: t.Mapping[str, t.Any], keys_too: bool) -> dict[str, str]:
        """Return the contents of the app's certificate files. Raises AnsibleActionFail naming app and file."""
        named = app.get("certificate") or {}
        contents = {}
        for part in ("cert", "key") if keys_too else ("cert",):
            if not named.get(part):
                raise AnsibleActionFail(
                    f'app "{app["name"]}": tls is provided, but certificate.{part} is not set; '
                    f"name the PEM file with the {'certificate chain' if part == 'cert' else 'private key'}"
                )
            contents[part] = self._read_file(app["name"], f"certificate.{part}", named[part])
        return contents

    def _read_file(self, app: str, key: str, path: str) -> str:
        """Return the text of a file on the controller, decrypted when it is in a vault."""
        try:
            real = self._loader.get_real_file(self._loader.path_dwim(path), decrypt=True)
        except AnsibleError as error:
            raise AnsibleActionFail(f'app "{app}": {key} cannot be read: {error}') from None
        try:
            with open(real, encoding="utf-8") as handle:
                return handle.read()
        except (OSError, UnicodeDecodeError) as error:
            raise AnsibleActionFail(f'app "{app}": {key} ({path}) cannot be read: {error}') from None
        finally:
            self._loader.cleanup_tmp_file(real)


class ActionModule(ActionBase):
    """Runs the module with the reduced apps and the rendered files."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Read provided certificates, then run the module on the host, unless all is known to be in place."""
        super().run(tmp, task_vars)
        given = self._task.args
        options = Call(self, task_vars or {}).options(given)
        if (given.get("in_place") or {}).get(options.get("ensure")) == signature(options):
            return {"changed": False, "actions": [], "issued": []}
        done = self._execute_module(
            module_name="webops.wsgi.app_certificates", module_args=options, task_vars=task_vars
        )
        return remember(done, task_vars or {})
