# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller side of ``webops.wsgi.config_tree``: render every template, then call the module once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree import TreeFile, pack

try:
    from ansible.template import trust_as_template  # ansible-core 2.19 and later
except ImportError:
    trust_as_template = None

FILE_KEYS = frozenset({"dest", "template", "content", "vars", "each", "as", "mode", "owner"})
OVERRIDES = {"trim_blocks": True, "lstrip_blocks": False}


class Renderer:
    """Renders templates with Ansible's Templar as ``ansible.builtin.template`` does, each source read once."""

    def __init__(self, action: ActionModule, task_vars: Mapping[str, Any]) -> None:
        self.action = action
        self.task_vars = task_vars
        self.sources: dict[str, tuple[str, Any]] = {}
        self.templars: dict[str, Any] = {}

    def render(self, template: str, extra: Mapping[str, Any]) -> str:
        """Text of ``template`` with the task's variables and ``extra``.

        :raises AnsibleError: the template is not found or cannot be rendered.
        """
        if template not in self.sources:
            self.sources[template] = self._read(template)
        path, text = self.sources[template]
        variables = {**self.task_vars, **extra}
        templar = self._templar(os.path.dirname(path))
        templar.available_variables = variables
        if trust_as_template is None:
            rendered = templar.do_template(
                text, preserve_trailing_newlines=True, escape_backslashes=False, overrides=OVERRIDES
            )
        else:
            rendered = templar.template(text, escape_backslashes=False, overrides=OVERRIDES)
        return "" if rendered is None else str(rendered)

    def _read(self, template: str) -> tuple[str, Any]:
        path = self.action._find_needle("templates", template)
        real = self.action._loader.get_real_file(path)
        try:
            with open(real, encoding="utf-8") as stream:
                text = stream.read()
        finally:
            self.action._loader.cleanup_tmp_file(real)
        return path, text if trust_as_template is None else trust_as_template(text)

    def _templar(self, folder: str) -> Any:
        """A Templar whose includes and imports are looked up beside the template, as template's are."""
        if folder not in self.templars:
            roots = [*self.task_vars.get("ansible_search_path", []), self.action._loader.get_basedir(), folder]
            search = [path for root in roots for path in (os.path.join(root, "templates"), root)]
            settings: dict[str, Any] = {"searchpath": search, "available_variables": dict(self.task_vars)}
            if trust_as_template is None:
                from ansible.template import AnsibleEnvironment

                settings["environment_class"] = AnsibleEnvironment
            self.templars[folder] = self.action._templar.copy_with_new_env(**settings)
        return self.templars[folder]


class ActionModule(ActionBase):
    """Render, pack, execute."""

    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        arguments = dict(self._task.args)
        if "packed" in arguments:
            raise AnsibleActionFail("packed is filled in by this action; give files")
        files = self._files(arguments.pop("files", None), Renderer(self, variables))
        arguments.update(files=[], packed=pack(files))
        result.update(
            self._execute_module(module_name="webops.wsgi.config_tree", module_args=arguments, task_vars=variables)
        )
        return result

    def _files(self, entries: Any, renderer: Renderer) -> list[TreeFile]:
        if not isinstance(entries, list):
            raise AnsibleActionFail("files is required and must be a list")
        found: list[TreeFile] = []
        for entry in entries:
            _check_entry(entry)
            if entry.get("each") is None:
                found.append(_render(entry, {}, {}, renderer))
                continue
            for item in entry["each"]:
                found.append(_render(entry, item, {entry.get("as", "item"): item}, renderer))
        return found


def _check_entry(entry: Any) -> None:
    """:raises AnsibleActionFail: an entry of ``files`` has unknown keys or not exactly one source of text."""
    if not isinstance(entry, dict) or not entry.get("dest"):
        raise AnsibleActionFail(f"files: every entry is a dictionary with dest, found {entry!r}")
    unknown = sorted(set(entry) - FILE_KEYS)
    if unknown:
        raise AnsibleActionFail(f"files: {entry['dest']}: unknown {', '.join(unknown)}")
    if (entry.get("template") is None) == (entry.get("content") is None):
        raise AnsibleActionFail(f"files: {entry['dest']}: give either template or content")
    if not isinstance(entry.get("each", []) or [], list) or not isinstance(entry.get("vars", {}) or {}, dict):
        raise AnsibleActionFail(f"files: {entry['dest']}: each must be a list and vars a dictionary")


def _render(
    entry: Mapping[str, Any], item: Mapping[str, Any], extra: Mapping[str, Any], renderer: Renderer
) -> TreeFile:
    dest, owner = _fill(str(entry["dest"]), item), _fill(str(entry.get("owner") or ""), item)
    content = entry.get("content")
    if content is None:
        try:
            content = renderer.render(str(entry["template"]), {**(entry.get("vars") or {}), **extra})
        except (AnsibleError, OSError, UnicodeError) as error:
            label = f"{owner}: " if owner else ""
            raise AnsibleActionFail(f"{label}{dest} from template {entry['template']}: {error}") from error
    mode = entry.get("mode")
    return TreeFile(dest, str(content), mode if isinstance(mode, int) else int(str(mode or "0644"), 8), owner)


def _fill(text: str, item: Mapping[str, Any]) -> str:
    for key, value in item.items():
        if isinstance(value, (str, int)):
            text = text.replace("{" + str(key) + "}", str(value))
    return text
