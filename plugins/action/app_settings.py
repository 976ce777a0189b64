# SPDX-License-Identifier: GPL-3.0-or-later
"""Action part of webops.wsgi.app_settings: evaluates the inventory's variables on the controller, has them checked."""

from __future__ import annotations

import dataclasses
import re
import typing as t

import ansible.template
from ansible.plugins.action import ActionBase
from ansible_collections.webops.wsgi.plugins.plugin_utils import rollout
from ansible_collections.webops.wsgi.plugins.plugin_utils.app_failures import FACT
from ansible_collections.webops.wsgi.plugins.plugin_utils.checks import run as checks
from ansible_collections.webops.wsgi.plugins.plugin_utils.fleet import members, tiers
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory import misread
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.origins import directories, home, written_in
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import (
    UNEVALUATED,
    Problem,
    Schema,
    load_schema,
    plain,
)
from ansible_collections.webops.wsgi.plugins.plugin_utils.rendering import Renderer

_REASON = re.compile(
    r"'[^']+' is undefined|'[^']+' has no attribute '[^']+'|No filter named '[^']+'|Could not load \"[^\"]+\""
)


TAGS = (
    "--tags {} would run nothing: each role needs what those before it have found out, so tasks have no tags. Run the "
    "playbook without, webops.wsgi.deploy for code and configuration alone, or choose hosts with --limit"
)


class ActionModule(ActionBase):
    """Resolve and check the apps of one host."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS: frozenset[str] = frozenset()

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Return ``apps``, the resolved entries of ``wsgi_apps``, and ``on_host``, what the host is to judge of them.

        Fails with every problem there is, one a line.
        """
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        unknown = _without_tasks(variables.get("ansible_run_tags") or (), self._task.tags)
        if unknown:
            result.update(failed=True, msg=TAGS.format(", ".join(unknown)))
            return result
        schema = load_schema()
        problems: list[Problem] = []
        inventory = self._inventory(schema, variables, problems)
        warnings: list[str] = []
        entries, homes = self._entries(variables, problems, warnings)
        program = inventory.get("wsgi_balancer", schema.common["wsgi_balancer"]["default"])
        fleet = dataclasses.replace(self._fleet(variables), program=str(program))
        findings = checks.examine(
            schema,
            variables=list(variables),
            inventory=inventory,
            entries=entries,
            bases=directories(variables),
            homes=homes,
            defaults=self._defaults(schema, variables),
            logins=self._logins(variables),
            fleet=fleet,
            groups=variables.get("groups"),
            cluster=_is_cluster(variables),
        )
        problems.extend(findings.problems)
        if not problems:
            problems.extend(self._read_files(findings.apps, variables))
        result["changed"] = False
        warnings.extend(findings.warnings)
        if warnings:
            result["warnings"] = warnings
        if problems:
            result.update(failed=True, msg=checks.report(problems))
            return result
        # The apps carry their secrets, so nothing of this result may be displayed, at any verbosity.
        result.update(apps=findings.apps, on_host=findings.on_host, fleet=tiers.facts(fleet), _ansible_no_log=True)
        result["elsewhere"] = findings.elsewhere
        # What the play does with them from here on; facts may be cached from one run to the next.
        present = [app["name"] for app in findings.apps if app["state"] == "present"]
        result["ansible_facts"] = {rollout.PRESENT: present, rollout.ACTIVATED: None, rollout.FOLLOWS: {}, FACT: {}}
        result["ansible_facts"] |= {rollout.BATCHES: 1, rollout.BEFORE: {}}
        return result

    def _fleet(self, variables: dict[str, t.Any]) -> members.Fleet:
        """The fleet that the host belongs to; of other hosts, what they have to say of themselves."""
        own = variables.get("inventory_hostname", "")

        def variables_of(host: str) -> dict[str, t.Any]:
            found = variables if host == own else variables["hostvars"][host]
            written = {name: found[name] for name in members.SHARED if name in found}
            return {name: plain(self._templar.template(value)) for name, value in written.items()}

        return members.read(own, variables.get("groups") or {}, variables_of)

    def _inventory(self, schema: Schema, variables: dict[str, t.Any], problems: list[Problem]) -> dict[str, t.Any]:
        """Evaluated values of the role variables that the inventory sets."""
        found: dict[str, t.Any] = {}
        for name, _spec, _default, _role in schema.variables():
            if name in variables:
                value = self._evaluate("", name, variables[name], problems)
                if value is not UNEVALUATED:
                    found[name] = value
        return found

    def _defaults(self, schema: Schema, variables: dict[str, t.Any]) -> dict[str, t.Any]:
        """Evaluated values of the role defaults that are templates."""
        defaults = {name: value for role in schema.roles.values() for name, value in role.defaults.items()}
        templates = {name: value for name, value in defaults.items() if isinstance(value, str) and "{{" in value}
        if not templates:
            return {}
        trust = getattr(ansible.template, "trust_as_template", str)
        trusted = {name: trust(value) for name, value in templates.items()}
        templar = self._templar.copy_with_new_env(available_variables={**defaults, **trusted, **variables})
        return {name: plain(templar.template(value)) for name, value in trusted.items()}

    def _read_files(self, apps: list[dict[str, t.Any]], variables: dict[str, t.Any]) -> t.Iterator[Problem]:
        """Put the texts of the apps' configuration files, by name, in the place of where they come from."""
        renderer = Renderer(self, variables)
        for app in apps:
            texts: dict[str, str] = {}
            for number, entry in enumerate(app["files"]):
                try:
                    texts[entry["name"]] = _text(renderer, entry, app)
                except UnicodeDecodeError:
                    text = f"files[{number}] is {entry['name']}, which is not text in UTF-8"
                    yield Problem(app["name"], text, "ship it with the source, or encode it, in base64 say")
                except Exception as error:  # anything a filter or lookup raises
                    yield _unevaluated(app["name"], f"files[{number}].template", error)
            app["files"] = texts

    def _logins(self, variables: dict[str, t.Any]) -> set[str]:
        """Users that Ansible logs in as, as far as variables say."""
        names = [name for name in ("ansible_user", "ansible_ssh_user") if name in variables]
        values = [self._evaluate("", name, variables[name], []) for name in names]
        return {value for value in values if isinstance(value, str)}

    def _entries(
        self, variables: dict[str, t.Any], problems: list[Problem], warnings: list[str]
    ) -> tuple[t.Any, list[str]]:
        """Evaluated entries of ``wsgi_apps``, and the directories that relative paths in each count from.

        ``None`` without that variable; what cannot be evaluated is marked.
        """
        if "wsgi_apps" not in variables:
            return None, []
        raw = variables["wsgi_apps"]
        try:
            entries = self._templar.template(raw)
            warnings.extend(misread.warnings(entries))
            return plain(entries), _homes(entries, raw)
        except Exception as error:  # the reason is found again below, entry by entry
            if not isinstance(raw, list):
                problems.append(_unevaluated("", "wsgi_apps", error))
                return UNEVALUATED, []
        return [self._entry(f"number {number}", entry, problems) for number, entry in enumerate(raw, start=1)], []

    def _entry(self, label: str, entry: t.Any, problems: list[Problem]) -> t.Any:
        if not isinstance(entry, dict):
            return self._evaluate(label, "this entry", entry, problems)
        name = self._evaluate(label, "name", entry.get("name"), [])
        label = name if isinstance(name, str) and name else label
        return {plain(key): self._evaluate(label, plain(key), value, problems) for key, value in entry.items()}

    def _evaluate(self, label: str, key: str, value: t.Any, problems: list[Problem]) -> t.Any:
        """Value of a template, or :data:`UNEVALUATED` and a problem that names the innermost key at fault."""
        try:
            return plain(self._templar.template(value))
        except Exception as error:  # anything a filter or lookup raises
            before = len(problems)
            if isinstance(value, dict):
                for inner, item in value.items():
                    self._evaluate(label, f"{key}.{plain(inner)}", item, problems)
            if len(problems) == before:
                problems.append(_unevaluated(label, key, error))
            return UNEVALUATED


def _homes(entries: t.Any, raw: t.Any) -> list[str]:
    """The directories of the files that entries are written in, as far as Ansible knows them."""
    if not isinstance(entries, list):
        return []
    before = raw if isinstance(raw, list) and len(raw) == len(entries) else entries
    # ansible-core 2.18 knows it of what is not yet evaluated alone.
    return [home(written_in(entry) or written_in(old)) for entry, old in zip(entries, before, strict=True)]


def _is_cluster(variables: t.Mapping[str, t.Any]) -> bool:
    """Whether a host of the inventory stands for a cluster of Kubernetes, and is none that serves apps itself."""
    mine = variables.get("group_names") or ()
    return "kubernetes" in mine and "wsgi" not in mine


def _without_tasks(asked: t.Iterable[str], own: t.Iterable[str]) -> list[str]:
    """The tags that were asked for, when the play's tasks have none of them.

    They have those of a playbook that imports this one, and then this task has them too.
    """
    running = {"all", "untagged", *own} - {"always"}
    return [] if running & set(asked) else list(asked)


def _text(renderer: Renderer, entry: dict[str, t.Any], app: dict[str, t.Any]) -> str:
    """What is in a configuration file; vaults are opened."""
    if entry.get("template"):
        return renderer.render(entry["template"], {"app": app})
    return renderer.source(entry["path"]) if entry.get("path") else str(entry["text"])


def _unevaluated(label: str, key: str, error: Exception) -> Problem:
    """The problem for a template that failed; only Ansible's own words are repeated, a template may hold a secret."""
    text = str(error)
    reason = _REASON.search(text)
    if reason:
        return Problem(
            label, f"{key} cannot be evaluated, {reason.group()}", "define the variable, or correct its name"
        )
    if "vault" in text.lower() or "decrypt" in text.lower():
        return Problem(
            label,
            f"{key} cannot be decrypted",
            "give the vault password, with --ask-vault-pass or --vault-password-file",
        )
    return Problem(
        label,
        f"{key} is a template that fails ({type(error).__name__})",
        "correct the template; ansible-inventory --host shows the variable",
    )
