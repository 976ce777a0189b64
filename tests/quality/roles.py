"""The variables of every role, as its ``meta/argument_specs.yml`` and ``defaults/main.yml`` tell them."""

from __future__ import annotations

import dataclasses
import importlib
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "collections"))  # the development link: the collection under its own name
settings = importlib.import_module("ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings")
ROLES = {role.name: role for role in settings.load_schema(str(ROOT)).roles.values()}  # whose variables apps override


@dataclasses.dataclass(frozen=True)
class Role:
    """One role: the options of its ``main`` entry point and the defaults it sets."""

    path: Path
    options: dict[str, dict[str, Any]]
    defaults: dict[str, Any]

    @property
    def name(self) -> str:
        """The directory's name."""
        return self.path.name

    def override(self, variable: str) -> str:
        """The dotted key under which one app overrides a variable; empty for what is the same for a whole host."""
        prefix = f"{self.name}_"
        known = ROLES.get(self.name)
        if known is None or variable in known.host_wide or not variable.startswith(prefix):
            return ""
        return f"{known.key}.{variable.removeprefix(prefix)}"

    def per_location(self, variable: str) -> bool:
        """Whether an entry of nginx_proxy_locations may have its own value."""
        return self.name in ROLES and variable in ROLES[self.name].per_location


def load_roles() -> list[Role]:
    """Every role of the collection, by name."""
    return [load_role(path) for path in sorted((ROOT / "roles").iterdir()) if path.is_dir()]


def load_role(path: Path) -> Role:
    """Read one role's two files. Exits with a message where one of them cannot be read."""
    specs = load(path / "meta" / "argument_specs.yml")
    try:
        options = specs["argument_specs"]["main"].get("options") or {}
    except (KeyError, TypeError):
        raise SystemExit(f"roles/{path.name}/meta/argument_specs.yml has no argument_specs.main") from None
    defaults = path / "defaults" / "main.yml"
    return Role(path, options, (load(defaults) or {}) if defaults.exists() else {})


def load(file: Path) -> Any:
    """Read a YAML file."""
    try:
        return yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise SystemExit(f"{file.relative_to(ROOT)} cannot be read: {error}") from None
