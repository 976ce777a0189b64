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
HOST_WIDE: frozenset[str] = settings.HOST_WIDE
PER_LOCATION: frozenset[str] = settings.PER_LOCATION


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
        if variable in HOST_WIDE or not variable.startswith(prefix) or self.name not in settings.ROLE_KEYS:
            return ""
        return f"{settings.ROLE_KEYS[self.name]}.{variable.removeprefix(prefix)}"


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
    return Role(path, options, load(path / "defaults" / "main.yml") or {})


def load(file: Path) -> Any:
    """Read a YAML file."""
    try:
        return yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise SystemExit(f"{file.relative_to(ROOT)} cannot be read: {error}") from None
