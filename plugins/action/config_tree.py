# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller side of ``webops.wsgi.config_tree``: render every template, then call the module once."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.files import (
    TreeFile,
    digests_by_top,
    generation_of,
    is_numbered,
    pack,
)
from ansible_collections.webops.wsgi.plugins.plugin_utils.app_failures import by_app, remember, settle

try:
    from ansible.template import trust_as_template  # ansible-core 2.19 and later
except ImportError:
    trust_as_template = None

FILE_KEYS = frozenset({"dest", "template", "content", "vars", "each", "as", "mode", "owner", "group"})
OVERRIDES = {"trim_blocks": True, "lstrip_blocks": False}


class Renderer:
    """Renders templates with Ansible's Templar as ``ansible.builtin.template`` does, each source read once."""

    def __init__(self, action: ActionBase, task_vars: Mapping[str, Any]) -> None:
        self.action = action
        self.task_vars = task_vars
        self.sources: dict[str, tuple[str, str]] = {}
        self.templars: dict[str, Any] = {}

    def render(self, template: str, extra: Mapping[str, Any]) -> str:
        """Text of ``template`` with the task's variables and ``extra``.

        :raises AnsibleError: the template is not found or cannot be rendered.
        """
        path, text = self._source(template)
        return self._render(path, text, extra)

    def source(self, template: str) -> str:
        """The text of a file as it is, decrypted where it is a vault."""
        return self._source(template)[1]

    def render_each(self, template: str, name: str, items: list[Any], extra: Mapping[str, Any]) -> list[str] | None:
        """Texts of ``template`` for each of ``items`` as the variable ``name``; None when it must be done one by one.

        All are rendered as one template, a loop around the source: to compile it takes longer than to run it.
        """
        path, text = self._source(template)
        if re.search(r"{%[-+]?\s*(extends|block)\b", text):
            return None
        mark = f"@@{secrets.token_hex(16)}@@"
        start = "{% for " + name + " in __config_tree_items %}" + ("\n" if text.startswith("\n") else "")
        loop = start + text + mark + "{% endfor %}"
        try:
            rendered = self._render(path, loop, {**extra, "__config_tree_items": items})
        except AnsibleError:
            return None  # one by one, the item at fault is named
        return rendered.split(mark)[:-1]

    def _render(self, path: str, text: str, extra: Mapping[str, Any]) -> str:
        templar = self._templar(os.path.dirname(path))
        templar.available_variables = {**self.task_vars, **extra}
        try:
            if trust_as_template is None:
                rendered = templar.do_template(
                    text, preserve_trailing_newlines=True, escape_backslashes=False, overrides=OVERRIDES
                )
            else:
                rendered = templar.template(trust_as_template(text), escape_backslashes=False, overrides=OVERRIDES)
        except AnsibleError:
            raise
        except Exception as error:  # whatever a filter or an expression of the template raises
            raise AnsibleActionFail(f"{type(error).__name__}: {error}") from error
        return "" if rendered is None else str(rendered)

    def _source(self, template: str) -> tuple[str, str]:
        if template not in self.sources:
            path = self.action._find_needle("templates", template)
            real = self.action._loader.get_real_file(path)
            try:
                with open(real, encoding="utf-8") as stream:
                    self.sources[template] = path, stream.read()
            finally:
                self.action._loader.cleanup_tmp_file(real)
        return self.sources[template]

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
        in_place = str(arguments.pop("in_place", None) or "")
        if in_place and not arguments.get("keep") and _is_generation(in_place, files):
            digests = digests_by_top({item.dest: item for item in files})
            return {**result, "changed": False, "generation": in_place, "digests": digests, "reloaded": False}
        arguments.update(files=[], packed=pack(files))
        result.update(
            self._execute_module(module_name="webops.wsgi.config_tree", module_args=arguments, task_vars=variables)
        )
        if result.get("failed") and str(result.get("owner") or "").startswith('app "'):
            settle(self, result, by_app([str(result["msg"])]), variables)
        return remember(result, variables)

    def _files(self, entries: Any, renderer: Renderer) -> list[TreeFile]:
        if not isinstance(entries, list):
            raise AnsibleActionFail("files is required and must be a list")
        found: list[TreeFile] = []
        for entry in entries:
            _check_entry(entry)
            found += _each(entry, renderer) if entry.get("each") is not None else [_render(entry, {}, {}, renderer)]
        return found


def _is_generation(name: str, files: list[TreeFile]) -> bool:
    """Whether these are the files of a generation; one that is given twice is left to the module, which refuses it."""
    wanted = {item.dest: item for item in files}
    return len(wanted) == len(files) and is_numbered(name, generation_of(wanted))


def _check_entry(entry: Any) -> None:
    """:raises AnsibleActionFail: an entry of ``files`` has unknown keys or not exactly one source of text."""
    if not isinstance(entry, dict) or not entry.get("dest"):
        raise AnsibleActionFail(f"files: every entry is a dictionary with dest, found {entry!r}")
    unknown = sorted(set(entry) - FILE_KEYS)
    if unknown:
        raise AnsibleActionFail(f"files: {entry['dest']}: unknown {', '.join(unknown)}")
    if (entry.get("template") is None) == (entry.get("content") is None):
        raise AnsibleActionFail(f"files: {entry['dest']}: give either template or content")
    mode = entry.get("mode") or "0644"
    if not isinstance(mode, int) and not re.fullmatch(r"0?[0-7]{3,4}", str(mode)):
        raise AnsibleActionFail(f'files: {entry["dest"]}: mode is {mode!r}, expected octal digits such as "0644"')
    if not isinstance(entry.get("each", []) or [], list) or not isinstance(entry.get("vars", {}) or {}, dict):
        raise AnsibleActionFail(f"files: {entry['dest']}: each must be a list and vars a dictionary")


def _each(entry: Mapping[str, Any], renderer: Renderer) -> list[TreeFile]:
    """The files of an entry with ``each``."""
    name, items = str(entry.get("as") or "item"), list(entry["each"])
    texts = None
    if entry.get("template") is not None and items:
        texts = renderer.render_each(str(entry["template"]), name, items, entry.get("vars") or {})
    if texts is None:
        return [_render(entry, item, {name: item}, renderer) for item in items]
    return [_file(entry, item, text) for item, text in zip(items, texts, strict=True)]


def _render(
    entry: Mapping[str, Any], item: Mapping[str, Any], extra: Mapping[str, Any], renderer: Renderer
) -> TreeFile:
    """:raises AnsibleActionFail: the template cannot be rendered; the message names the file and its owner."""
    if entry.get("content") is not None:
        return _file(entry, item, str(entry["content"]))
    try:
        text = renderer.render(str(entry["template"]), {**(entry.get("vars") or {}), **extra})
    except (AnsibleError, OSError, UnicodeError) as error:
        place = _file(entry, item, "")
        label = f"{place.owner}: " if place.owner else ""
        raise AnsibleActionFail(f"{label}{place.dest} from template {entry['template']}: {error}") from error
    return _file(entry, item, text)


def _file(entry: Mapping[str, Any], item: Mapping[str, Any], text: str) -> TreeFile:
    mode = entry.get("mode") or "0644"
    return TreeFile(
        _fill(str(entry["dest"]), item),
        text,
        mode if isinstance(mode, int) else int(str(mode), 8),
        _fill(str(entry.get("owner") or ""), item),
        str(entry.get("group") or ""),
    )


def _fill(text: str, item: Mapping[str, Any]) -> str:
    for key, value in item.items():
        if isinstance(value, (str, int)):
            text = text.replace("{" + str(key) + "}", str(value))
    return text
