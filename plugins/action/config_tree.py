# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller side of ``webops.wsgi.config_tree``: render every template, then call the module once."""

from __future__ import annotations

import re
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
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import plain
from ansible_collections.webops.wsgi.plugins.plugin_utils.rendering import Renderer

FILE_KEYS = frozenset({"dest", "template", "content", "vars", "each", "as", "mode", "owner", "group"})


class ActionModule(ActionBase):
    """Render, pack, execute."""

    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        self.variables = variables = task_vars or {}
        arguments = dict(self._task.args)
        if "packed" in arguments:
            raise AnsibleActionFail("packed is filled in by this action; give files")
        files = rendered_files(self.files(), Renderer(self, variables))
        for name in ("files", "apps"):
            arguments.pop(name, None)
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

    def files(self) -> Any:
        """The entries of the tree; another action of this kind makes them of apps."""
        return plain(self._task.args.get("files"))


def rendered_files(entries: Any, renderer: Renderer) -> list[TreeFile]:
    """The files of a tree.

    :raises AnsibleActionFail: an entry is none, or its template cannot be rendered.
    """
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
    name = str(entry.get("as") or "item")
    return [_render(entry, item, {name: item}, renderer) for item in entry["each"]]


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
        raise AnsibleActionFail(f"{label}{place.dest} from template {entry['template']}: {error}") from None
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
