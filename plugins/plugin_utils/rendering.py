# SPDX-License-Identifier: GPL-3.0-or-later
"""Templates rendered on the controller.

The collection's own are rendered by an environment of Jinja of our own: Ansible's templating looks at each value that a
template reads, which with fifty apps took most of a run that had nothing to do. What they are compiled to is kept from
run to run. A person's template is rendered by Ansible, as C(ansible.builtin.template) does, with all that it knows.
"""

from __future__ import annotations

import functools
import os
import pickle
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import filter_loader, lookup_loader, test_loader
from ansible.release import __version__ as ansible_version
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import collection_root, plain
from jinja2 import (
    BytecodeCache,
    Environment,
    FileSystemBytecodeCache,
    FileSystemLoader,
    FunctionLoader,
    StrictUndefined,
    Template,
)
from jinja2.bccache import Bucket
from jinja2.runtime import Context
from jinja2.utils import missing

try:
    from ansible.template import trust_as_template  # ansible-core 2.19 and later
except ImportError:
    trust_as_template = None

OVERRIDES = {"trim_blocks": True, "lstrip_blocks": False}


class Renderer:
    """Renders templates for an action with the variables of its task; each source is read, and compiled, once."""

    def __init__(self, action: ActionBase, task_vars: Mapping[str, Any]) -> None:
        self.action = action
        self.task_vars = task_vars
        self._sources: dict[str, tuple[str, str]] = {}
        self._environments: dict[str, _Environment] = {}
        self._compiled: dict[str, Template] = {}
        self._values: dict[str, Any] = {}

    def render(self, template: str, extra: Mapping[str, Any]) -> str:
        """Text of ``template`` with the task's variables and ``extra``.

        :raises AnsibleError: the template is not found or cannot be rendered.
        """
        path, text = self._source(template)
        try:
            if not Path(path).resolve().is_relative_to(_roles()):
                return self._by_ansible(path, text, extra)
            if path not in self._compiled:
                self._compiled[path] = self._environment(os.path.dirname(path)).compiled(path, text)
            return _with_ends_of(text, self._compiled[path].render(extra))
        except AnsibleError:
            raise
        except Exception as error:  # whatever a filter or an expression of the template raises
            raise AnsibleActionFail(f"{type(error).__name__}: {error}") from error

    def source(self, template: str) -> str:
        """The text of a file as it is, decrypted where it is a vault."""
        return self._source(template)[1]

    def value(self, name: str) -> Any:
        """The task's variable ``name``, evaluated; ``missing`` where there is none."""
        if name not in self.task_vars:
            return missing
        if name not in self._values:
            templar = self.action._templar.copy_with_new_env(available_variables=self.task_vars)
            self._values[name] = plain(templar.template(self.task_vars[name]))
        return self._values[name]

    def _source(self, template: str) -> tuple[str, str]:
        if template not in self._sources:
            path = self.action._find_needle("templates", template)
            real = self.action._loader.get_real_file(path)
            try:
                with open(real, encoding="utf-8") as stream:
                    self._sources[template] = path, stream.read()
            finally:
                self.action._loader.cleanup_tmp_file(real)
        return self._sources[template]

    def _search(self, folder: str) -> list[str]:
        """Where includes and imports are looked up: beside the template, and where Ansible's module looks."""
        roots = [*self.task_vars.get("ansible_search_path", []), self.action._loader.get_basedir(), folder]
        return [path for root in roots for path in (os.path.join(root, "templates"), root)]

    def _environment(self, folder: str) -> _Environment:
        if folder not in self._environments:
            self._environments[folder] = _Environment(self.value, self._look_up, self._search(folder))
        return self._environments[folder]

    def _look_up(self, name: str, *terms: Any) -> str:
        lookup = lookup_loader.get(name, loader=self.action._loader, templar=self.action._templar)
        return ",".join(map(str, lookup.run(list(terms), variables=self.task_vars)))

    def _by_ansible(self, path: str, text: str, extra: Mapping[str, Any]) -> str:
        settings: dict[str, Any] = {
            "searchpath": self._search(os.path.dirname(path)),
            "available_variables": {**self.task_vars, **extra},
        }
        if trust_as_template is None:
            from ansible.template import AnsibleEnvironment

            templar = self.action._templar.copy_with_new_env(environment_class=AnsibleEnvironment, **settings)
            options = {"preserve_trailing_newlines": True, "escape_backslashes": False, "overrides": OVERRIDES}
            rendered = templar.do_template(text, **options)
        else:
            templar = self.action._templar.copy_with_new_env(**settings)
            rendered = templar.template(trust_as_template(text), escape_backslashes=False, overrides=OVERRIDES)
        return "" if rendered is None else str(rendered)


def _roles() -> Path:
    return Path(collection_root()).resolve() / "roles"


def _with_ends_of(text: str, rendered: str) -> str:
    """A rendered text with the line ends that its source ends in: only what is included loses its last one."""
    missed = _ends(text) - _ends(rendered)
    return rendered + "\n" * missed


def _ends(text: str) -> int:
    return len(text) - len(text.rstrip("\n"))


class _Undefined(StrictUndefined):
    """As Ansible's: a key of what is not defined is not defined either, and only to use it is an error."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __getitem__(self, key: Any) -> Any:
        return self


class _Context(Context):
    """Variables of the task are evaluated when a template reads them."""

    def resolve_or_missing(self, key: str) -> Any:
        found = super().resolve_or_missing(key)
        if found is missing and isinstance(self.environment, _Environment):
            return self.environment.value(key)
        return found


def _listed(function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter whose result is a list where Jinja's is a generator, which is true however few it yields."""

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        found = function(*arguments, **options)
        return list(found) if isinstance(found, Generator) else found

    return call


class _Plugins(dict[str, Any]):
    """Jinja's filters or tests, and those that Ansible and collections have."""

    def __init__(self, own: Mapping[str, Any], loader: Any) -> None:
        super().__init__(own)
        self._loader = loader

    def __missing__(self, name: str) -> Any:
        plugin = self._loader.get(name)
        if plugin is None:
            raise KeyError(name)
        self[name] = plugin.j2_function
        return self[name]

    def get(self, name: str, default: Any = None) -> Any:
        try:
            return self[name]
        except KeyError:
            return default


class _Kept(FileSystemBytecodeCache):
    """What templates are compiled to, on the controller's disk; one that is full or read-only is no fault of a run."""

    def load_bytecode(self, bucket: Bucket) -> None:
        try:
            super().load_bytecode(bucket)
        except (OSError, EOFError, ValueError, pickle.UnpicklingError):  # half of it, after a crash
            bucket.reset()

    def dump_bytecode(self, bucket: Bucket) -> None:
        with suppress(OSError):
            super().dump_bytecode(bucket)


@functools.cache
def _kept() -> BytecodeCache | None:
    """Where it is kept. Another version of Jinja, or of Ansible's filters, may have a template compiled otherwise."""
    versions = f"templates-{ansible_version}-{version('jinja2')}"
    folder = Path(constants.config.get_config_value("ANSIBLE_HOME")).expanduser() / "webops.wsgi" / versions
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return None
    return _Kept(str(folder))


class _Environment(Environment):
    context_class = _Context

    def __init__(self, value: Callable[[str], Any], look_up: Callable[..., str], search: list[str]) -> None:
        super().__init__(
            loader=FileSystemLoader(search),
            bytecode_cache=_kept(),
            undefined=_Undefined,
            trim_blocks=True,
            finalize=lambda found: "" if found is None else found,
        )
        self.value = value
        filters: dict[str, Any] = self.filters
        self.filters = _Plugins({name: _listed(own) for name, own in filters.items()}, filter_loader)
        self.tests = _Plugins(dict(self.tests), test_loader)
        self.globals["lookup"] = look_up

    def compiled(self, path: str, text: str) -> Template:
        """The template whose file has this text."""
        return FunctionLoader(lambda _name: (text, path, None)).load(self, path, self.globals)
